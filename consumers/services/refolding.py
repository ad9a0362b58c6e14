"""Reading the log again, without writing anything: what replay, verify and reconcile have in common."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from consumers.log.decode import Limits, decode_outcomes, decode_predictions
from consumers.log.port import EventLog
from domain.errors import DomainError
from domain.windows.fold import PartitionFold
from domain.windows.policy import WindowPolicy
from domain.windows.progress import Progress
from schemas.topics import Topics

AfterBatch = Callable[[PartitionFold], Awaitable[None]]
_BATCH = 5_000


class LogIncomplete(DomainError):
    """The log no longer holds what a recomputation from its beginning needs."""

    def __init__(self, topic: str, partition: int, begins: int) -> None:
        super().__init__(
            f"{topic} partition {partition} begins at offset {begins}: earlier records were deleted by "
            "retention, so decisions cannot be recomputed from the beginning"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Refolded:
    """A fold, and the offsets up to which it has read."""

    fold: PartitionFold
    predictions_offset: int
    outcomes_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refolding:
    """Folds partitions of the hot topics from any progress to the end of the log."""

    log: EventLog
    topics: Topics
    policy: WindowPolicy
    limits: Limits

    async def fold(self, progress: Progress, after_batch: AfterBatch | None = None) -> Refolded:
        """The fold of one partition at the log's end. Raises LogIncomplete."""
        partition = progress.partition
        predictions, outcomes = progress.predictions_offset, progress.outcomes_offset
        for topic, offset in ((self.topics.predictions, predictions), (self.topics.outcomes, outcomes)):
            begins = await self.log.begin(topic, partition)
            if begins > offset:
                raise LogIncomplete(topic, partition, begins)
        fold = PartitionFold(self.policy, progress)
        newest = [progress.predictions_newest_ms, progress.outcomes_newest_ms]
        done = [False, False]
        while not all(done):
            # the side that is behind in event time first: windows close as they did live
            side = 0 if (newest[0] <= newest[1] and not done[0]) or done[1] else 1
            topic = self.topics.outcomes if side else self.topics.predictions
            records = await self.log.read(topic, partition, outcomes if side else predictions, _BATCH)
            if not records:
                done[side] = True
                continue
            offsets = [record.offset for record in records]
            timestamps = [record.timestamp_ms for record in records]
            # a record whose clock lies must not make its side look far ahead
            latest = records[-1].appended_ms + self.limits.future_ms
            newest[side] = max(newest[side], min(max(timestamps), latest))
            if side:
                fold.add_outcomes(offsets, timestamps, decode_outcomes(records, self.limits))
                outcomes = offsets[-1] + 1
            else:
                fold.add_predictions(offsets, timestamps, decode_predictions(records, self.limits))
                predictions = offsets[-1] + 1
            if after_batch is not None:
                await after_batch(fold)
        return Refolded(fold=fold, predictions_offset=predictions, outcomes_offset=outcomes)
