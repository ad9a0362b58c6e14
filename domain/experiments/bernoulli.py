"""One arm's own rate of hits, with bounds that hold at every look: for people, no verdict rests on it.

Every rate p is tested against a beta-binomial mixture around p, as the sample-ratio check tests a share, and
the rates that are not rejected are the sequence (Howard, Ramdas, McAuliffe, Sekhon, arXiv:1810.08240, section
3). It is exact for independent events of one rate. Outcomes that overlap are fewer events than they seem, and
a market that moves changes the rate itself; comparisons of arms survive both, this does not.
"""

import math

from domain.experiments.evidence import Interval
from domain.experiments.srm import dirichlet_log_e

LEAST_MASS = 1e-3
_EDGE = 1e-15
"""A bound beyond it is the end of the scale."""


def prior_mass(n_star: float, alpha: float) -> float:
    """Total of the beta's parameters with which the bounds at level alpha are tightest after `n_star` events.

    >>> round(prior_mass(100, 0.05), 5)
    11.60056
    """
    level = 2 * math.log(1 / alpha)
    return max(n_star / (level + math.log(1 + level)) - 1, LEAST_MASS)


def log_e(hits: int, n: int, rate: float, mass: float) -> float:
    """Evidence that the rate is not `rate` (above 0 and below 1)."""
    shares = (rate, 1 - rate)
    return dirichlet_log_e((hits, n - hits), shares, [mass * share for share in shares])


def rate_sequence(hits: int, n: int, alpha: float, n_star: float) -> Interval:
    """Two-sided at level 1 - alpha over all looks together; 0 to 1 without events.

    `n_star`, about when one will look, may not be chosen by the data. Needs 0 <= hits <= n and 0 < alpha < 1.

    >>> found = rate_sequence(700, 1000, 0.05, 100)
    >>> round(found.lower, 5), round(found.upper, 5)
    (0.65163, 0.74595)
    """
    if not n:
        return Interval(0.0, 1.0)
    mass = prior_mass(n_star, alpha)
    # by symmetry the upper bound of hits is the lower one of misses
    return Interval(_lower(hits, n, alpha, mass), 1.0 - _lower(n - hits, n, alpha, mass))


def _lower(hits: int, n: int, alpha: float, mass: float) -> float:
    from scipy.optimize import brentq  # a third of a second that most commands never need

    goal = math.log(1 / alpha)
    # a mixture is never likelier than the likeliest rate, so at that one there is no evidence; from there
    # down it grows, but after a single hit not without end
    likeliest = min(hits / n, 1 - _EDGE)
    if likeliest <= _EDGE or log_e(hits, n, _EDGE, mass) < goal:
        return 0.0
    root = brentq(lambda rate: log_e(hits, n, rate, mass) - goal, _EDGE, likeliest, xtol=1e-15, rtol=1e-13)
    return float(root)
