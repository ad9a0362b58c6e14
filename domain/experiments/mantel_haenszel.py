"""Exact evidence about two proportions, whatever the base rate and the allocation did over time.

Given how many events a closed batch had and how large its arms were, the treatment's count of hits is
hypergeometric if the odds of both arms are equal inside the batch, and Fisher's noncentral hypergeometric if
their ratio is psi. The likelihood ratio of psi to 1 is an e-value of the batch; over batches they multiply,
and their logarithms add, one sum for each psi of a grid that is frozen before the experiment starts. No
variance is estimated, so rare events and a 10/90 split are no special cases.

Exact means: for events that are independent, or assigned to the arms at random under equal answers. What
makes batches depend on each other or the arms differ for a while (overlapping outcomes of two models, a
market that suits one of them) it does not see; `domain.experiments.measure` takes care of that.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from domain.experiments.evidence import NO_EVIDENCE, Interval

Grid = Sequence[float]
"""Log odds ratios, increasing, with 0 among them."""

STEPS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
"""Points on either side of zero, as multiples of the log odds ratio that is worth having."""
_HALVES = tuple(0.02 * 2.0**k for k in range(8))
DEFAULT_GRID = (*(-point for point in reversed(_HALVES)), 0.0, *_HALVES)
"""Without a known base rate: 0 and +-0.02, 0.04, ... 2.56. From 50.5 against 50 % up to tenfold odds."""
_REACH = 5.0
"""Terms further than this times sqrt(support) from the mode are left out: together less than 2e-21.

The count is a sum of independent Bernoulli variables (the generating polynomial has real roots), one for each
step of the support; Hoeffding's bound at t = 5 sqrt(steps) is exp(-50).
"""


def designed_grid(base_rate: float, change: float) -> tuple[float, ...]:
    """The grid for a champion with `base_rate` and a `change` of it (signed) that is worth having.

    Both rates must lie strictly between 0 and 1.

    >>> [round(point, 4) for point in designed_grid(0.5, 0.0176)][7:10]
    [-0.0176, 0.0, 0.0176]
    """
    worth = abs(_log_odds(base_rate + change) - _log_odds(base_rate))
    return (*(-worth * step for step in reversed(STEPS)), 0.0, *(worth * step for step in STEPS))


def log_likelihood_ratios(hits: int, n1: int, n0: int, events: int, grid: Grid) -> tuple[float, ...]:
    """Of each odds ratio on the grid against odds ratio 1, for one closed batch.

    `hits` of the `events` fell into the treatment's `n1` records, the rest into the control's `n0`. Costs
    about the square root of the batch's size.

    >>> [round(math.exp(one), 12) for one in log_likelihood_ratios(2, 2, 2, 2, [0.0, math.log(2)])]
    [1.0, 1.846153846154]
    """
    low, high = max(0, events - n0), min(events, n1)
    if low == high:
        return (0.0,) * len(grid)
    whole = _log_choose(n1 + n0, events)
    ratios = []
    for point in grid:
        if point == 0.0:
            ratios.append(0.0)
            continue
        mode, total = _tilted(n1, n0, events, math.exp(point))
        at_mode = _log_choose(n1, mode) + _log_choose(n0, events - mode) - whole
        ratios.append(point * (hits - mode) - at_mode - math.log(total))
    return tuple(ratios)


def _tilted(n1: int, n0: int, events: int, psi: float) -> tuple[int, float]:
    """The mode of the noncentral hypergeometric, and the sum of its terms in units of the one at the mode.

    Products of ratios of neighbours from the mode outward: nothing overflows, and only IEEE basic operations
    are used, in a fixed order.
    """
    low, high = max(0, events - n0), min(events, n1)

    def rises(j: int) -> bool:
        return (n1 - j) * (events - j) * psi >= (j + 1) * (n0 - events + j + 1)

    left, right = low, high
    while left < right:
        middle = (left + right) // 2
        left, right = (middle + 1, right) if rises(middle) else (left, middle)
    mode = left
    reach = int(_REACH * math.sqrt(high - low)) + 2
    up = np.arange(mode, min(high, mode + reach), dtype=np.float64)
    down = np.arange(mode, max(low, mode - reach), -1, dtype=np.float64)
    ahead = (n1 - up) * (events - up) * psi / ((up + 1.0) * (n0 - events + up + 1.0))
    behind = down * (n0 - events + down) / ((n1 - down + 1.0) * (events - down + 1.0) * psi)
    return mode, 1.0 + _sum_of_products(ahead) + _sum_of_products(behind)


def _sum_of_products(ratios: npt.NDArray[np.float64]) -> float:
    # accumulate, not sum: its order does not depend on the processor
    return float(np.add.accumulate(np.multiply.accumulate(ratios))[-1]) if len(ratios) else 0.0


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _log_odds(rate: float) -> float:
    return math.log(rate / (1.0 - rate))


def log_e_above(grid: Grid, sums: Sequence[float], null: float = 0.0) -> float:
    """Evidence that the log odds ratio is above `null`, a point of the grid.

    The mean of the likelihood ratios of all points above against `null`: by their monotony also valid for
    every odds ratio below it. No point above is no evidence.
    """
    return _log_mixture(grid, sums, null, side=1)


def log_e_below(grid: Grid, sums: Sequence[float], null: float = 0.0) -> float:
    """Evidence that the log odds ratio is below `null`, a point of the grid."""
    return _log_mixture(grid, sums, null, side=-1)


def _log_mixture(grid: Grid, sums: Sequence[float], null: float, side: int) -> float:
    base = sums[list(grid).index(null)]
    beyond = [one - base for point, one in zip(grid, sums, strict=True) if (point - null) * side > 0]
    if not beyond:
        return NO_EVIDENCE
    largest = max(beyond)
    return largest + math.log(math.fsum(math.exp(one - largest) for one in beyond) / len(beyond))


def odds_bounds(grid: Grid, sums: Sequence[float], alpha: float) -> Interval:
    """Bounds of the log odds ratio, each at level 1 - alpha at all looks together; infinite beyond the grid.

    The lower one is the last point of the run of rejected points that begins at the grid's lower end: it can
    only be wrong if the first point at or above the truth was rejected, and that is a single e-process.
    """
    goal = math.log(1 / alpha)
    lower, upper = -math.inf, math.inf
    for point in grid:
        if log_e_above(grid, sums, point) < goal:
            break
        lower = point
    for point in reversed(grid):
        if log_e_below(grid, sums, point) < goal:
            break
        upper = point
    return Interval(lower, upper)
