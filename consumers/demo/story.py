"""What happened in a demo, as values: collected once, then told by the timeline, the report and `--json`.

All times are event time, milliseconds since the epoch, UTC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from domain.retraining.validation import mean_absolute_error
from schemas.clock import from_ms

Json = Mapping[str, Any]

INPUT_DRIFTS = frozenset({"DATA_DRIFT", "PREDICTION_DRIFT"})
"""Drift of what goes in and comes out; the other types say that the errors changed."""


def iso(at_ms: int) -> str:
    """ISO 8601 in UTC, such as `2002-02-07T00:00:00Z`."""
    return from_ms(at_ms).isoformat().replace("+00:00", "Z")


def day(at_ms: int) -> str:
    """The UTC date, such as `2002-02-07`."""
    return from_ms(at_ms).strftime("%Y-%m-%d")


def _iso_or_none(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso(at_ms)


def facts(decision: Json | None) -> Json:
    """The evidence proper inside a decision's canonical body; empty without a decision."""
    found: Json = (decision or {}).get("evidence", {})
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One stretch of drift of a version; `evidence` is the body of the decision that opened it."""

    id: str
    version: str
    drift_type: str
    severity: str
    opened_at_ms: int
    closed_at_ms: int | None = None
    """None: still open at the end."""
    evidence: Json = field(default_factory=dict)

    @property
    def of_inputs(self) -> bool:
        return self.drift_type in INPUT_DRIFTS

    def to_json(self) -> Json:
        return {
            "id": self.id,
            "version": self.version,
            "drift_type": self.drift_type,
            "severity": self.severity,
            "opened_at": iso(self.opened_at_ms),
            "closed_at": _iso_or_none(self.closed_at_ms),
            "evidence": dict(self.evidence),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One retraining job, those that policy refused (SUPPRESSED) included."""

    id: str
    status: str
    opened_at_ms: int
    reason: str
    """Why it was asked for."""
    detail: str = ""
    """What came of it, in the trainer's words."""
    version: str | None = None
    """The version that it registered."""
    train_rows: int | None = None
    """Rows that the registered version was trained on."""
    validation: Json = field(default_factory=dict)
    """The comparison with the champion on the holdout; empty when it did not get that far."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What the training command measured."""

    def to_json(self) -> Json:
        return {
            "id": self.id,
            "status": self.status,
            "opened_at": iso(self.opened_at_ms),
            "version": self.version,
            "reason": self.reason,
            "detail": self.detail,
            "train_rows": self.train_rows,
            "validation": dict(self.validation),
            "metrics": dict(self.metrics),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One experiment; `evidence` is the body of the decision that ended it."""

    id: str
    champion_version: str
    challenger_version: str
    strategy: str
    metric: str
    status: str
    started_at_ms: int
    ended_at_ms: int | None = None
    verdict: str | None = None
    """PROMOTE, ROLL_BACK or INCONCLUSIVE; None while it runs and when it was cancelled."""
    decision_id: str | None = None
    evidence: Json | None = None

    @property
    def primary(self) -> Json:
        """The primary measure at the last look; empty before there was one."""
        treatments: Mapping[str, Json] = facts(self.evidence).get("treatments", {})
        measures = [found["primary"] for _, found in sorted(treatments.items())]
        return measures[0] if measures and measures[0].get("estimate") is not None else {}

    def to_json(self) -> Json:
        return {
            "id": self.id,
            "champion_version": self.champion_version,
            "challenger_version": self.challenger_version,
            "strategy": self.strategy,
            "metric": self.metric,
            "status": self.status,
            "started_at": iso(self.started_at_ms),
            "ended_at": _iso_or_none(self.ended_at_ms),
            "verdict": self.verdict,
            "decision_id": self.decision_id,
            "evidence": None if self.evidence is None else dict(self.evidence),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A version took PRODUCTION over from another; the first version's start is not one."""

    at_ms: int
    version: str
    previous_version: str | None
    actor: str
    decision_id: str | None = None
    evidence: Json | None = None

    def to_json(self) -> Json:
        return {
            "at": iso(self.at_ms),
            "version": self.version,
            "previous_version": self.previous_version,
            "actor": self.actor,
            "decision_id": self.decision_id,
            "evidence": None if self.evidence is None else dict(self.evidence),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One entry per served prediction whose outcome is known, in time order; all of one length."""

    at_ms: tuple[int, ...] = ()
    price: tuple[float, ...] = ()
    """Dollars a barrel; NaN where the features had none."""
    actual: tuple[float, ...] = ()
    """What was forecast: the next trading day's absolute move, dollars."""
    served: tuple[float, ...] = ()
    served_version: tuple[str, ...] = ()
    frozen_v1: tuple[float, ...] = ()
    """What version 1, never retrained, answers to the same requests."""

    def __post_init__(self) -> None:
        lengths = {len(getattr(self, each.name)) for each in fields(self)}
        if len(lengths) > 1:
            raise ValueError(f"series of different lengths: {sorted(lengths)}")

    def where(self, chosen: Sequence[bool]) -> "Series":
        """The entries for which `chosen` is true."""
        kept = [i for i, wanted in enumerate(chosen) if wanted]
        names = [each.name for each in fields(self)]
        return Series(**{name: tuple(getattr(self, name)[i] for i in kept) for name in names})

    @property
    def champion_mae(self) -> float | None:
        """Mean absolute error of what was served; None without entries."""
        return mean_absolute_error(self.served, self.actual)

    @property
    def frozen_v1_mae(self) -> float | None:
        """The same of version 1 over the same entries."""
        return mean_absolute_error(self.frozen_v1, self.actual)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoStory:
    """Everything that the demo shows. Lists are in time order."""

    model: str
    predictions: int
    """Records in the log, shadow answers included, heartbeats not."""
    outcomes: int
    windows: int
    """Windows with predictions whose input side is closed."""
    drift_episodes: tuple[Episode, ...] = ()
    retraining_jobs: tuple[Job, ...] = ()
    experiments: tuple[Trial, ...] = ()
    promotions: tuple[Promotion, ...] = ()
    divergences: int
    conservation_ok: bool
    report: str
    """Path of the HTML report."""
    series: Series = field(default_factory=Series)
    change_points_ms: tuple[int, ...] = ()
    """Where human annotators saw the price series change."""

    @property
    def from_ms(self) -> int | None:
        """The first prediction told of; None without any."""
        return self.series.at_ms[0] if self.series.at_ms else None

    @property
    def to_ms(self) -> int | None:
        return self.series.at_ms[-1] if self.series.at_ms else None

    @property
    def first_version(self) -> str | None:
        """The version that served first: the one that the frozen comparison never retrains."""
        return self.series.served_version[0] if self.series.at_ms else None

    @property
    def champion_mae(self) -> float | None:
        return self.series.champion_mae

    @property
    def frozen_v1_mae(self) -> float | None:
        return self.series.frozen_v1_mae

    def to_json(self) -> dict[str, Any]:
        """The object that `lifecycle demo --json` ends with; the day-by-day series stay out."""
        return {
            "model": self.model,
            "from": _iso_or_none(self.from_ms),
            "to": _iso_or_none(self.to_ms),
            "predictions": self.predictions,
            "outcomes": self.outcomes,
            "windows": self.windows,
            "drift_episodes": [episode.to_json() for episode in self.drift_episodes],
            "retraining_jobs": [job.to_json() for job in self.retraining_jobs],
            "experiments": [trial.to_json() for trial in self.experiments],
            "promotions": [promotion.to_json() for promotion in self.promotions],
            "champion_mae": self.champion_mae,
            "frozen_v1_mae": self.frozen_v1_mae,
            "divergences": self.divergences,
            "conservation_ok": self.conservation_ok,
            "report": self.report,
        }
