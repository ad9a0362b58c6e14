"""Two-sample chi-square on frozen cells, with a tolerance and an overdispersion.

The tolerance is the idea of the Population Resemblance Statistic (Potgieter et al., arXiv:2307.11878) in a
two-sample form, so that a small reference is treated as the sample it is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc


@dataclass(frozen=True, slots=True)
class ChiSquare:
    """The statistic and its degrees of freedom (cells occupied on either side, minus one)."""

    statistic: float
    df: int


def two_sample(reference: Sequence[float], current: Sequence[float]) -> ChiSquare:
    """Chi-square of homogeneity of two histograms; zero if one of them is empty.

    >>> result = two_sample([100, 200, 300, 400], [150, 150, 300, 400])
    >>> round(result.statistic, 9), result.df
    (17.142857143, 3)
    """
    m, n = math.fsum(reference), math.fsum(current)
    if m <= 0 or n <= 0:
        return ChiSquare(0.0, 0)
    to_reference, to_current = math.sqrt(n / m), math.sqrt(m / n)
    gaps = [
        (to_reference * r - to_current * c, r + c)
        for r, c in zip(reference, current, strict=True)
        if r + c > 0
    ]
    # a product: `** 2` is the C library's pow, whose last bit is its own
    terms = [gap * gap / total for gap, total in gaps]
    return ChiSquare(math.fsum(terms), len(terms) - 1)


def tolerant_p_value(
    reference: Sequence[float],
    current: Sequence[float],
    tolerance: float = 0.0,
    phi: float = 1.0,
    level: float = 1.0,
) -> float:
    """P-value of "the true PSI is at most `tolerance`", or 1 if it is above `level`, which is cheaper.

    Under that hypothesis statistic / phi is at most noncentral chi-square with noncentrality
    tolerance / (1/m + 1/n) / phi. `phi` >= 1 is how much more window counts vary than those of independent
    items. Zero tolerance is the ordinary test. Counts under about 100 make the approximation poor.
    """
    test = two_sample(reference, current)
    if test.df == 0:
        return 1.0
    m, n = math.fsum(reference), math.fsum(current)
    noncentrality = tolerance / (1 / m + 1 / n) / phi
    x = test.statistic / phi
    if _surely_above(level, x, test.df, noncentrality):
        return 1.0
    p_value = noncentral_sf(x, test.df, noncentrality)
    return p_value if p_value <= level else 1.0


def _surely_above(level: float, x: float, df: int, noncentrality: float) -> bool:
    """Whether the tail at `x` is above `level`, by one term instead of a hundred; False says nothing.

    At least half of the Poisson mixture lies at or above the whole part of its mean (the median is above
    mean - ln 2; Choi 1994), and its terms grow with df: the tail is at least half of the term there. The rest
    of the half is far more than rounding could cost.
    """
    if level >= 0.49:
        return False
    whole = math.floor(max(0.0, noncentrality) / 2)
    return 0.49 * float(chdtrc(df + 2 * whole, x)) > level


def noncentral_sf(x: float, df: int, noncentrality: float) -> float:
    """Upper tail of the noncentral chi-square, by its Poisson mixture: sum_j Poisson(j; nc/2) Q(df + 2j, x).

    All terms are positive, so the far tail keeps its relative accuracy (1 - cdf would stop at 1e-16), and
    only the terms around the largest one are summed.
    """
    if noncentrality <= 0:
        return float(chdtrc(df, x))
    rate, half_x, half_df = noncentrality / 2, x / 2, df / 2
    # in the tail term j+1 is rate * half_x / (j (j + half_df)) times term j; the largest is where that is one
    peak = (math.sqrt(half_df * half_df + 4 * rate * half_x) - half_df) / 2
    centre = max(rate, peak)
    spread = 12 * math.sqrt(centre) + 40
    terms = range(max(0, math.floor(centre - spread)), math.ceil(centre + spread) + 1)
    log_rate = math.log(rate)
    # an array of degrees of freedom is a loop of the same scalar function
    tails = chdtrc(np.array([df + 2 * j for j in terms], np.float64), x).tolist()
    # one number at a time: numpy's exp on an array picks instructions by CPU, and this goes into evidence
    return min(
        1.0,
        math.fsum(
            math.exp(j * log_rate - rate - math.lgamma(j + 1)) * tail
            for j, tail in zip(terms, tails, strict=True)
        ),
    )
