"""How far two histograms over the same cells are apart: effect sizes, for people to read.

None of these decides anything. A fixed threshold on a distance ignores the sample size (PSI >= .1 alarms on
40 % of stationary windows of 100 items), so alarms come from `chisquare`. All functions take counts per cell
in the same order; sums are `math.fsum`, so the result does not depend on the platform's vector width.
"""

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise

from domain.errors import DomainError

ZERO_SHARE = 1e-4
"""Share of an empty cell where a logarithm needs one; nothing is renormalised after it (as Evidently)."""


class EmptyHistogram(DomainError):
    """A histogram without any count has no distribution."""


def shares(counts: Sequence[float]) -> list[float]:
    """Counts divided by their total. Raises EmptyHistogram if the total is zero."""
    total = math.fsum(counts)
    if total <= 0:
        raise EmptyHistogram
    return [count / total for count in counts]


def psi(reference: Sequence[float], current: Sequence[float]) -> float:
    """Population stability index: sum (a - b) log(a / b), natural logarithm.

    >>> round(psi([100, 200, 300, 400], [150, 150, 300, 400]), 9)
    0.034657359
    """
    pairs = zip(_floored(reference), _floored(current), strict=True)
    return math.fsum((a - b) * math.log(a / b) for a, b in pairs)


def psi_adj(reference: Sequence[float], current: Sequence[float], phi: float = 1.0) -> float:
    """PSI minus its expectation without drift, (B - 1)(1/m + phi/n): comparable across sample sizes.

    B counts the cells that are not empty on both sides, m and n are the totals, phi the overdispersion of
    `current` (Yurdakul & Naranjo 2020). May be negative.
    """
    m, n = math.fsum(reference), math.fsum(current)
    occupied = sum(1 for r, c in zip(reference, current, strict=True) if r + c > 0)
    return psi(reference, current) - (occupied - 1) * (1 / m + phi / n)


def js(reference: Sequence[float], current: Sequence[float]) -> float:
    """Jensen-Shannon distance: root of the divergence, natural logarithm (as scipy), 0 to sqrt(log 2)."""
    pairs = list(zip(shares(reference), shares(current), strict=True))
    halves = [math.fsum(_kl_term(pair[side], (pair[0] + pair[1]) / 2) for pair in pairs) for side in (0, 1)]
    return math.sqrt(max(0.0, (halves[0] + halves[1]) / 2))


def kl(reference: Sequence[float], current: Sequence[float]) -> float:
    """Kullback-Leibler divergence of reference from current, in nats; empty cells floored, renormalised."""
    a, b = shares(_floored(reference)), shares(_floored(current))
    return math.fsum(_kl_term(p, q) for p, q in zip(a, b, strict=True))


def hellinger(reference: Sequence[float], current: Sequence[float]) -> float:
    """Hellinger distance, 0 to 1."""
    pairs = zip(shares(reference), shares(current), strict=True)
    return math.sqrt(max(0.0, 1.0 - math.fsum(math.sqrt(p * q) for p, q in pairs)))


def tvd(reference: Sequence[float], current: Sequence[float]) -> float:
    """Total variation distance: half the sum of absolute differences, 0 to 1.

    >>> tvd([1, 1], [2, 0])
    0.5
    """
    return math.fsum(abs(p - q) for p, q in zip(shares(reference), shares(current), strict=True)) / 2


def ks(reference: Sequence[float], current: Sequence[float]) -> float:
    """Kolmogorov-Smirnov distance at the cell borders: a lower bound of the exact one. Cells in order."""
    return max(abs(gap) for gap in _cdf_gaps(reference, current))


def wasserstein(reference: Sequence[float], current: Sequence[float], positions: Sequence[float]) -> float:
    """First Wasserstein distance with each cell's mass at its position (ascending), in units of positions."""
    gaps = _cdf_gaps(reference, current)
    widths = (right - left for left, right in pairwise(positions))
    return math.fsum(abs(gap) * width for gap, width in zip(gaps[:-1], widths, strict=True))


def _floored(counts: Sequence[float]) -> list[float]:
    return [share or ZERO_SHARE for share in shares(counts)]


def _kl_term(p: float, q: float) -> float:
    return p * math.log(p / q) if p > 0 else 0.0


def _cdf_gaps(reference: Sequence[float], current: Sequence[float]) -> list[float]:
    return list(accumulate(p - q for p, q in zip(shares(reference), shares(current), strict=True)))
