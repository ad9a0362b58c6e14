"""One drift, one alarm: the detectors that look for one kind of drift drive one episode of a version.

A stream is a drift type, or a drift type with a name of its own behind a slash. All that reads errors is one
stream, whatever it opens: a drift of the errors is found by several detectors, one after the other.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from domain.drift import episodes
from domain.drift.episodes import EpisodeState, Escalated, Opened, Recovered
from domain.judgement.alarms import Alarm
from domain.judgement.decision import Decision, DecisionKind, Key
from domain.judgement.policy import JudgementPolicy
from domain.judgement.rows import Instant
from domain.judgement.state import Watch
from domain.plain import Json
from domain.windows.profile import ReferenceProfile

DATA_DRIFT = "DATA_DRIFT"
PREDICTION_DRIFT = "PREDICTION_DRIFT"
CONCEPT_DRIFT = "CONCEPT_DRIFT"
PERFORMANCE_DEGRADATION = "PERFORMANCE_DEGRADATION"
ESTIMATE = f"{PERFORMANCE_DEGRADATION}/estimate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a step of one version may look at."""

    model: str
    version: str
    policy: JudgementPolicy
    profile: ReferenceProfile | None
    instant: Instant
    length_ms: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What an episode is called if it opens now, and what its evidence says beside the detector's."""

    stream: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


def drift_type_of(stream: str) -> str:
    """The drift type of a stream's episodes."""
    return stream.partition("/")[0]


def step(
    context: Context,
    watch: Watch,
    stream: str,
    alarms: Sequence[Alarm],
    recent: Sequence[int] = (),
    opening: Opening | None = None,
) -> Iterator[Decision]:
    """Take one window of `stream` with all alarms raised in it, in the order of the detectors.

    `recent` are the starts of the latest windows the detectors saw, with this one. An episode that opens is
    kept under `opening.stream` from then on; without `opening` under `stream`.
    """
    state = watch.episodes.get(stream, EpisodeState())
    heard = [alarm.for_episode for alarm in alarms]
    lead = episodes.leading(state, heard)
    after, change = episodes.step_all(context.policy.episodes, state, heard, context.instant.due_ms)
    if isinstance(change, Opened) and opening is not None:
        watch.episodes.pop(stream, None)
        stream = opening.stream
    watch.episodes[stream] = after
    finding: Json = {}
    first_ms = None
    if lead is not None and change is not None:
        others = [
            alarm
            for at, alarm in enumerate(alarms)
            if at != lead and not episodes.is_echo(state, alarm.evidence_windows)
        ]
        finding = _evidence(alarms[lead], others)
        first_ms = _first_window_ms(alarms[lead], recent)
    match change:
        case Opened():
            held = {"held_alarms": change.held_alarms} if change.held_alarms else {}
            beside = opening.evidence if opening is not None else {}
            evidence = {**finding, **beside, **held}
            made = decision(context, DecisionKind.DRIFT, stream, evidence, None, first_ms)
            watch.openings[stream] = made.key
            yield made
        case Escalated():
            opened = watch.openings[stream]
            yield decision(context, DecisionKind.ESCALATION, stream, finding, opened, first_ms)
        case Recovered():
            opened = watch.openings.pop(stream)
            evidence = {"reason": "quiet long enough", "opened_at_ms": change.opened_at_ms}
            yield decision(context, DecisionKind.RECOVERY, stream, evidence, opened)
        case None:
            pass


def _evidence(leading: Alarm, others: Sequence[Alarm]) -> Json:
    also = [alarm.describe().in_short() for alarm in others]
    return {**leading.describe().to_json(), **({"also": also} if also else {})}


def _first_window_ms(alarm: Alarm, recent: Sequence[int]) -> int | None:
    """Start of the first window of the evidence, as far back as is remembered."""
    return recent[-min(alarm.evidence_windows, len(recent))] if recent else None


def decision(
    context: Context,
    kind: DecisionKind,
    stream: str,
    finding: Mapping[str, Any],
    cause: Key | None,
    first_window_ms: int | None = None,
) -> Decision:
    """A decision about a stream of the version at hand; its windows end with the one that is judged."""
    instant = context.instant
    evidence = {
        **finding,
        "version": context.version,
        "drift_type": drift_type_of(stream),
        "tallies_digest": context.digest,
    }
    if cause is not None:
        evidence["cause"] = list(cause)
    return Decision(
        kind=kind,
        model=context.model,
        subject=f"{context.version}/{stream}",
        at_ms=instant.due_ms,
        window_start_ms=instant.window_start_ms if first_window_ms is None else first_window_ms,
        window_end_ms=instant.window_start_ms + context.length_ms,
        config_hash=context.policy.hash(),
        evidence=evidence,
        cause=cause,
    )
