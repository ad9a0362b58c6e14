"""Treatment against control where a unit (user, symbol) keeps its arm: the variance is that of units.

Units fall into hash buckets, and each bucket's sums of an allocation phase add over its windows. A unit's
outcomes depend on each other as they like, inside its bucket; buckets do not depend on each other, because
units were assigned on their own (what moves all units of an arm at once, `domain.experiments.measure` adds).
Phases are strata: inside one the shares stood still, so a drifting base rate reaches both arms alike. The
phases' differences are weighted by their information, the inverse variance, and the evidence runs in
information time.

A unit that stays through several phases ties their differences together. Buckets are the same in all phases,
so what they add to the whole shows that: with several phases the variance is the larger of the two.

Means are ratios too, of a sum to a count. With another base than the count (profit to volume) the same sums
give the ratio of the two, its variance by the delta method.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

Units = Mapping[str, tuple[float, ...]]
"""By bucket: number of outcomes, their sum, and the base's sum if the metric is a ratio to something else."""

MIN_BUCKETS = 20
"""An arm with fewer occupied buckets has no variance to speak of; its phase waits."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Sums of one allocation phase; they add over batches."""

    treatment: Units = field(default_factory=dict)
    control: Units = field(default_factory=dict)

    def __add__(self, other: "Phase") -> "Phase":
        return Phase(added(self.treatment, other.treatment), added(self.control, other.control))


Phases = Mapping[str, Phase]
"""By allocation epoch."""


def added(left: Units, right: Units) -> Units:
    """Bucket by bucket."""
    total = dict(left)
    for bucket, sums in right.items():
        known = total.get(bucket)
        total[bucket] = sums if known is None else tuple(a + b for a, b in zip(known, sums, strict=True))
    return {bucket: total[bucket] for bucket in sorted(total)}


def merged(left: Phases, right: Phases) -> Phases:
    """Phase by phase."""
    epochs = sorted({*left, *right})
    return {epoch: left.get(epoch, Phase()) + right.get(epoch, Phase()) for epoch in epochs}


def counted(units: Units) -> int:
    """Outcomes in all buckets."""
    return int(sum(sums[0] for sums in units.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Over all phases that can be measured."""

    s: float
    """Sum of information times difference."""
    information: float
    v: float
    """Variance of s: the information, or more if units tie phases together."""
    treatment_outcomes: int
    champion_outcomes: int
    phases: int

    @property
    def estimate(self) -> float:
        """Treatment minus control, in units of the metric."""
        return self.s / self.information


def compare(phases: Phases) -> Comparison | None:
    """None while no phase has enough buckets with different values in both arms."""
    s, information, measured, n1, n0 = [], [], 0, 0, 0
    pulls: dict[str, list[float]] = {}
    for epoch in sorted(phases):
        phase = phases[epoch]
        one, zero = _ratio(phase.treatment), _ratio(phase.control)
        if one is None or zero is None or not math.isfinite(1 / (one.variance + zero.variance)):
            continue
        weight = 1 / (one.variance + zero.variance)
        s.append(weight * (one.value - zero.value))
        information.append(weight)
        for arm, sign in ((one, 1.0), (zero, -1.0)):
            for bucket, pull in arm.pulls.items():
                pulls.setdefault(bucket, []).append(sign * weight * pull)
        n1, n0 = n1 + counted(phase.treatment), n0 + counted(phase.control)
        measured += 1
    if not measured:
        return None
    total = math.fsum(information)
    v = total
    if measured > 1:
        spread = math.fsum(math.fsum(each) ** 2 for each in pulls.values())
        v = max(total, spread * len(pulls) / (len(pulls) - 1))
    return Comparison(
        s=math.fsum(s),
        information=total,
        v=v,
        treatment_outcomes=n1,
        champion_outcomes=n0,
        phases=measured,
    )


@dataclass(frozen=True, slots=True)
class _Ratio:
    """One arm's ratio of sums. `pulls` is how much each bucket moves it; they add up to zero."""

    value: float
    variance: float
    pulls: Mapping[str, float]


def _ratio(units: Units) -> _Ratio | None:
    occupied = [bucket for bucket, sums in units.items() if sums[0] > 0]
    base = math.fsum(units[bucket][-1] if len(units[bucket]) > 2 else units[bucket][0] for bucket in occupied)
    if len(occupied) < MIN_BUCKETS or base <= 0:
        return None
    value = math.fsum(units[bucket][1] for bucket in occupied) / base
    pulls = {}
    for bucket in occupied:
        n, total, *other = units[bucket]
        pulls[bucket] = (total - value * (other[0] if other else n)) / base
    spread = math.fsum(pull * pull for pull in pulls.values())
    variance = spread * len(occupied) / (len(occupied) - 1)
    return _Ratio(value, variance, pulls) if variance > 0 else None


def imbalance(phases: Phases, share: float, ramped: Mapping[str, float] | None = None) -> tuple[float, float]:
    """Treatment's outcomes beyond its `share` of both arms' (0..1), and the variance of that over buckets.

    `ramped` has its share in phases in which it was another.

    Requests of sticky units are no coin tosses: one busy unit moves thousands to its arm. Units are, and a
    bucket holds its units whole.
    """
    surplus: dict[str, list[float]] = {}
    for epoch, phase in phases.items():
        ours = share if ramped is None else ramped.get(epoch, share)
        for units, pull in ((phase.treatment, 1.0 - ours), (phase.control, -ours)):
            for bucket, sums in units.items():
                surplus.setdefault(bucket, []).append(pull * sums[0])
    each = [math.fsum(surplus[bucket]) for bucket in sorted(surplus)]
    if len(each) < MIN_BUCKETS:
        return 0.0, 0.0
    return math.fsum(each), math.fsum(one * one for one in each) * len(each) / (len(each) - 1)
