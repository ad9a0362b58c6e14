"""Sample ratio mismatch: do the arms get the shares they were promised? Safe to look at after every batch."""

import math
from collections.abc import Sequence

ALARM_LOG_E = math.log(1000.0)
"""False alarms in at most one of 1,000 experiments, ever."""
PRIOR_MASS = 1000.0


def srm_log_e(counts: Sequence[int], shares: Sequence[float], prior_mass: float = PRIOR_MASS) -> float:
    """Log Bayes factor of Dirichlet-multinomial splits around `shares` against exactly `shares`.

    An e-process (Lindon & Malek, arXiv:2011.03567). Counts of separate allocation phases are tested apart and
    their logarithms added. `prior_mass` is the total of the Dirichlet's parameters, spread as the shares.
    """
    whole = math.fsum(shares)
    ideal = [share / whole for share in shares]
    prior = [prior_mass * share for share in ideal]
    return dirichlet_log_e(counts, ideal, prior)


def dirichlet_log_e(counts: Sequence[int], shares: Sequence[float], prior: Sequence[float]) -> float:
    """The same with any prior; `shares` add up to one.

    >>> round(dirichlet_log_e([60, 63, 32], [0.4, 0.4, 0.2], [1, 1, 1]), 9)
    -4.183813982
    """
    mass = math.fsum(prior)
    terms = [math.lgamma(mass), -math.lgamma(mass + sum(counts))]
    for count, share, own in zip(counts, shares, prior, strict=True):
        terms.extend((math.lgamma(own + count), -math.lgamma(own), -count * math.log(share)))
    return math.fsum(terms)
