"""The alarms of one model on a line of time, and how those of two policies over the same rows differ.

Episodes are read from decisions, real ones or those of a replay with other settings. Two episodes are the
same drift if they overlap and are of one stream: version, what drifts, and whether that is an estimate.
Errors that grow are one stream whether they are called CONCEPT_DRIFT or PERFORMANCE_DEGRADATION, for that
depends on whether the inputs' episode happened to be open.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from domain.judgement.decision import Decision, DecisionKind, Key
from domain.plain import Json

_ERRORS = "errors"
_ERROR_TYPES = ("CONCEPT_DRIFT", "PERFORMANCE_DEGRADATION")
ESTIMATE = "estimate"
"""Last part of the subject of an episode that rests on an estimate of performance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One episode from its opening to its recovery. Event time."""

    version: str
    drift_type: str
    estimate: bool
    """Whether it rests on an estimate, before outcomes arrived."""
    opened_ms: int
    escalated_ms: int | None
    """When it became severe; None if it opened so, or never did."""
    closed_ms: int | None
    """None while it is open."""
    severity: str
    """At its opening: warn or drift."""
    detector: str
    features: tuple[str, ...]
    """That its opening named, strongest first."""

    @property
    def stream(self) -> tuple[str, str, bool]:
        """What the same drift has in common under any settings."""
        return (self.version, _ERRORS if self.drift_type in _ERROR_TYPES else self.drift_type, self.estimate)

    @property
    def worst(self) -> str:
        """Severity at its end."""
        return "drift" if self.escalated_ms is not None else self.severity

    def to_json(self) -> Json:
        return {
            "version": self.version,
            "drift_type": self.drift_type,
            "estimate": self.estimate,
            "opened_ms": self.opened_ms,
            "escalated_ms": self.escalated_ms,
            "closed_ms": self.closed_ms,
            "severity": self.severity,
            "detector": self.detector,
            "features": list(self.features),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All episodes and retraining orders of one model that concern the time from `from_ms` to `to_ms`."""

    from_ms: int
    to_ms: int
    spans: tuple[Span, ...]
    """Those that were open at any moment of it, by opening."""
    retrain_ms: tuple[int, ...]
    """When retraining was asked for."""

    def within(self, at_ms: int | None) -> bool:
        return at_ms is not None and self.from_ms <= at_ms < self.to_ms

    def in_alarm_ms(self, spans: Iterable[Span] | None = None) -> int:
        """Time in which at least one of the episodes was open."""
        parts = sorted(map(self._cut, self.spans if spans is None else spans))
        total, reached = 0, self.from_ms
        for opened, closed in parts:
            total += max(0, closed - max(opened, reached))
            reached = max(reached, closed)
        return total

    def tally(self, drift_type: str | None = None) -> "Tally":
        """Counts of what happened in this time; of one drift type, or of all."""
        mine = [span for span in self.spans if drift_type in (None, span.drift_type)]
        opened = [span for span in mine if self.within(span.opened_ms)]
        return Tally(
            opened=len(opened),
            warn=sum(span.severity == "warn" for span in opened),
            drift=sum(span.severity == "drift" for span in opened),
            escalated=sum(self.within(span.escalated_ms) for span in mine),
            closed=sum(self.within(span.closed_ms) for span in mine),
            in_alarm_ms=self.in_alarm_ms(mine),
        )

    def _cut(self, span: Span) -> tuple[int, int]:
        closed_ms = self.to_ms if span.closed_ms is None else span.closed_ms
        return max(span.opened_ms, self.from_ms), min(closed_ms, self.to_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What happened in a time. `warn` and `drift` say how the opened episodes began."""

    opened: int
    warn: int
    drift: int
    escalated: int
    closed: int
    in_alarm_ms: int

    def to_json(self) -> Json:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The episodes of a candidate beside the real ones."""

    both: tuple[tuple[Span, Span], ...]
    """Real episodes that overlap some of the candidate's, each with the first of these."""
    only_real: tuple[Span, ...]
    only_candidate: tuple[Span, ...]

    @property
    def later_ms(self) -> tuple[int, ...]:
        """By how much the candidate was later than the real alarm of each of both; negative is earlier."""
        return tuple(candidate.opened_ms - real.opened_ms for real, candidate in self.both)

    @property
    def median_later_ms(self) -> float | None:
        return median(self.later_ms) if self.both else None


def timeline(decisions: Iterable[Decision], from_ms: int, to_ms: int) -> Timeline:
    """Read the decisions of one model, in the order in which they were made; others than drift's are passed
    over."""
    opened: dict[Key, Span] = {}
    retrain = []
    for decision in decisions:
        match decision.kind:
            case DecisionKind.DRIFT:
                opened[decision.key] = _opening(decision)
            case DecisionKind.ESCALATION if decision.cause in opened:
                opened[decision.cause] = replace(opened[decision.cause], escalated_ms=decision.at_ms)
            case DecisionKind.RECOVERY if decision.cause in opened:
                opened[decision.cause] = replace(opened[decision.cause], closed_ms=decision.at_ms)
            case DecisionKind.RETRAIN:
                retrain.append(decision.at_ms)
            case _:
                pass
    concerned = [
        span
        for span in opened.values()
        if span.opened_ms < to_ms and (span.closed_ms is None or span.closed_ms > from_ms)
    ]
    return Timeline(
        from_ms=from_ms,
        to_ms=to_ms,
        spans=tuple(sorted(concerned, key=lambda span: (span.opened_ms, span.stream))),
        retrain_ms=tuple(at_ms for at_ms in retrain if from_ms <= at_ms < to_ms),
    )


def compared(real: Sequence[Span], candidate: Sequence[Span]) -> Comparison:
    """Match episodes by overlap within their streams."""
    both, only_real = [], []
    for span in real:
        same = [other for other in candidate if _overlap(span, other)]
        if same:
            both.append((span, min(same, key=lambda other: other.opened_ms)))
        else:
            only_real.append(span)
    return Comparison(
        both=tuple(both),
        only_real=tuple(only_real),
        only_candidate=tuple(other for other in candidate if not any(_overlap(span, other) for span in real)),
    )


def _overlap(one: Span, other: Span) -> bool:
    """An episode lasts at least a moment: both ends count."""
    return (
        one.stream == other.stream
        and (one.closed_ms is None or other.opened_ms <= one.closed_ms)
        and (other.closed_ms is None or one.opened_ms <= other.closed_ms)
    )


def _opening(decision: Decision) -> Span:
    evidence = decision.evidence
    return Span(
        version=evidence["version"],
        drift_type=evidence["drift_type"],
        estimate=decision.subject.endswith(f"/{ESTIMATE}"),
        opened_ms=decision.at_ms,
        escalated_ms=None,
        closed_ms=None,
        severity=evidence["severity"],
        detector=evidence["detector"],
        features=tuple(evidence.get("features", ())),
    )
