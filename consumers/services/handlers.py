"""What the registry does about each event. One call is one SQL transaction: inbox, effects, outbox.

Delivery is at least once; the inbox makes the effect once. Which engine delivers the record is unknown here.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from consumers.log.port import LogRecord
from consumers.services.context import ServiceContext
from consumers.services.dead_letters import dead_letter
from consumers.services.experiments import PROMOTE, ExperimentManager
from consumers.services.identity import dead_letter_id
from consumers.services.registry import Registry
from consumers.services.retraining import RetrainingPipeline
from consumers.store.repositories.decisions import Decision, DecisionRepository
from consumers.store.repositories.episodes import Episode, EpisodeRepository
from consumers.store.repositories.inbox import InboxRepository
from consumers.store.repositories.models import ModelRepository
from consumers.store.session import WriteSession
from domain.errors import DomainError
from schemas.clock import to_ms
from schemas.codec import decode
from schemas.errors import InvalidRecord
from schemas.events import (
    DriftDetected,
    LifecycleEvent,
    ModelPromoted,
    ModelStage,
    RetrainingTrigger,
    RetrainRequested,
)

CONSUMER = "registry"
FORGED, INVALID, DUPLICATE = "forged", "invalid", "duplicate"
_ACTOR = "registry"


class ForgedEvent(DomainError):
    """The event names a decision that does not exist or says something else; it is not obeyed."""

    def __init__(self, event_id: str, problem: str) -> None:
        super().__init__(f"event {event_id} is not backed by its decision: {problem}")
        self.event_id, self.problem = event_id, problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    context: ServiceContext
    registry: Registry
    experiments: ExperimentManager
    retraining: RetrainingPipeline

    async def handle(self, session: WriteSession, record: LogRecord) -> str:
        """Acts on one record; returns in a few words what came of it. `forged`, `invalid`: dead-lettered."""
        try:
            event = _event(record)
            await self._check_decision(session, event)
        except InvalidRecord as error:
            return await self._refuse(session, record, INVALID, error.reason)
        except ForgedEvent as error:
            return await self._refuse(session, record, FORGED, str(error))
        inbox = InboxRepository(session)
        if not await inbox.first_time(CONSUMER, event.event_id, self.context.now()):
            return DUPLICATE
        result = await self._act(session, event)
        await inbox.set_result(CONSUMER, event.event_id, result)
        return result

    async def _act(self, session: WriteSession, event: LifecycleEvent) -> str:
        match event:
            case DriftDetected():
                return await self.on_drift_detected(session, event)
            case RetrainRequested():
                return await self.on_retrain_requested(session, event)
            case ModelPromoted():
                return await self.on_model_promoted(session, event)
            case _:
                return "ignored"

    async def on_drift_detected(self, session: WriteSession, event: DriftDetected) -> str:
        """Opens the episode, if the judge's transaction has not done so already."""
        opened = await EpisodeRepository(session).open(
            Episode(
                episode_id=event.drift_id,
                model=event.model,
                version=event.version,
                drift_type=event.drift_type,
                severity=event.severity,
                opened_at_ms=to_ms(event.occurred_at),
                opened_by=event.decision_id,
            )
        )
        return "episode opened" if opened else "episode known"

    async def on_retrain_requested(self, session: WriteSession, event: RetrainRequested) -> str:
        """Opens a job, or records why none is opened."""
        job = await self.retraining.open(session, event)
        detail = (job.result or {}).get("detail")
        return f"job {job.job_id} {job.status.value}" + (f": {detail}" if detail else "")

    async def on_model_promoted(self, session: WriteSession, event: ModelPromoted) -> str:
        """Promotes by compare-and-set and ends the experiment; a stale or frozen verdict is only recorded."""
        models = ModelRepository(session)
        model = await models.get_model(event.model, for_update=True)
        production = await models.production(event.model)
        version = await models.get_version(event.model, event.version)
        found = production.version if production else None
        at_ms = to_ms(event.occurred_at)
        obstacle = None
        if model is None or version is None:
            obstacle = f"unknown: the registry has no version {event.version} of {event.model}"
        elif found != event.expected_production:
            obstacle = f"stale: PRODUCTION was expected to be {event.expected_production}, and is {found}"
        elif version.stage is not ModelStage.STAGING:
            obstacle = f"stale: version {event.version} is in {version.stage.value}"
        elif model.frozen:
            obstacle = f"frozen: a person has to promote version {event.version}"
        if obstacle is not None:
            if event.experiment is not None:
                await self.experiments.cancel(
                    session, event.experiment, at_ms=at_ms, decision_id=event.decision_id
                )
            return obstacle
        if event.experiment is not None:
            await self.experiments.conclude(
                session,
                event.experiment,
                verdict=PROMOTE,
                decision_id=event.decision_id,
                at_ms=at_ms,
                winner=event.version,
            )
        epoch = await self.registry.promote(
            session,
            event.model,
            event.version,
            expected_production=event.expected_production,
            actor=_ACTOR,
            reason=f"experiment {event.experiment}: {PROMOTE}",
            at_ms=at_ms,
            decision_id=event.decision_id,
        )
        return f"promoted version {event.version}, epoch {epoch}"

    async def _check_decision(self, session: WriteSession, event: LifecycleEvent) -> None:
        """Automation obeys decisions, not messages. Raises ForgedEvent."""
        named = getattr(event, "decision_id", None)
        if named is None:
            # A person's or a schedule's request; the contract allows that for retraining only.
            if getattr(event, "trigger", None) is RetrainingTrigger.DRIFT_DETECTED:
                raise ForgedEvent(event.event_id, "it names no decision")
            return
        decision = await DecisionRepository(session).get(named)
        if decision is None:
            raise ForgedEvent(event.event_id, f"there is no decision {named}")
        if decision.model != event.model:
            raise ForgedEvent(event.event_id, f"decision {named} is about model {decision.model}")
        said = _said(decision)
        wanted = _expected(event)
        for name, value in wanted.items():
            if said.get(name) != value:
                raise ForgedEvent(event.event_id, f"{name} is {value!r}, and {said.get(name)!r} was decided")

    async def _refuse(self, session: WriteSession, record: LogRecord, result: str, reason: str) -> str:
        # Remembered under the record, not under the id it claims: a forgery must not shut out the real event.
        place = dead_letter_id(record.topic, record.partition, record.offset)
        inbox = InboxRepository(session)
        if not await inbox.first_time(CONSUMER, place, self.context.now()):
            return DUPLICATE
        await dead_letter(session, self.context.topics.dead_letter, record, reason, self.context.now())
        await inbox.set_result(CONSUMER, place, result)
        return result


