"""Scores of a histogram's cells: what a shift of location or scale looks like in cell counts.

A score gives every cell a number, with mean zero and variance one under the reference, so that the mean score
of a window says in standard deviations how far it has moved. A category's score is its standardised
indicator, which needs no table: see `indicator_scale`.
"""

import math
from collections.abc import Sequence
from itertools import accumulate

from scipy.special import ndtri

Shares = tuple[float, ...]
Score = tuple[float, ...]

LEAST_COUNT = 0.5
"""Reference items that an empty cell counts as: what the reference never showed is rare, not impossible."""


def cell_shares(counts: Sequence[float]) -> Shares:
    """Reference counts, none below LEAST_COUNT, divided by their total.

    >>> cell_shares([3, 1, 0, 0])
    (0.6, 0.2, 0.1, 0.1)
    """
    floored = [max(float(count), LEAST_COUNT) for count in counts]
    total = math.fsum(floored)
    return tuple(count / total for count in floored)


def location_and_scale(shares: Sequence[float]) -> tuple[Score, Score]:
    """Normal scores of the cells' mid-ranks, and their squares; cells ascend. Standardised under `shares`.

    >>> location, scale = location_and_scale([0.25, 0.5, 0.25])
    >>> [round(value, 9) for value in location], [round(value, 9) for value in scale]
    ([-1.414213562, 0.0, 1.414213562], [1.0, -1.0, 1.0])
    """
    upper = accumulate(shares)
    ranks = (min(max(top - share / 2, 1e-6), 1 - 1e-6) for top, share in zip(upper, shares, strict=True))
    # one number at a time, as everything that goes into evidence
    normal = [float(ndtri(rank)) for rank in ranks]
    return standardised(normal, shares), standardised([z * z for z in normal], shares)


def standardised(score: Sequence[float], shares: Sequence[float]) -> Score:
    """Shifted and scaled to mean 0 and variance 1; all zero if every cell with any mass scores the same."""
    mean = math.fsum(s * p for s, p in zip(score, shares, strict=True))
    gaps = [s - mean for s in score]
    # a product: `** 2` is the C library's pow, whose last bit is its own
    variance = math.fsum(p * (gap * gap) for gap, p in zip(gaps, shares, strict=True))
    if variance <= 1e-12:
        return (0.0,) * len(score)
    deviation = math.sqrt(variance)
    return tuple(gap / deviation for gap in gaps)


def numeric_scores(shares: Sequence[float]) -> tuple[Score, Score]:
    """Location and scale over a numeric feature's cells, of which the last two are missing and unseen.

    These two say nothing of location or scale: they score zero, the mean.
    """
    bins = shares[:-2]
    present = math.fsum(bins)
    location, scale = location_and_scale([share / present for share in bins])
    return standardised((*location, 0.0, 0.0), shares), standardised((*scale, 0.0, 0.0), shares)


def indicator_scale(share: float) -> float:
    """Standard deviation of a cell's indicator: one unit of its score, in shares.

    >>> indicator_scale(0.5)
    0.5
    """
    return math.sqrt(share * (1.0 - share))


def share_bound(share: float, size: int, sign: int, standard_errors: float) -> float:
    """The furthest share, upwards (sign +1) or downwards, that `size` items with this share leave plausible.

    Wilson's score interval: the standard error is the one at the bound. At a rare cell the one at `share`
    itself would be far too small: of 1,000 items none may have been seen of a category with a share of .005.

    >>> round(share_bound(0.25, 1200, 1, 3.0), 9), round(share_bound(0.25, 1200, -1, 3.0), 9)
    (0.289267527, 0.214454557)
    """
    extra = standard_errors * standard_errors / size
    spread = math.sqrt(extra * (share * (1.0 - share) + extra / 4))
    return (share + extra / 2 + sign * spread) / (1.0 + extra)
