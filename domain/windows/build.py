"""Building a reference profile from training data, or from a stretch of the log."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from domain.windows.histogram import category_of, count_values
from domain.windows.moments import Floats
from domain.windows.profile import FeatureReference, ReferenceProfile, Task

BINS = 20
CATEGORIES = 50

Column = Sequence[Any] | npt.NDArray[Any]
"""One value per record, in time order: numbers, text, booleans; None or NaN is missing."""


def build_profile(
    *,
    model: str,
    version: str,
    task: Task,
    features: Mapping[str, Column],
    predictions: Column | None = None,
    effective_from_ms: int = 0,
    error_clip: float | None = None,
    window_records: int = 100,
    bins: int = BINS,
    categories: int = CATEGORIES,
) -> ReferenceProfile:
    """Profile of columns in time order (lists or numpy arrays).

    Numbers get quantile bins, text the most frequent categories. `window_records` is the length of the
    consecutive reference windows over which phi, the overdispersion, is measured: take what a window of the
    log usually holds.
    """
    shape = (window_records, bins, categories)
    return ReferenceProfile(
        model=model,
        version=version,
        task=task,
        effective_from_ms=effective_from_ms,
        features={name: feature_reference(column, *shape) for name, column in features.items()},
        prediction=feature_reference(predictions, *shape) if predictions is not None else None,
        error_clip=error_clip,
    )


def feature_reference(
    column: Column, window_records: int = 100, bins: int = BINS, categories: int = CATEGORIES
) -> FeatureReference:
    """Bins, reference counts and phi of one column. A column with any text in it is categorical."""
    if window_records < 1 or bins < 2 or categories < 1:
        raise ValueError("window_records and categories must be at least 1, bins at least 2")
    values = _plain(column)
    present = [value for value in values if value is not None]
    if any(isinstance(value, str) for value in present):
        ranked = sorted(Counter(map(category_of, present)).items(), key=lambda item: (-item[1], item[0]))
        kept = tuple(sorted(category for category, _ in ranked[:categories]))
        bare = FeatureReference(kind="categorical", categories=kept, counts=(0,) * (len(kept) + 2))
    else:
        edges = quantile_edges(np.array(present, np.float64), bins)
        bare = FeatureReference(kind="numeric", edges=edges, counts=(0,) * (len(edges) + 3))
    return FeatureReference(
        kind=bare.kind,
        edges=bare.edges,
        categories=bare.categories,
        counts=tuple(count_values(bare, values)),
        phi=_phi(bare, values, window_records),
    )


def quantile_edges(values: Floats, bins: int = BINS) -> tuple[float, ...]:
    """Interior edges at the quantiles 1/bins ... (bins-1)/bins, without repetitions; none for no values."""
    if not len(values):
        return ()
    return tuple(np.unique(np.quantile(values, np.arange(1, bins) / bins) + 0.0).tolist())


def overdispersion(windows: Floats, scores: Sequence[Floats]) -> float:
    """phi >= 1: variance of the windows' mean scores over what independent records would give.

    `windows` is reference windows x bins (counts), each score is standardised under the reference. A window
    without records says nothing; fewer than two windows give 1.
    """
    n = windows.sum(axis=1)
    windows, n = windows[n > 0], n[n > 0]
    if len(n) < 2:
        return 1.0
    return max([1.0, *(float(np.var(windows @ score / n, ddof=1) * n.mean()) for score in scores)])


def location_and_scale_scores(counts: Floats) -> list[Floats]:
    """Normal scores of the bins' mid-ranks and their squares, standardised under the reference counts."""
    p = counts / counts.sum()
    z = ndtri(np.clip(np.cumsum(p) - p / 2, 1e-6, 1 - 1e-6))
    return [_standardised(z, p), _standardised(z * z, p)]


def category_scores(counts: Floats, least: float = 1e-4) -> list[Floats]:
    """One standardised indicator per bin; bins rarer than `least` count as that frequent."""
    p = np.maximum(counts / counts.sum(), least)
    p = p / p.sum()
    return [_standardised(row, p) for row in np.eye(len(p))]


def _standardised(score: Floats, p: Floats) -> Floats:
    mean = (p * score).sum()
    spread = (p * (score - mean) ** 2).sum()
    if spread <= 1e-12:  # one bin holds everything: the score cannot tell windows apart
        return np.zeros_like(score)
    result: Floats = (score - mean) / np.sqrt(spread)
    return result


def _phi(reference: FeatureReference, values: Sequence[Any], window_records: int) -> float:
    starts = range(0, len(values) - window_records + 1, window_records)
    rows = [
        count_values(reference, values[start : start + window_records])[: reference.bins] for start in starts
    ]
    if len(rows) < 2 or not any(map(any, rows)):
        return 1.0
    windows = np.array(rows, np.float64)
    total = windows.sum(axis=0)
    scores = location_and_scale_scores(total) if reference.kind == "numeric" else category_scores(total)
    return overdispersion(windows, scores)


def _plain(column: Column) -> list[Any]:
    """Python values; NaN becomes None."""
    values: list[Any] = column.tolist() if isinstance(column, np.ndarray) else list(column)
    return [None if isinstance(value, float) and math.isnan(value) else value for value in values]
