"""What a policy promises of false alarms, how to promise less or more, and how strong an alarm is by that.

A detector's rate is its false alarms per window on a stream that does not drift; rates add up over the
detectors of a policy, whatever they have in common. Roll-ups and e-detectors hold to the rate that they
declare. Of bucket-ADWIN it is measured: over 100,000 windows each of Bernoulli (.1 and .3), clipped normal
and clipped t3 errors, 20 or 100 to a window, at delta .002, .02, .2 and .9, the upper 95 % bounds on its
alarms per window, cuts both ways, were at most .026 delta (its own theorem promises delta). river's classics
promise nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

from domain.drift.adwin import AdwinPolicy
from domain.errors import DomainError, InvalidField
from domain.judgement.policy import JudgementPolicy

MONTH_MS = 30 * 86_400_000
ADWIN_PER_DELTA = Fraction(3, 100)
DECLARED, MEASURED, NONE = "declared", "measured bound", "not bounded"
_RATE, _DELTA = "false_alarms_per_window", "delta"
_DIGITS = 6
"""Of a rate that is written into a policy: people read it."""
_LEAST = Fraction(1, 10**12)
"""No budget that anybody means is below this, in false alarms per window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """One detector's false alarms per window. `field` of its policy sets them."""

    detector: str
    """Its part of the `drift` section."""
    per_window: Fraction | None
    """None: nobody knows."""
    source: str
    field: str | None = None


class NothingToScale(DomainError):
    """The policy has no detector whose false alarms can be set."""

    def __init__(self) -> None:
        super().__init__("the policy has no detector that declares a rate of false alarms")


def rates(policy: JudgementPolicy) -> tuple[Rate, ...]:
    """Of every detector that is switched on, in the order of the document."""
    found: list[Rate] = []
    for part in fields(policy):
        detector = getattr(policy, part.name)
        if isinstance(detector, AdwinPolicy):
            bound = ADWIN_PER_DELTA * Fraction(detector.delta)
            found.append(Rate(detector=part.name, per_window=bound, source=MEASURED, field=_DELTA))
        elif hasattr(detector, _RATE):
            rate = Fraction(getattr(detector, _RATE))
            found.append(Rate(detector=part.name, per_window=rate, source=DECLARED, field=_RATE))
        elif part.name == "classics":
            found += [
                Rate(detector=f"{part.name}.{number}", per_window=None, source=NONE)
                for number in range(len(detector))
            ]
    return tuple(found)


def per_window(policy: JudgementPolicy) -> Fraction:
    """The sum over the detectors whose rate is known."""
    return sum((rate.per_window for rate in rates(policy) if rate.per_window is not None), Fraction(0))


def per_month(rate: Fraction, length_ms: int) -> Fraction:
    """What a rate per window makes in 30 days of windows of `length_ms`. Raises InvalidField."""
    return rate * windows_per_month(length_ms)


def windows_per_month(length_ms: int) -> Fraction:
    """Windows in 30 days. Raises InvalidField."""
    if length_ms <= 0:
        raise InvalidField("windows", "length_ms", "> 0", length_ms)
    return Fraction(MONTH_MS, length_ms)


def shares(budget: Fraction, weights: Mapping[str, Fraction]) -> dict[str, Fraction]:
    """`budget` divided by weight; exactly, so that the shares add up to it. Raises InvalidField.

    >>> shares(Fraction(1), {"a": Fraction(2), "b": Fraction(1)})
    {'a': Fraction(2, 3), 'b': Fraction(1, 3)}
    """
    if budget <= 0:
        raise InvalidField("budget", "per_month", "> 0", float(budget))
    for name, weight in weights.items():
        if weight <= 0:
            raise InvalidField("budget", f"weight of {name}", "> 0", float(weight))
    total = sum(weights.values(), Fraction(0))
    return {name: budget * weight / total for name, weight in weights.items()}


def within(policy: JudgementPolicy, limit: Fraction) -> dict[str, tuple[str, float]]:
    """By detector the field and its value with which the policy's rate per window is just within `limit`.

    Every rate is changed by one factor and rounded down to six digits, so that the sum never exceeds the
    limit; a policy that is that near already keeps its values. Raises NothingToScale, InvalidField.
    """
    if limit < _LEAST:
        raise InvalidField("budget", "false alarms per window", f">= {float(_LEAST):g}", float(limit))
    known = [rate for rate in rates(policy) if rate.per_window is not None and rate.field is not None]
    total = sum((rate.per_window for rate in known if rate.per_window is not None), Fraction(0))
    if total <= 0:
        raise NothingToScale
    near = limit * (1 - Fraction(2, 10 ** (_DIGITS - 1)))
    factor = Fraction(1) if near <= total <= limit else limit / total
    found = {}
    for rate in known:
        detector = getattr(policy, rate.detector)
        assert rate.field is not None  # noqa: S101 - those that are known have one
        value = getattr(detector, rate.field)
        found[rate.detector] = (rate.field, value if factor == 1 else rounded_down(Fraction(value) * factor))
    return found


def rounded_down(value: Fraction) -> float:
    """A float of six significant digits, the largest that is not above `value`, which is positive.

    >>> rounded_down(Fraction(2, 3))
    0.666666
    """
    exponent = math.floor(math.log10(value)) - _DIGITS + 1
    unit = Fraction(10) ** exponent
    digits = value // unit
    found = float(f"{digits}e{exponent}")
    # the nearest float to the decimal may be above it by less than a bit
    return found if Fraction(found) <= value else math.nextafter(found, 0.0)


def strength(policy: JudgementPolicy, evidence: Mapping[str, Any], tested: int) -> float | None:
    """The part of the policy's false-alarm rates at which this alarm would still have been raised, [0, 1].

    `policy` was in force, `evidence` is that of an opening or escalation, `tested` at least how many features
    the detector tested at once. An upper bound; None of a detector whose rate nobody knows.
    """
    threshold = float(evidence["threshold"])
    if "log_e" in evidence:
        # an e-detector alarms at log(1 / rate)
        return math.exp(min(0.0, threshold - evidence["log_e"]))
    if "p_value" in evidence:
        # Simes' p-value of the block is at most that of its strongest feature times the features tested
        return min(1.0, tested * float(evidence["p_value"]) / threshold)
    deltas = [p.delta for p in (policy.errors, policy.prediction_level) if p is not None]
    if evidence["detector"] != "bucket-adwin" or not deltas:
        return None
    # The threshold grows at most in proportion to l = log(2 log n / delta), so that the delta at which this
    # is just a cut has an l of at least statistic / threshold times this one.
    confidence = math.log(2 * math.log(max(evidence["sample_size"], 3)) / max(deltas))
    return math.exp(-confidence * max(0.0, evidence["statistic"] / threshold - 1)) if threshold > 0 else 1.0


def chance(policy: JudgementPolicy, part: float | None, windows: Fraction) -> float:
    """At most how likely a model without drift is to raise an alarm of strength `part` in so many windows.

    It is the expected number of such alarms, hence 1 at most, and 1 where nobody knows.
    """
    return 1.0 if part is None else min(1.0, float(per_window(policy) * windows * Fraction(part)))
