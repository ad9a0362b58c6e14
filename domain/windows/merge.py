"""Merging the row bodies of one key over partitions. Counts add; moments merge in the order given."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from domain.windows.moments import Moments, merge_all
from domain.windows.rows import Kind

Body = Mapping[str, Any]


def merge_bodies(kind: Kind, bodies: Sequence[Body]) -> dict[str, Any]:
    """One body for several partitions' bodies of the same key, given in partition order (not empty).

    Raises ValueError when histograms of different bins meet.
    """
    return _merged(bodies, _INPUT if kind == "input" else _SCORE)


def _merged(bodies: Sequence[Body], parts: Mapping[str, Callable[[Sequence[Any]], Any]]) -> dict[str, Any]:
    merged = {}
    for name, merge in parts.items():
        present = [body[name] for body in bodies if name in body]
        if present:
            merged[name] = merge(present)
    return merged


def _by_name(merge: Callable[[Sequence[Any]], Any]) -> Callable[[Sequence[Body]], dict[str, Any]]:
    """Merge mappings name by name; a mapping without a name adds nothing to it."""

    def merge_names(parts: Sequence[Body]) -> dict[str, Any]:
        names: Iterable[str] = sorted({name for part in parts for name in part})
        return {name: merge([part[name] for part in parts if name in part]) for name in names}

    return merge_names


def _histogram(parts: Sequence[Sequence[int]]) -> list[int]:
    if len({len(part) for part in parts}) > 1:
        raise ValueError(f"histograms of {sorted({len(part) for part in parts})} bins do not add up")
    return [sum(counts) for counts in zip(*parts, strict=True)]


def _moments(parts: Sequence[Body]) -> dict[str, float]:
    return merge_all(Moments.from_json(part) for part in parts).to_json()


def _bucket(parts: Sequence[Sequence[float]]) -> list[float]:
    return [sum(int(n) for n, _ in parts), math.fsum(total for _, total in parts) + 0.0]


def _estimate(parts: Sequence[Body]) -> dict[str, float]:
    counts = {name: sum(int(part[name]) for part in parts) for name in ("n1", "n0")}
    return counts | {name: math.fsum(part[name] for part in parts) + 0.0 for name in ("s1", "s0")}


_counts = _by_name(sum)
_INPUT: dict[str, Callable[[Sequence[Any]], Any]] = {
    "n": sum,
    "served": sum,
    "duplicates": sum,
    "features": _by_name(_histogram),
    "prediction": _moments,
    "labels": _counts,
    "prediction_bins": _histogram,
    "estimate": _estimate,
    "units": _counts,
}
_SCORE: dict[str, Callable[[Sequence[Any]], Any]] = {
    "n": sum,
    "matched": sum,
    "missing": sum,
    "served": sum,
    "unscorable": sum,
    "metrics": _by_name(_moments),
    "units": _by_name(_by_name(_bucket)),
    "paired": _by_name(_moments),
    "paired_hits": _by_name(_counts),
}
