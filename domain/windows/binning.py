"""Which bin each record of a reference column falls into, and the bins themselves."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from domain.windows.histogram import category_of
from domain.windows.moments import LARGEST, Floats, of
from domain.windows.profile import FeatureReference
from domain.windows.profile_error import ProfileError

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of text: each record's place in `categories`, -1 where it is missing."""

    codes: Ints
    categories: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)


Column = Sequence[Any] | npt.NDArray[Any] | Coded
"""One value per record, in time order: numbers, text, booleans; None or NaN is missing."""


@dataclass(frozen=True, slots=True)
class Binned:
    """`cells[i]` is record i's place in `counts`: a bin, or after them missing or unseen."""

    reference: FeatureReference
    cells: Ints


def binned(column: Column, bins: int, categories: int) -> Binned:
    """Quantile bins of numbers, the most frequent categories of text; any text makes a column categorical.

    Raises ProfileError for an infinite number.
    """
    numbers = numbers_of(column)
    if numbers is not None:
        return _numeric(numbers, bins)
    return _categorical(column if isinstance(column, Coded) else _coded(plain(column)), categories)


def numbers_of(column: Column) -> Floats | None:
    """Numbers and booleans as float64 with NaN for missing, or None if there is text among them."""
    if isinstance(column, Coded):
        return None
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiub":
        return column.astype(np.float64)
    values = plain(column)
    if any(isinstance(value, str) for value in values):
        return None
    return np.array([math.nan if value is None else value for value in values], np.float64)


def plain(column: Sequence[Any] | npt.NDArray[Any]) -> list[Any]:
    """Python values; NaN becomes None."""
    values: list[Any] = column.tolist() if isinstance(column, np.ndarray) else list(column)
    return [None if isinstance(value, float) and math.isnan(value) else value for value in values]


def quantile_edges(values: Floats, bins: int) -> tuple[float, ...]:
    """Interior edges at the quantiles 1/bins ... (bins-1)/bins, without repetitions; none for no values."""
    if not len(values):
        return ()
    return tuple(np.unique(np.quantile(values, np.arange(1, bins) / bins) + 0.0).tolist())


def _numeric(numbers: Floats, bins: int) -> Binned:
    infinite = np.flatnonzero(np.isinf(numbers))
    if len(infinite):
        raise ProfileError(f"record {infinite[0] + 1} is infinite; numbers must be finite")
    missing = np.isnan(numbers)
    present = numbers[~missing]
    edges = np.array(quantile_edges(present, bins))
    cells = edges.searchsorted(numbers, side="left").astype(np.int64)
    cells[missing] = len(edges) + 1
    measurable = len(present) > 0 and bool((np.abs(present) <= LARGEST).all())
    spread = math.sqrt(of(present).M2 / len(present)) if measurable else 0.0
    reference = FeatureReference(
        kind="numeric",
        edges=tuple(edges.tolist()),
        counts=tuple(np.bincount(cells, minlength=len(edges) + 3).tolist()),
        means=_bin_means(present, cells[~missing], edges) if measurable else (),
        sd=spread or None,
    )
    return Binned(reference, cells)


def _bin_means(values: Floats, cells: Ints, edges: Floats) -> tuple[float, ...]:
    order = np.argsort(cells, kind="stable")
    ends = np.bincount(cells, minlength=len(edges) + 1).cumsum()
    parts = np.split(values[order], ends[:-1])
    borders = [-math.inf, *edges.tolist(), math.inf]
    means = []
    for part, low, high in zip(parts, borders[:-1], borders[1:], strict=True):
        if len(part):
            # clamped: a rounded mean of nothing but edges may step over its own bin's border
            means.append(min(max(math.fsum(part.tolist()) / len(part), low), high) + 0.0)
        else:
            means.append((low + high) / 2 if math.isfinite(high) else low)
    return tuple(means)


def _coded(values: Sequence[Any]) -> Coded:
    names = [None if value is None else category_of(value) for value in values]
    categories = tuple(sorted({name for name in names if name is not None}))
    places: dict[str | None, int] = {name: place for place, name in enumerate(categories)}
    return Coded(np.array([places.get(name, -1) for name in names], np.int64), categories)


def _categorical(column: Coded, limit: int) -> Binned:
    frequent = Counter(dict(enumerate(np.bincount(column.codes + 1, minlength=1).tolist())))
    ranked = sorted(
        ((name, frequent[place + 1]) for place, name in enumerate(column.categories)),
        key=lambda item: (-item[1], item[0]),
    )
    kept = tuple(sorted(name for name, count in ranked[:limit] if count))
    places = {name: place for place, name in enumerate(kept)}
    # code -1, missing, finds the last entry
    cell_of = np.array(
        [places.get(name, len(kept) + 1) for name in column.categories] + [len(kept)], np.int64
    )
    cells = cell_of[column.codes]
    counts = tuple(np.bincount(cells, minlength=len(kept) + 2).tolist())
    return Binned(FeatureReference(kind="categorical", categories=kept, counts=counts), cells)
