"""Whether a deployment has nothing left to do: what was published is folded, judged, announced and obeyed.

For whoever drives event time while the workers are processes of their own (the demo on Kafka, fault tests).
The questions are asked in the order in which work causes work. If all are answered with yes twice, and
nothing was promised in between, nothing is under way.
"""

from dataclasses import dataclass

from consumers.log.port import EventLog
from consumers.services.handlers import CONSUMER
from consumers.services.judging import NEVER_MS, judged_clock
from consumers.store.engine import Store
from consumers.store.repositories.control_plane import ControlPlaneRepository
from consumers.store.repositories.judgements import JudgementRepository
from consumers.store.repositories.outbox import OutboxRepository
from consumers.store.repositories.retraining import RetrainingRepository
from consumers.store.repositories.tallies import TallyRepository
from consumers.store.session import ReadSession
from domain.windows.policy import WindowPolicy
from schemas.events import RetrainingStatus
from schemas.topics import Topics

_OPEN_JOBS = (RetrainingStatus.REQUESTED, RetrainingStatus.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """`await busy_with()` says what is still going on; None when nothing is."""

    store: Store
    log: EventLog
    topics: Topics
    partitions: int
    tally_group: str
    windows: WindowPolicy

    async def busy_with(self) -> str | None:
        """The first thing that is not done, in a few words. Raises StoreUnavailable, LogUnavailable."""
        first, promised = await self._look()
        if first is not None:
            return first
        second, again = await self._look()
        return second or (None if promised == again else "something was promised meanwhile")

    async def _look(self) -> tuple[str | None, int]:
        folding = await self._folding()
        async with self.store.read() as session:
            outbox = OutboxRepository(session)
            promised = await outbox.last_id()
            if folding is not None:
                return folding, promised
            model = await _unjudged(session)
            if model is not None:
                return f"judging {model}", promised
            if await outbox.unsent_count():
                return "sending", promised
            if await ControlPlaneRepository(session).unhandled(self._consumers()):
                return "obeying", promised
            for status in _OPEN_JOBS:
                if await RetrainingRepository(session).list(status=status):
                    return "training", promised
        return None, promised

    async def _folding(self) -> str | None:
        """The tally workers note what they have read, and write how far that brings time."""
        newest_ms: dict[int, list[int]] = {}
        for topic in (self.topics.predictions, self.topics.outcomes):
            for partition in range(self.partitions):
                noted = await self.log.position(self.tally_group, topic, partition)
                end = await self.log.end(topic, partition)
                if (noted or 0) < end:
                    return f"folding {topic}[{partition}]"
                newest_ms.setdefault(partition, []).append(await self._newest_ms(topic, partition, end))
        async with self.store.read() as session:
            progress = {each.partition: each for each in await TallyRepository(session).all_progress()}
        for partition, (predictions_ms, outcomes_ms) in newest_ms.items():
            at = progress.get(partition)
            # a partition without a record has nothing to report
            if max(predictions_ms, outcomes_ms) > 0 and (
                at is None
                or at.inputs_through_ms < predictions_ms - self.windows.slack_ms
                or at.outcomes_through_ms < outcomes_ms - self.windows.slack_ms
            ):
                return f"closing partition {partition}"
        return None

    async def _newest_ms(self, topic: str, partition: int, end: int) -> int:
        """Time of the last record: not always the newest one, and then its progress is no further."""
        if end == await self.log.begin(topic, partition):
            return 0
        return (await self.log.read(topic, partition, end - 1, 1))[0].timestamp_ms

    def _consumers(self) -> dict[str, str]:
        topics = (self.topics.drift_detected, self.topics.retrain_requested, self.topics.model_promoted)
        return {topic: f"{CONSUMER}/{topic.removeprefix(self.topics.prefix)}" for topic in topics}


async def _unjudged(session: ReadSession) -> str | None:
    """A model that has rows due and not judged."""
    tallies = TallyRepository(session)
    through_ms = await judged_clock(session)
    if through_ms is None:
        return None
    judged = {each.model: each.judged_through_ms for each in await JudgementRepository(session).all()}
    for model in await tallies.models_with_rows(NEVER_MS):
        if await tallies.rows_due(model, judged.get(model, NEVER_MS), through_ms, at_least=1):
            return model
    return None
