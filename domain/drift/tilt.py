"""Bets that a score's mean has left a tolerance: e-values that are linear in counts, on a log scale.

The reference is tilted exponentially, p_b e^(theta f_b), until its mean score reaches the edge of the
tolerance, and further to reach an alternative. The likelihood ratio of the two over n items with score sum s
is log e = slope * s + intercept * n. Its expectation is one at the edge and less for every smaller tilt.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul

from domain.drift.scores import Score, Shares, indicator_scale

REACH = 0.98
"""Part of the way to a score's largest value that a tilt may go: beyond it the bet is on one cell alone."""


@dataclass(frozen=True, slots=True)
class Bet:
    """log e of a window = slope * (sum of its scores) + intercept * (its items)."""

    slope: float
    intercept: float

    def log_e(self, score_sum: float, items: float) -> float:
        return self.slope * score_sum + self.intercept * items


def bernoulli(edge: float, alternative: float) -> Bet:
    """The bet that a rate is `alternative` rather than `edge`, both within (0, 1); score sum = successes.

    >>> round(bernoulli(0.1, 0.2).log_e(30, 200), 10)
    0.7712993552
    """
    failed = math.log((1.0 - alternative) / (1.0 - edge))
    return Bet(math.log(alternative / edge) - failed, failed)


def indicator_bets(share: float, edge: float, sizes: Sequence[float], sign: int) -> tuple[Bet | None, ...]:
    """One bet per size that a cell's share has grown (sign +1) or shrunk (-1) beyond the share `edge`.

    Sizes are in standard deviations of the cell's indicator at `share`. None where no share is that far away.
    A tilt of an indicator is again a rate, so these have a closed form. The score sum is the cell's count.
    """
    scale = indicator_scale(share)
    furthest = REACH * ((1.0 - share) if sign > 0 else share)
    bets: list[Bet | None] = []
    for size in sizes:
        alternative = edge + sign * size * scale
        possible = abs(alternative - share) < furthest and 0.0 < edge < 1.0
        bets.append(bernoulli(edge, alternative) if possible else None)
    return tuple(bets)


def score_bets(
    shares: Shares, score: Score, edge: float, sizes: Sequence[float], sign: int
) -> tuple[Bet | None, ...]:
    """One bet per size that the mean score has left `edge` upwards (sign +1) or downwards (-1).

    None where no tilt reaches that far, and for a score that is zero everywhere.
    """
    signed = tuple(sign * value for value in score)
    tolerated = tilt(shares, signed, edge)
    if tolerated is None:
        return (None,) * len(sizes)
    base = cumulant(shares, signed, tolerated)
    bets: list[Bet | None] = []
    for size in sizes:
        theta = tilt(shares, signed, edge + size)
        if theta is None:
            bets.append(None)
        else:
            bets.append(Bet(sign * (theta - tolerated), base - cumulant(shares, signed, theta)))
    return tuple(bets)


def cumulant(shares: Shares, score: Score, theta: float) -> float:
    """log of the mean of e^(theta score) under `shares`."""
    top = theta * max(score)
    terms = (p * math.exp(theta * f - top) for p, f in zip(shares, score, strict=True))
    return top + math.log(math.fsum(terms))


def tilt(shares: Shares, score: Score, mean: float) -> float | None:
    """theta >= 0 under which the mean score is `mean`; 0 if it is that already; None if out of reach.

    Newton steps within a bracket: as many as the arithmetic needs, the same on every machine.
    """
    if mean >= REACH * max(score):
        return None
    low, high = 0.0, 1.0
    if _moments(shares, score, 0.0)[0] >= mean:
        return 0.0
    while _moments(shares, score, high)[0] < mean:
        low, high = high, 2.0 * high
    theta = (low + high) / 2
    for _ in range(100):
        at, variance = _moments(shares, score, theta)
        if at < mean:
            low = theta
        else:
            high = theta
        step = theta + (mean - at) / variance if variance > 0 else low
        following = step if low < step < high else (low + high) / 2
        if abs(following - theta) <= 1e-15 * theta:
            break
        theta = following
    return theta


def _moments(shares: Shares, score: Score, theta: float) -> tuple[float, float]:
    """Mean and variance of the score under the tilt."""
    top = theta * max(score)
    weights = [p * math.exp(theta * f - top) for p, f in zip(shares, score, strict=True)]
    total = math.fsum(weights)
    moments = list(map(mul, weights, score))
    mean = math.fsum(moments) / total
    # only the step needs it: what cancels in the difference costs a step, not a digit of theta
    return mean, math.fsum(map(mul, moments, score)) / total - mean * mean