def _event(record: LogRecord) -> LifecycleEvent:
    event = decode(record.topic, record.value or b"")
    if not isinstance(event, LifecycleEvent):
        raise InvalidRecord(f"{type(event).__name__} is not an event of the control plane")
    return event


def _said(decision: Decision) -> dict[str, Any]:
    """What the decision says, under the names that `_expected` uses."""
    evidence: dict[str, Any] = orjson.loads(decision.body)["evidence"]
    return {
        "kind": decision.kind,
        "subject": decision.subject,
        "digest": decision.digest,
        "at_ms": decision.at_ms,
        **{
            name: evidence.get(name)
            for name in ("verdict", "version", "champion_version", "drift_type", "severity")
        },
    }


def _expected(event: LifecycleEvent) -> dict[str, Any]:
    """What the event's decision must say."""
    match event:
        case ModelPromoted():
            return {
                "kind": "verdict",
                "verdict": PROMOTE,
                "version": event.version,
                "champion_version": event.expected_production,
                "subject": event.experiment,
                "digest": event.evidence_digest,
            }
        case DriftDetected():
            return {
                "kind": "drift",
                "version": event.version,
                "drift_type": event.drift_type.value,
                "severity": event.severity,
            }
        case RetrainRequested():
            return {"kind": "retrain", "version": event.version, "at_ms": to_ms(event.as_of)}
        case _:
            return {}
