"""What one closed window says about each arm, and the batch that is being filled with such windows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from domain.experiments.moments import Moments
from domain.experiments.plan import ExperimentPlan
from domain.experiments.sticky import Units, added, counted
from domain.plain import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowScores:
    """The score rows of one experiment, window and horizon, merged over partitions.

    `arms` maps a variant's name to the body of its row: n, matched, missing, metrics, paired, paired_hits.
    `due_ms` is when its outcomes were complete; windows come in this order. `epoch` is the allocation's, and
    `shares` are its shares by variant where they are not the plan's.
    """

    window_start_ms: int
    window_end_ms: int
    due_ms: int
    horizon_s: int
    arms: Mapping[str, Mapping[str, Any]]
    epoch: int = 0
    shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hits:
    """Paired answers: `b` only the challenger right, `c` only the champion right, of `n`."""

    n: int = 0
    b: int = 0
    c: int = 0

    def __add__(self, other: "Hits") -> "Hits":
        return Hits(self.n + other.n, self.b + other.b, self.c + other.c)

    def to_json(self) -> Json:
        return {"n": self.n, "b": self.b, "c": self.c}


@dataclass(frozen=True, slots=True)
class Totals:
    """Predictions of an arm, and how many of them got their outcome."""

    n: int = 0
    matched: int = 0
    missing: int = 0

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(self.n + other.n, self.matched + other.matched, self.missing + other.missing)

    @property
    def arrived_share(self) -> float:
        """Part of the predictions whose outcome came in time; 1 without predictions."""
        return 1.0 - self.missing / self.n if self.n else 1.0

    def to_json(self) -> Json:
        return {"n": self.n, "matched": self.matched, "missing": self.missing}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """Sums of one arm over the windows of a batch. Of the metrics only those of the plan are kept."""

    totals: Totals = field(default_factory=Totals)
    metrics: Mapping[str, Moments] = field(default_factory=dict)
    paired: Mapping[str, Moments] = field(default_factory=dict)
    hits: Mapping[str, Hits] = field(default_factory=dict)
    units: Mapping[str, Units] = field(default_factory=dict)
    """By metric: number and sum of each hash bucket. Only where units are split."""

    @classmethod
    def of_body(cls, body: Mapping[str, Any], wanted: tuple[str, ...], *, units: bool) -> "Arm":
        def chosen(section: str) -> Mapping[str, Any]:
            present = body.get(section, {})
            return {metric: present[metric] for metric in wanted if metric in present}

        return cls(
            totals=Totals(int(body["n"]), int(body["matched"]), int(body["missing"])),
            metrics={metric: Moments.of_body(moments) for metric, moments in chosen("metrics").items()},
            paired={metric: Moments.of_body(moments) for metric, moments in chosen("paired").items()},
            hits={m: Hits(int(h["n"]), int(h["b"]), int(h["c"])) for m, h in chosen("paired_hits").items()},
            units={metric: _units(sums) for metric, sums in chosen("units").items()} if units else {},
        )

    def __add__(self, other: "Arm") -> "Arm":
        return Arm(
            totals=self.totals + other.totals,
            metrics=_joined(self.metrics, other.metrics),
            paired=_joined(self.paired, other.paired),
            hits={
                metric: self.hits.get(metric, Hits()) + other.hits.get(metric, Hits())
                for metric in sorted({*self.hits, *other.hits})
            },
            units={
                metric: added(self.units.get(metric, {}), other.units.get(metric, {}))
                for metric in sorted({*self.units, *other.units})
            },
        )

    def to_json(self) -> Json:
        """The shape of a score row's body, so that `of_body` reads it back."""
        units = {
            metric: {bucket: list(sums) for bucket, sums in self.units[metric].items()}
            for metric in sorted(self.units)
        }
        body = self.totals.to_json() | {
            "metrics": {metric: self.metrics[metric].to_json() for metric in sorted(self.metrics)},
            "paired": {metric: self.paired[metric].to_json() for metric in sorted(self.paired)},
            "paired_hits": {metric: self.hits[metric].to_json() for metric in sorted(self.hits)},
        }
        return body | ({"units": units} if units else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBatch:
    """Windows that wait for enough company to be one stratum."""

    windows: int = 0
    first_ms: int = 0
    last_ms: int = 0
    horizon_s: int = 0
    """The longest among its windows."""
    arms: Mapping[str, Arm] = field(default_factory=dict)
    epoch: int = 0
    shares: Mapping[str, float] = field(default_factory=dict)
    """Of the epoch; empty where they are the plan's."""

    def extended(self, plan: ExperimentPlan, scores: WindowScores) -> "OpenBatch":
        """With one more window. Arms that the plan does not name are ignored."""
        arms = dict(self.arms)
        for variant in plan.variants:
            if variant.name in scores.arms:
                sticky = plan.strategy == "USER_SEGMENT"
                arm = Arm.of_body(scores.arms[variant.name], plan.metrics, units=sticky)
                arms[variant.name] = arms.get(variant.name, Arm()) + arm
        start, end = scores.window_start_ms, scores.window_end_ms
        return OpenBatch(
            windows=self.windows + 1,
            first_ms=min(self.first_ms, start) if self.windows else start,
            last_ms=max(self.last_ms, end) if self.windows else end,
            horizon_s=max(self.horizon_s, scores.horizon_s),
            arms=arms,
            epoch=scores.epoch,
            shares=scores.shares,
        )

    def outcomes(self, plan: ExperimentPlan) -> dict[str, int]:
        """Outcomes of the primary metric per arm; under SHADOW_MODE pairs per treatment."""
        shadow = plan.strategy == "SHADOW_MODE"
        counts = {}
        for variant in plan.treatments if shadow else plan.variants:
            arm = self.arms.get(variant.name, Arm())
            if plan.strategy == "USER_SEGMENT":
                counts[variant.name] = counted(arm.units.get(plan.primary.metric, {}))
                continue
            moments = (arm.paired if shadow else arm.metrics).get(plan.primary.metric, Moments())
            counts[variant.name] = moments.n
        return counts

    def complete(self, plan: ExperimentPlan) -> bool:
        """The blind rule: enough outcomes in all and in each arm, and long enough for the label horizon.

        Under SWITCHBACK outcomes of one period depend on each other like those that overlap.
        """
        counts = self.outcomes(plan).values()
        total = min(counts) if plan.strategy == "SHADOW_MODE" else sum(counts)
        return (
            total >= plan.batch.min_outcomes
            and min(counts) >= plan.batch.min_per_arm
            and self.last_ms - self.first_ms
            >= plan.batch.horizon_multiple * max(self.horizon_s * 1000, plan.period_ms or 0)
        )

    def to_json(self) -> Json:
        body = {
            "windows": self.windows,
            "first_ms": self.first_ms,
            "last_ms": self.last_ms,
            "horizon_s": self.horizon_s,
            "epoch": self.epoch,
            "arms": {name: self.arms[name].to_json() for name in sorted(self.arms)},
        }
        return body | ({"shares": dict(sorted(self.shares.items()))} if self.shares else {})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "OpenBatch":
        def arm(body: Mapping[str, Any]) -> Arm:
            every = {*body["metrics"], *body["paired"], *body["paired_hits"], *body.get("units", ())}
            return Arm.of_body(body, tuple(sorted(every)), units=True)

        return cls(**{**data, "arms": {name: arm(body) for name, body in data["arms"].items()}})


def _units(sums: Mapping[str, Any]) -> Units:
    return {bucket: (float(sums[bucket][0]), float(sums[bucket][1])) for bucket in sorted(sums)}


def _joined(left: Mapping[str, Moments], right: Mapping[str, Moments]) -> dict[str, Moments]:
    names = sorted({*left, *right})
    return {name: left.get(name, Moments()) + right.get(name, Moments()) for name in names}
