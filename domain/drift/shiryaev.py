"""The Shiryaev-Roberts recursion M <- (1 + M) e, on a log scale (Shin, Ramdas and Rinaldo 2023, e-detectors).

If E[e] <= 1 given the past while nothing has changed, M minus the number of windows is a supermartingale, and
so is any fixed mixture of such M. Alarming at M >= 1/alpha therefore takes at least 1/alpha windows on
average.
"""

import math
from collections.abc import Iterable, Sequence

NOTHING = -math.inf
"""log M before the first window."""


def advanced(log_m: float | None, log_e: float) -> float:
    """log of (1 + M) e; None stands for M = 0."""
    if log_m is None:
        return log_e
    if log_m > 0:
        return log_e + log_m + math.log1p(math.exp(-log_m))
    return log_e + math.log1p(math.exp(log_m))


def log_mean(values: Iterable[float], of: int) -> float:
    """log of the mean of e^value over `of` terms; those not given count as zero.

    >>> round(log_mean([0.0, 0.0], of=4), 12) == round(-math.log(2), 12)
    True
    """
    terms: Sequence[float] = list(values)
    top = max(terms, default=NOTHING)
    if top == NOTHING:
        return NOTHING
    return top + math.log(math.fsum(math.exp(value - top) for value in terms) / of)
