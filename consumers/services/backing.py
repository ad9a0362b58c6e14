"""Automation obeys decisions, not messages: an event counts only as what its decision says, whole."""

from typing import Any

import orjson

from consumers.services.decisions import event_of
from consumers.store.repositories.decisions import Decision as StoredDecision
from consumers.store.repositories.decisions import DecisionRepository
from consumers.store.session import ReadSession
from domain.errors import DomainError
from domain.judgement.decision import Decision, DecisionKind
from schemas.events import DriftDetected, LifecycleEvent, ModelPromoted, RetrainingTrigger, RetrainRequested

_MAX_SHOWN = 80


class ForgedEvent(DomainError):
    """The event names a decision that does not exist or says something else; it is not obeyed."""

    def __init__(self, event_id: str, problem: str) -> None:
        super().__init__(f"event {event_id} is not backed by its decision: {problem}")
        self.event_id, self.problem = event_id, problem


async def check_backing(session: ReadSession, event: LifecycleEvent) -> None:
    """Builds the event of the decision that `event` names, and compares every field. Raises ForgedEvent.

    A retraining request that no decision asked for (a person's, a schedule's) needs none.
    """
    if not isinstance(event, DriftDetected | RetrainRequested | ModelPromoted):
        return
    if event.decision_id is None:
        if event.trigger is RetrainingTrigger.DRIFT_DETECTED:
            raise ForgedEvent(event.event_id, "it names no decision")
        return
    stored = await DecisionRepository(session).get(event.decision_id)
    if stored is None:
        raise ForgedEvent(event.event_id, f"there is no decision {event.decision_id}")
    expected = _event_of(event, stored)
    said, decided = event.model_dump(), expected.model_dump()
    if isinstance(event, RetrainRequested):
        # A decision's bytes hold all episodes that are open, and not which of them is named in the event.
        await _check_drift(session, event, domain_decision(stored))
        decided["drift_id"] = said["drift_id"]
    for name, value in decided.items():
        if said[name] != value:
            raise ForgedEvent(event.event_id, f"{name} is {_shown(said[name])}, {_shown(value)} was decided")


def domain_decision(stored: StoredDecision) -> Decision:
    """The decision as it was made, from its canonical bytes. Raises KeyError, ValueError if these are not."""
    body = orjson.loads(stored.body)
    return Decision(**{**body, "kind": DecisionKind(body["kind"])})


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
