"""Who of a past window's outcomes would have been in which arm, and what the arms would have scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from consumers.rehearsal.windows import Column, Floats, Generator, Ints, Outcomes
from domain.allocation.assign import Allocation
from domain.allocation.split import Arm
from domain.experiments.plan import BINARY_METRICS, ExperimentPlan
from domain.windows.moments import of
from domain.windows.units import BUCKETS
from domain.windows.units import bucket as bucket_of

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """How much better the first challenger is on the primary metric, in its units; negative is worse.
    All others are equal to the champion.

    Hits cannot be shifted: so many misses become hits (or hits misses) that a rate of `base_rate` changes by
    the gain. Of a ratio, each record's numerator changes by gain times its denominator.
    """

    gain: float = 0.0
    base_rate: float | None = None


class Arms:
    """One rehearsal's allocation: the plan's own, under a salt of its own.

    With ids and units it is the product's; records without ids (all that a score row knows is how many there
    were) are drawn into arms by the shares. Under USER_SEGMENT a record without a unit takes no part.
    """

    def __init__(
        self, plan: ExperimentPlan, effect: Effect, units: Sequence[str], salt: str, source: Generator
    ) -> None:
        self.plan, self._effect, self._source = plan, effect, source
        self.order = (plan.champion, *plan.treatments)
        """The champion first."""
        arms = [Arm(name=v.name, share=v.share, champion=v.champion) for v in plan.variants]
        self._allocation = Allocation(plan.strategy, salt, arms, period_ms=plan.period_ms)
        # the last place is for records without a unit
        self._units = [*units, None]
        self._index = {variant.name: number for number, variant in enumerate(self.order)}
        self._metrics = frozenset(plan.metrics)
        self._edges = np.cumsum([variant.share for variant in self.order])
        sticky = plan.strategy == "USER_SEGMENT"
        homes = [self._arm_of("", unit) for unit in units] if sticky else []
        self._arm_of_unit = np.array([*homes, -1])
        self._bucket_of_unit = np.array([*(bucket_of(salt, unit) for unit in units if sticky), -1])

    def bodies(self, outcomes: Outcomes, turn: int, by_ms: int = 0) -> dict[str, Body]:
        """By variant; `turn` tells repetitions of one past window apart, which takes place `by_ms` later."""
        if self.plan.strategy == "SHADOW_MODE":
            return dict(self._shadow(outcomes))
        switches = self.plan.period_ms is not None
        arm = self._switched(outcomes, by_ms) if switches else self._assigned(outcomes, turn)
        found = {}
        for number, variant in enumerate(self.order):
            mine = arm == number
            if mine.any():
                found[variant.name] = self._body(outcomes, number, mine)
        return found

    def _assigned(self, outcomes: Outcomes, turn: int) -> Ints:
        if self.plan.strategy == "USER_SEGMENT":
            if outcomes.units is None:
                raise ValueError("units are split, and these outcomes name none")
            return self._arm_of_unit[outcomes.units]
        if outcomes.ids is None:
            return np.minimum(
                np.searchsorted(self._edges, self._source.random(outcomes.n), side="right"),
                len(self.order) - 1,
            )
        mark = f"#{turn}" if turn else ""
        return np.array([self._arm_of(identity + mark, None) for identity in outcomes.ids], np.int64)

    def _switched(self, outcomes: Outcomes, by_ms: int) -> Ints:
        """By unit and period; records without a unit are one unit."""
        if outcomes.at_ms is None:
            raise ValueError("arms switch by time, and these outcomes have none")
        at_ms = outcomes.at_ms + by_ms
        units = np.full(outcomes.n, -1) if outcomes.units is None else outcomes.units
        keys = np.stack([at_ms // (self.plan.period_ms or 1), units])
        _, first, place = np.unique(keys, axis=1, return_index=True, return_inverse=True)
        arms = [
            self._index[self._allocation.answers("", self._units[units[k]], at_ms=int(at_ms[k]))[0].arm]
            for k in first
        ]
        return np.array(arms)[place.reshape(-1)]

    def _arm_of(self, identity: str, unit: str | None) -> int:
        return self._index[self._allocation.answers(identity, unit)[0].arm]

    def _body(self, outcomes: Outcomes, number: int, mine: Any) -> Body:
        n, matched = int(mine.sum()), int((mine & outcomes.matched).sum())
        values = {
            name: self._scored(name, column, outcomes, number)
            for name, column in outcomes.columns.items()
            if name in self._metrics
        }
        metrics, units = {}, {}
        for name, column in outcomes.columns.items():
            if name not in values:
                continue
            chosen = mine[column.rows]
            if not chosen.any():
                continue
            x = None if column.x is None else column.x[chosen]
            metrics[name] = of(values[name][chosen], x).to_json()
            if self.plan.strategy == "USER_SEGMENT" and outcomes.units is not None:
                home = self._bucket_of_unit[outcomes.units[column.rows[chosen]]]
                units[name] = _sums(home, values[name][chosen])
        body = {"n": n, "matched": matched, "missing": n - matched, "metrics": metrics}
        return body | ({"units": units} if units else {})

    def _shadow(self, outcomes: Outcomes) -> Mapping[str, Body]:
        n, matched = outcomes.n, int(outcomes.matched.sum())
        counts = {"n": n, "matched": matched, "missing": n - matched}
        found: dict[str, Body] = {self.plan.champion.name: counts}
        for number, variant in enumerate(self.order[1:], start=1):
            paired, hits = {}, {}
            for name, column in outcomes.columns.items():
                if name not in self._metrics or not len(column.rows):
                    continue
                difference = self._scored(name, column, outcomes, number) - column.values[0]
                if name in BINARY_METRICS:
                    difference = np.clip(difference, -1.0, 1.0)
                    won, lost = int((difference > 0).sum()), int((difference < 0).sum())
                    hits[name] = {"n": len(difference), "b": won, "c": lost}
                paired[name] = of(difference).to_json()
            found[variant.name] = counts | {"paired": paired, "paired_hits": hits}
        return found

    def _scored(self, name: str, column: Column, outcomes: Outcomes, number: int) -> Floats:
        """What the arm scores: as the past was, and the first challenger better by the effect."""
        values: Floats = column.values[min(number, len(column.values) - 1)]
        goal = self.plan.primary
        if number != 1 or name != goal.metric or not self._effect.gain:
            return values
        change = self._effect.gain if goal.direction == "increase" else -self._effect.gain
        if goal.denominator is not None:
            base = outcomes.columns.get(goal.denominator)
            whole = np.zeros(outcomes.n)
            if base is not None:
                whole[base.rows] = base.values[min(number, len(base.values) - 1)]
            return values + change * whole[column.rows]
        return self._flipped(values, change) if name in BINARY_METRICS else values + change

    def _flipped(self, values: Floats, change: float) -> Floats:
        rate = self._effect.base_rate
        if rate is None:
            # differences of hits: the toss that says who was right alone is no longer fair
            return np.where(self._source.random(len(values)) < abs(change), np.sign(change), values)
        losers = values == (0.0 if change > 0 else 1.0)
        left = 1.0 - rate if change > 0 else rate
        chance = min(1.0, abs(change) / left) if left > 0 else 0.0
        turned = losers & (self._source.random(len(values)) < chance)
        return np.where(turned, 1.0 - values, values)


def _sums(home: Ints, values: Floats) -> dict[str, list[float]]:
    known = home >= 0
    counts = np.bincount(home[known], minlength=BUCKETS)
    totals = np.bincount(home[known], values[known], minlength=BUCKETS)
    return {str(b): [int(counts[b]), float(totals[b])] for b in np.flatnonzero(counts)}
