"""Always-valid evidence from a sum and its variance: e-values, bounds, confidence sequences.

`s` is a sum statistic with mean zero under the null hypothesis and `v` its variance process; both grow with
the data and may be looked at after every batch. Mixing over effect sizes with a normal of variance 1/rho
(Robbins 1970; Howard, Ramdas, McAuliffe, Sekhon, arXiv:1810.08240; Waudby-Smith et al., arXiv:2103.06476)
gives a process whose chance of ever reaching 1/alpha is at most alpha. Logarithms are natural.
"""

import math
from dataclasses import dataclass

from scipy.special import log_ndtr

NO_EVIDENCE = -1e300
"""Log e-value where floats cannot carry the computation; a number, because evidence is JSON."""


def rho_two_sided(v_opt: float, alpha: float) -> float:
    """The mixture's precision that makes the two-sided bound tightest when v = v_opt.

    >>> round(rho_two_sided(100, 0.05), 5)
    12.60056
    """
    level = 2 * math.log(1 / alpha)
    return v_opt / (level + math.log(1 + level))


def rho_one_sided(v_opt: float, alpha: float) -> float:
    """As `rho_two_sided`, for one side: alpha counts twice. Needs alpha < 1/2."""
    return rho_two_sided(v_opt, 2 * alpha)


def log_e_two_sided(s: float, v: float, rho: float) -> float:
    """Evidence that the mean of s is not zero. Finite for all finite arguments, v >= 0 and rho >= 0."""
    if not _in_range(v, rho):
        return NO_EVIDENCE
    return _clamped(0.5 * math.log(rho / (v + rho)) + s * s / (2 * (v + rho)))


def log_e_one_sided(s: float, v: float, rho: float) -> float:
    """Evidence that the mean of s is above zero. Finite for all finite arguments, v >= 0 and rho >= 0.

    >>> round(log_e_one_sided(10, 100, rho_one_sided(100, 0.05)), 4)
    -0.065
    """
    if not _in_range(v, rho):
        return NO_EVIDENCE
    tail = float(log_ndtr(s / math.sqrt(v + rho)))
    return _clamped(0.5 * math.log(4 * rho / (v + rho)) + s * s / (2 * (v + rho)) + tail)


def _in_range(v: float, rho: float) -> bool:
    """Whether floats can carry the mixture: a variance process that overflowed, or a rho that vanished
    beside it, is no ground for any claim."""
    return rho > 0.0 and math.isfinite(4 * rho) and math.isfinite(2 * (v + rho)) and rho / (v + rho) > 0.0


def _clamped(log_e: float) -> float:
    # inf - inf is the sum of an overflowed square and its tail: nothing is known
    return NO_EVIDENCE if math.isnan(log_e) else max(NO_EVIDENCE, min(-NO_EVIDENCE, log_e))


def bound_two_sided(v: float, alpha: float, rho: float) -> float:
    """The |s| at which the two-sided e-value is 1/alpha; infinite where floats cannot carry it."""
    if not _in_range(v, rho):
        return math.inf
    return math.sqrt((v + rho) * (math.log((v + rho) / rho) + 2 * math.log(1 / alpha)))


def bound_one_sided(v: float, alpha: float, rho: float) -> float:
    """The s at which the one-sided e-value is 1/alpha, by Brent's method; infinite where floats cannot."""
    from scipy.optimize import brentq  # a third of a second that most commands never need

    goal = math.log(1 / alpha)
    # the one-sided e-value is at least the two-sided one for s > 0; the margin covers rounding
    upper = bound_two_sided(v, alpha, rho) * (1 + 1e-9)
    if not math.isfinite(upper) or log_e_one_sided(upper, v, rho) < goal:
        return math.inf
    root = brentq(
        lambda s: log_e_one_sided(s, v, rho) - goal, 0.0, upper, xtol=1e-12 * max(1.0, upper), rtol=1e-14
    )
    return float(root)


def bound_one_sided_closed(v: float, alpha: float, rho: float) -> float:
    """A closed form slightly above `bound_one_sided` (Waudby-Smith et al., eq. 134)."""
    return math.sqrt(2 * (v + rho) * math.log(1 + math.sqrt((v + rho) / rho) / (2 * alpha)))


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence sequence at one look, in units of the metric."""

    lower: float
    upper: float


def confidence_sequence(estimate: float, v: float, weight: float, alpha: float, rho: float) -> Interval:
    """Two-sided at level 1 - alpha; `weight` turns sums into units of the metric (estimate = s / weight)."""
    half = bound_two_sided(v, alpha, rho) / weight
    return Interval(estimate - half, estimate + half)


def one_sided_bounds(estimate: float, v: float, weight: float, alpha: float, rho: float) -> Interval:
    """A lower and an upper bound, each at level 1 - alpha: lower > t0 exactly when E+(t0) > 1/alpha."""
    half = bound_one_sided(v, alpha, rho) / weight
    return Interval(estimate - half, estimate + half)


def always_valid_p(max_log_e: float) -> float:
    """P-value that holds at every look: 1 / the largest e-value so far, at most 1.

    >>> always_valid_p(-3.0)
    1.0
    """
    return math.exp(-max(0.0, max_log_e))
