"""phi: how much more window means vary than those of independent records would.

Autocorrelation and seasons make windows differ that no drift made different; tests divide by phi.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from domain.windows.moments import Floats
from domain.windows.profile import FeatureKind


class Scored(NamedTuple):
    """Windows that share a reference, and scores standardised under it."""

    windows: Floats
    """Windows x bins: counts."""
    scores: Sequence[Floats]
    """One value a bin each; equally many in every group."""


def overdispersion(groups: Sequence[Scored]) -> float:
    """phi >= 1: sum of n (mean score - mean of the group)^2 over its degrees of freedom, largest score.

    For windows of equal size this is the variance of their mean scores times n. A window without records
    says nothing; without a group of two windows phi is 1.
    """
    parts = [part for group in groups if (part := _deviations(group)) is not None]
    if not parts:
        return 1.0
    deviations = np.sum([sums for sums, _ in parts], axis=0)
    freedom = np.sum([freedom for _, freedom in parts], axis=0)
    ratios: Floats = deviations[freedom > 0] / freedom[freedom > 0]
    return float(ratios.max(initial=1.0))


def standardised_scores(kind: FeatureKind, counts: Floats) -> list[Floats]:
    """What windows of a reference with these `counts` are told apart by."""
    return location_and_scale_scores(counts) if kind == "numeric" else category_scores(counts)


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


def of_means(n: Floats, means: Floats, variance: float) -> float:
    """phi >= 1 of windows of `n` records each (at least 1) with these means; `variance` is of one record."""
    if len(n) < 2 or variance <= 0:
        return 1.0
    centre = (n * means).sum() / n.sum()
    return max(1.0, float((n * (means - centre) ** 2).sum() / (len(n) - 1) / variance))


def _deviations(group: Scored) -> tuple[Floats, Floats] | None:
    """Per score: the weighted squared deviations, and the degrees of freedom they have."""
    n = group.windows.sum(axis=1)
    windows, n = group.windows[n > 0], n[n > 0]
    if len(n) < 2:
        return None
    means = windows @ np.array(group.scores).T / n[:, None]
    centre = (n[:, None] * means).sum(axis=0) / n.sum()
    sums: Floats = (n[:, None] * (means - centre) ** 2).sum(axis=0)
    tells_apart = np.array([bool(score.any()) for score in group.scores])
    return sums, np.where(tells_apart, len(n) - 1.0, 0.0)


def _standardised(score: Floats, p: Floats) -> Floats:
    mean = (p * score).sum()
    spread = (p * (score - mean) ** 2).sum()
    if spread <= 1e-12:  # one bin holds everything: the score cannot tell windows apart
        return np.zeros_like(score)
    result: Floats = (score - mean) / np.sqrt(spread)
    return result
