"""Automation obeys decisions, not messages: an event counts only as what its decision says, whole."""

from collections.abc import Mapping
from typing import Any

import orjson

from consumers.services.decisions import event_of
from consumers.services.schedules import scheduled_event
from consumers.store.repositories.decisions import Decision as StoredDecision
from consumers.store.repositories.decisions import DecisionRepository
from consumers.store.repositories.schedules import ScheduleRepository
from consumers.store.session import ReadSession
from domain.errors import DomainError
from domain.judgement.decision import Decision, DecisionKind
from schemas.clock import to_ms
from schemas.events import DriftDetected, LifecycleEvent, ModelPromoted, RetrainingTrigger, RetrainRequested

_MAX_SHOWN = 80


class ForgedEvent(DomainError):
    """The event names a decision that does not exist or says something else; it is not obeyed."""

    def __init__(self, event_id: str, problem: str) -> None:
        super().__init__(f"event {event_id} is not backed by its decision: {problem}")
        self.event_id, self.problem = event_id, problem


async def check_backing(session: ReadSession, event: LifecycleEvent) -> None:
    """Builds the event of the decision that `event` names, and compares every field. Raises ForgedEvent.

    A retraining request without a decision is either a person's, who needs none, or that of a schedule: then
    it has to be the one that the model's schedule made.
    """
    if not isinstance(event, DriftDetected | RetrainRequested | ModelPromoted):
        return
    if event.decision_id is None:
        if event.trigger is RetrainingTrigger.DRIFT_DETECTED:
            raise ForgedEvent(event.event_id, "it names no decision")
        if event.trigger is RetrainingTrigger.SCHEDULED:
            _compare(event, await _scheduled(session, event), "was scheduled")
        return
    stored = await DecisionRepository(session).get(event.decision_id)
    if stored is None:
        raise ForgedEvent(event.event_id, f"there is no decision {event.decision_id}")
    decided = _event_of(event, stored).model_dump()
    if isinstance(event, RetrainRequested):
        # A decision's bytes hold all episodes that are open, and not which of them is named in the event.
        await _check_drift(session, event, domain_decision(stored))
        decided["drift_id"] = event.drift_id
    _compare(event, decided, "was decided")


def domain_decision(stored: StoredDecision) -> Decision:
    """The decision as it was made, from its canonical bytes. Raises KeyError, ValueError if these are not."""
    body = orjson.loads(stored.body)
    cause = body["evidence"].get("cause")
    return Decision(
        **{**body, "kind": DecisionKind(body["kind"]), "cause": None if cause is None else tuple(cause)}
    )


def _compare(event: LifecycleEvent, expected: Mapping[str, Any], was: str) -> None:
    said = event.model_dump()
    for name, value in expected.items():
        if said[name] != value:
            raise ForgedEvent(event.event_id, f"{name} is {_shown(said[name])}, {_shown(value)} {was}")


async def _scheduled(session: ReadSession, event: RetrainRequested) -> dict[str, Any]:
    due_ms = to_ms(event.occurred_at)
    request = await ScheduleRepository(session).request(event.model, due_ms)
    if request is None:
        raise ForgedEvent(event.event_id, f"no schedule of {event.model} asked for it")
    return scheduled_event(request).model_dump()


def _event_of(event: LifecycleEvent, stored: StoredDecision) -> LifecycleEvent:
    try:
        expected = event_of(domain_decision(stored))
    except (KeyError, TypeError, ValueError) as error:
        raise ForgedEvent(event.event_id, f"decision {stored.decision_id} cannot be read: {error}") from error
    if type(expected) is not type(event):
        kind = f"{stored.kind} decision {stored.decision_id}"
        raise ForgedEvent(event.event_id, f"the {kind} asks for no {type(event).__name__}")
    return expected


async def _check_drift(session: ReadSession, event: RetrainRequested, decision: Decision) -> None:
    if event.drift_id is None:
        return
    drift = await DecisionRepository(session).get(event.drift_id)
    key = "|".join(domain_decision(drift).key) if drift else None
    if key not in decision.evidence.get("episodes", ()):
        raise ForgedEvent(event.event_id, f"drift {event.drift_id} is not among its episodes")


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= _MAX_SHOWN else shown[: _MAX_SHOWN - 3] + "..."
