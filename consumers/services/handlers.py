"""What the registry does about each event. One call is one SQL transaction: inbox, effects, outbox.

Delivery is at least once; the inbox makes the effect once. Which engine delivers the record is unknown here.
"""

from dataclasses import dataclass

from consumers.log.port import LogRecord
from consumers.services.backing import ForgedEvent, check_backing
from consumers.services.calibrations import failed
from consumers.services.context import ServiceContext
from consumers.services.dead_letters import dead_letter
from consumers.services.experiment_moves import standing_of, waits
from consumers.services.experiments import PROMOTE, ROLL_BACK, ExperimentManager
from consumers.services.identity import dead_letter_id
from consumers.services.registry import Registry
from consumers.services.retraining import RetrainingPipeline
from consumers.store.errors import Refused
from consumers.store.repositories.episodes import Episode, EpisodeRepository
from consumers.store.repositories.experiments import ExperimentRepository
from consumers.store.repositories.inbox import InboxRepository
from consumers.store.repositories.models import ModelRepository
from consumers.store.session import WriteSession
from domain.errors import DomainError
from domain.experiments.plan import ExperimentPlan
from domain.experiments.status import ExperimentStatus as Standing
from schemas.clock import to_ms
from schemas.codec import decode
from schemas.errors import InvalidRecord
from schemas.events import (
    DriftDetected,
    ExperimentStatus,
    LifecycleEvent,
    ModelPromoted,
    ModelStage,
    RetrainRequested,
)

CONSUMER = "registry"
FORGED, INVALID, DUPLICATE, REFUSED = "forged", "invalid", "duplicate", "refused"
MAX_RESULT = 1024
_ACTOR = "registry"


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
            await check_backing(session, event)
        except InvalidRecord as error:
            return await self._refuse(session, record, INVALID, error.reason)
        except ForgedEvent as error:
            return await self._refuse(session, record, FORGED, str(error))
        inbox, consumer = InboxRepository(session), self.consumer(record.topic)
        if not await inbox.first_time(consumer, event.event_id, self.context.now()):
            return DUPLICATE
        try:
            async with session.savepoint():
                result = await self._act(session, event)
        except (DomainError, Refused) as error:
            # An order that the rules forbid is answered, not retried for ever; nothing of it is half done.
            result = f"{REFUSED}: {error}"[:MAX_RESULT]
        await inbox.set_result(consumer, event.event_id, result)
        return result

    def consumer(self, topic: str) -> str:
        """Name in the inbox: one for each topic, so an id used on one shuts out nothing on another."""
        return f"{CONSUMER}/{topic.removeprefix(self.context.topics.prefix)}"

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
        """Promotes by compare-and-set and ends the experiment.

        A stale or frozen verdict is only recorded. One that policy leaves to a person, or whose experiment is
        paused or goes by rules that failed a recorded calibration, waits for `complete`.
        """
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
        elif version.stage is not await self._stage_of_winners(session, event.experiment):
            obstacle = f"stale: version {event.version} is in {version.stage.value}"
        elif model.frozen:
            obstacle = f"frozen: a person has to promote version {event.version}"
        elif not await self._runs(session, event.experiment):
            obstacle = f"stale: experiment {event.experiment} has ended"
        if obstacle is not None:
            if event.experiment is not None:
                await self.experiments.cancel(
                    session, event.experiment, at_ms=at_ms, decision_id=event.decision_id
                )
            return obstacle
        if event.experiment is not None:
            why = await self._waits(session, event, event.experiment)
            if why is not None:
                return f"waits: a person has to complete experiment {event.experiment}{why}"
            epoch = await self.experiments.promote(
                session,
                event.experiment,
                version=event.version,
                expected_production=event.expected_production,
                decision_id=event.decision_id,
                at_ms=at_ms,
                actor=_ACTOR,
                reason=f"experiment {event.experiment}: {PROMOTE}",
            )
        else:
            epoch = await self.registry.promote(
                session,
                event.model,
                event.version,
                expected_production=event.expected_production,
                actor=_ACTOR,
                reason=PROMOTE,
                at_ms=at_ms,
                decision_id=event.decision_id,
            )
        return f"promoted version {event.version}, epoch {epoch}"

    async def _stage_of_winners(self, session: WriteSession, experiment: str | None) -> ModelStage:
        found = None if experiment is None else await ExperimentRepository(session).get(experiment)
        return ModelStage.ARCHIVED if found is not None and found.reverses else ModelStage.STAGING

    async def _waits(self, session: WriteSession, event: ModelPromoted, experiment: str) -> str | None:
        """Why, after a colon, where no person said so; None if it does not wait."""
        found = await ExperimentRepository(session).get(experiment)
        # a hold-back's promotion takes one back
        kind = ROLL_BACK if found is not None and found.reverses else PROMOTE
        if await waits(session, event.model, kind, to_ms(event.occurred_at)):
            return ""
        if found is None:
            return None
        if await standing_of(session, found) is Standing.PAUSED:
            return ""
        if kind == PROMOTE and await failed(session, ExperimentPlan.of_record(found.config)) is not None:
            return ": its plan is not calibrated"
        return None

    async def _runs(self, session: WriteSession, experiment: str | None) -> bool:
        # A cancelled experiment is never promoted, whatever its verdict said before it was cancelled.
        if experiment is None:
            return True
        found = await ExperimentRepository(session).get(experiment)
        return found is not None and found.status is ExperimentStatus.RUNNING

    async def _refuse(self, session: WriteSession, record: LogRecord, result: str, reason: str) -> str:
        # Remembered under the record, not under the id it claims: a forgery must not shut out the real event.
        place = dead_letter_id(record.topic, record.partition, record.offset)
        inbox, consumer = InboxRepository(session), self.consumer(record.topic)
        if not await inbox.first_time(consumer, place, self.context.now()):
            return DUPLICATE
        await dead_letter(session, self.context.topics.dead_letter, record, reason, self.context.now())
        await inbox.set_result(consumer, place, result)
        return result


def _event(record: LogRecord) -> LifecycleEvent:
    event = decode(record.topic, record.value or b"")
    if not isinstance(event, LifecycleEvent):
        raise InvalidRecord(f"{type(event).__name__} is not an event of the control plane")
    undecided = isinstance(event, RetrainRequested) and event.decision_id is None
    if undecided and to_ms(event.occurred_at) != record.timestamp_ms:
        # What an event causes is dated by it. Where no decision vouches for the date, the log has to, which
        # takes no timestamp ahead of its clock or before the epoch.
        raise InvalidRecord("occurred_at is not the timestamp of its record", "occurred_at")
    return event
