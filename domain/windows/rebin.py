"""One reference over the bins of another, so that two versions' profiles can be compared."""

import math
from collections.abc import Sequence
from itertools import pairwise

from domain.windows.profile import FeatureReference


def rebinned(source: FeatureReference, target: FeatureReference) -> list[int] | None:
    """The counts of `source` over the bins of `target`; None if one is numeric and the other is not.

    Exact over equal bins and for categories that both have. Numbers are taken to lie evenly within a bin of
    `source`, as far beyond its first and last edge as its means say: between other edges it is an estimate.
    """
    if source.kind != target.kind:
        return None
    if (source.edges, source.categories) == (target.edges, target.categories):
        return list(source.counts)
    if source.kind == "categorical":
        return _categories(source, target)
    edges = (-math.inf, *target.edges, math.inf)
    below = [_below(source, edge) for edge in edges]
    # differences of rounded sums, so that the total stays
    steps = [round(value) for value in below]
    counts = [after - before for before, after in pairwise(steps)]
    return [*counts, *source.counts[-2:]]


def bin_range(reference: FeatureReference, index: int) -> tuple[float, float]:
    """From where to where a numeric bin reaches; an outer one as far beyond its mean as the mean is from its
    edge, or if that is not known, as far as its neighbour."""
    edges = reference.edges
    if not edges:
        middle = reference.means[0] if reference.means else 0.0
        reach = 2 * (reference.sd or 0.5)
        return middle - reach, middle + reach
    if 0 < index < len(edges):
        return edges[index - 1], edges[index]
    edge = edges[0] if index == 0 else edges[-1]
    reach = 2 * abs(reference.means[index] - edge) if reference.means else 0.0
    if reach == 0.0:
        reach = (edges[-1] - edges[0]) / (len(edges) - 1) if len(edges) > 1 else 1.0
    return (edge - reach, edge) if index == 0 else (edge, edge + reach)


def quantile(reference: FeatureReference, counts: Sequence[float], share: float) -> float:
    """About the number that `share` of `counts`, which lie in the reference's bins, are at most; not of
    missing and unseen."""
    wanted = share * sum(counts[:-2])
    for index, count in enumerate(counts[:-2]):
        if count and wanted <= count:
            low, high = bin_range(reference, index)
            return low + (high - low) * wanted / count
        wanted -= count
    return bin_range(reference, reference.bins - 1)[1]


def _below(reference: FeatureReference, value: float) -> float:
    """About how many of the reference's numbers are at most `value`."""
    total = 0.0
    for index, count in enumerate(reference.counts[:-2]):
        low, high = bin_range(reference, index)
        if value >= high:
            total += count
        elif value > low:
            total += count * (value - low) / (high - low)
    return total


def _categories(source: FeatureReference, target: FeatureReference) -> list[int]:
    known = dict(zip(source.categories, source.counts[:-2], strict=True))
    missing, unseen = source.counts[-2:]
    lost = sum(count for name, count in known.items() if name not in target.categories)
    return [*(known.get(name, 0) for name in target.categories), missing, unseen + lost]
