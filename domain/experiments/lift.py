"""A difference as a part of the control's mean, by the delta method."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mean:
    """An estimate and its variance (not that of the values it is the mean of)."""

    value: float
    variance: float


def lift(difference: Mean, treatment_variance: float, control: Mean) -> Mean:
    """Treatment / control - 1, where `difference` is treatment minus control.

    The variances of both means are asked for besides the difference's: what they are more than it, the means
    have in common (paired answers, a shock that hits both arms), and that moves a ratio less. Independent
    arms give the textbook's `var1 / m0^2 + var0 m1^2 / m0^4`. First order: the control's mean must be many
    standard errors away from zero. The variance is negative where the three contradict each other.

    >>> lift(Mean(0.5, 0.02), 0.01, Mean(2.0, 0.01)).value
    0.25
    """
    r = difference.value / control.value
    own = (1 + r) * difference.variance - r * treatment_variance + r * (1 + r) * control.variance
    return Mean(r, own / control.value**2)
