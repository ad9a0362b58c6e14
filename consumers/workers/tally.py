"""The tally worker: folds the two hot topics, partition by partition, into window rows.

The fold is pure (`domain.windows`); this shell reads, decodes, dead-letters and commits. One SQL transaction
writes the rows of the windows that closed and moves the partition's low water. If anything fails the fold is
thrown away and built again from the low water, so a failure can repeat work but never lose or double it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from consumers.log.columns import columns_of
from consumers.log.decode import Limits, decode_outcomes
from consumers.log.numbers import NumbersDecoder
from consumers.log.port import EventLog, LogRecord, OffsetOutOfRange, PartitionFeed
from consumers.logger import get_logger
from consumers.metrics import Fates
from consumers.services.dead_letters import dead_letter
from consumers.services.heartbeats import Heartbeats
from consumers.services.invalid import InvalidRecords
from consumers.services.pinning import facts_of
from consumers.services.profiles import profile_of
from consumers.services.standing import StandingPartitions
from consumers.store.engine import Store
from consumers.store.repositories.deployment import DeploymentRepository
from consumers.store.repositories.profiles import ProfileRepository
from consumers.store.repositories.tallies import TallyRepository
from domain.errors import DomainError
from domain.windows.fold import PartitionFold
from domain.windows.policy import WindowPolicy
from domain.windows.profile import ReferenceProfile
from domain.windows.progress import Progress
from domain.windows.records import Invalid
from schemas.clock import from_ms
from schemas.errors import UnknownTopic, UnreadableBatch
from schemas.topics import Topics

_log = get_logger("tally")
_ARRIVAL_S = 1.0
_PIECE = 500
"""Records decoded and folded at a time: they are in the processor's cache still when they are folded, and
their memory is when the next ones are decoded. A tenth less CPU than with a whole batch."""


class PartitionsDiffer(DomainError):
    """Predictions and outcomes must have the same number of partitions."""

    def __init__(self, predictions: int, outcomes: int) -> None:
        super().__init__(
            f"predictions has {predictions} partitions, outcomes has {outcomes}: "
            "create both topics with the same number, so that a prediction meets its outcome"
        )


class PartitionsGrew(DomainError):
    """The topics have more partitions than the deployment: keys moved, predictions miss their outcomes."""

    def __init__(self, partitions: int, found: int) -> None:
        super().__init__(
            f"the topics have {found + 1} partitions or more, this deployment was set up with {partitions}: "
            "partitions cannot be added to topics in use, set up a new deployment (topic_prefix, database)"
        )


class RecordsGone(DomainError):
    """The log no longer holds what the open windows need: rows made without it would be wrong."""

    def __init__(self, error: OffsetOutOfRange) -> None:
        super().__init__(
            f"{error}: records were deleted before they were folded, or the topic was made anew; restore it, "
            "or set up a new deployment (topic_prefix, database) from what is left"
        )


class TooManyInvalid(DomainError):
    """Every record is invalid: that is a fault of the writer or of ours, not of the data."""

    def __init__(self, partition: int, count: int, reason: str) -> None:
        super().__init__(
            f"partition {partition}: {count} invalid records in a row, the last one because {reason}; "
            "the worker stops rather than dead-letter a whole topic (setting dead_letter_limit)"
        )


@dataclass(slots=True)
class TallyCounts:
    """What one worker has done since it started."""

    records: int = 0
    invalid: int = 0
    rows: int = 0
    closings: int = 0
    divergences: int = 0
    fates: Fates = field(default_factory=Fates)


@dataclass(slots=True)
class _Reading:
    """One partition as this worker sees it. Thrown away and rebuilt after any failure."""

    fold: PartitionFold
    predictions_offset: int
    outcomes_offset: int
    predictions_newest_ms: int
    outcomes_newest_ms: int
    inputs_through_ms: int
    outcomes_through_ms: int
    """The rectangle that was written last."""
    passes_at_rest: int = 0
    invalid_in_a_row: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    """Of predictions (True) and of outcomes: a sound topic must not hide a rotten one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TallySettings:
    """How a worker reads; none of it can change a row."""

    batch_records: int = 5_000
    dead_letter_limit: int = 10_000
    heartbeats: bool = False
    heartbeat_idle_ms: int = 5_000
    rest_passes: int = 1
    """A partition is at rest after so many passes that found nothing: its progress is written then, though
    nothing closes. The judge waits for the slowest partition; records that trickle in must not cost a
    transaction each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionState:
    """One partition as its worker sees it, for metrics. Ends are None until the log has said them."""

    partition: int
    predictions_offset: int
    outcomes_offset: int
    predictions_end: int | None
    outcomes_end: int | None
    predictions_newest_ms: int
    outcomes_newest_ms: int
    inputs_through_ms: int
    outcomes_through_ms: int
    open_windows: int
    open_records: int


@dataclass(slots=True, kw_only=True)
class TallyWorker:
    """`await open()`, then `await step()` as often as you like; a step that returns 0 found nothing to do."""

    log: EventLog
    """For heartbeats, and for what the topics are."""
    feed: PartitionFeed
    store: Store
    topics: Topics
    policy: WindowPolicy
    limits: Limits
    now_ms: Callable[[], int]
    settings: TallySettings = TallySettings()
    counts: TallyCounts = field(default_factory=TallyCounts)
    _partitions: int = 0
    _readings: dict[int, _Reading] = field(default_factory=dict)
    _standing: StandingPartitions = field(default_factory=StandingPartitions)
    _invalid: InvalidRecords = field(default_factory=InvalidRecords)
    _decoder: NumbersDecoder = field(default_factory=NumbersDecoder)
    _profiles: dict[tuple[str, str], ReferenceProfile] = field(default_factory=dict)
    _beats: Heartbeats = field(init=False)

    def __post_init__(self) -> None:
        self._beats = Heartbeats(log=self.log, now_ms=self.now_ms)

    async def open(self) -> None:
        """Check the topics and the deployment's window policy.

        Raises PartitionsDiffer, DeploymentMismatch or UnknownTopic, whose message says what is wrong.
        """
        topics = await self.log.topics()
        for name in (self.topics.predictions, self.topics.outcomes):
            if name not in topics:
                raise UnknownTopic(name)
        predictions = topics[self.topics.predictions].partitions
        outcomes = topics[self.topics.outcomes].partitions
        if predictions != outcomes:
            raise PartitionsDiffer(predictions, outcomes)
        async with self.store.write() as session:
            deployment = DeploymentRepository(session)
            for name, value in facts_of(self.policy, self.limits, predictions).items():
                await deployment.put_once(name, value)
        self._partitions = predictions

    async def step(self) -> int:
        """Read one batch of each partition, commit what closed. Returns the number of records folded.

        Raises RecordsGone, PartitionsGrew, TooManyInvalid, LogStuck (start another process), and passes
        LogUnavailable and StoreUnavailable on. A partition that cannot be read stands still (`unreadable`).
        """
        folded, wanted = await self._pass()
        if not folded and wanted:
            await self.feed.arrival(wanted, _ARRIVAL_S)
            folded, _ = await self._pass()
        return folded

    async def close(self) -> None:
        """Give the partitions back. What is open is in the log: the next holder folds it again."""
        self._readings.clear()
        await self.feed.close()

    def partitions_state(self) -> list[PartitionState]:
        """The partitions that are held, by number."""
        return [self._state(partition, self._readings[partition]) for partition in sorted(self._readings)]

    def unreadable(self) -> list[UnreadableBatch]:
        """What the partitions that stand still wait for, by partition."""
        return self._standing.errors()

    def troubles(self) -> list[str]:
        """What keeps the worker from a part of its work, in words."""
        return [*map(str, self.unreadable()), *([self._beats.ahead] if self._beats.ahead else [])]

    async def _pass(self) -> tuple[int, list[tuple[str, int]]]:
        """One batch of each partition held: records folded, and each (topic, partition) to wait for."""
        held = (await self.feed.assignment()).partitions
        if held and held[-1] >= self._partitions:
            raise PartitionsGrew(self._partitions, held[-1])
        # what is kept over a change of hands stays valid: a window is a function of the log
        for lost in self._readings.keys() - set(held):
            del self._readings[lost]
        folded, wanted = 0, []
        for partition in self._standing.due(held, self.now_ms()):
            try:
                records, topic = await self._step_partition(partition)
            except UnreadableBatch as error:  # of a read: the fold was not touched, it is what it was
                self._standing.stand(partition, error, self.now_ms())
                continue
            except BaseException as error:
                # What the fold has emitted may not be committed: start again from the low water.
                self._readings.pop(partition, None)
                if isinstance(error, OffsetOutOfRange):
                    raise RecordsGone(error) from error
                raise
            folded += records
            if topic is not None:
                wanted.append((topic, partition))
        return folded, wanted

    async def _step_partition(self, partition: int) -> tuple[int, str | None]:
        """Records folded, and the topic whose next records have to come first, if they are on their way."""
        reading = self._readings.get(partition) or await self._open_partition(partition)
        # The side that is behind in event time first, so that neither runs away from the other in memory.
        predictions_first = reading.predictions_newest_ms <= reading.outcomes_newest_ms
        for predictions in (predictions_first, not predictions_first):
            topic = self.topics.predictions if predictions else self.topics.outcomes
            offset = reading.predictions_offset if predictions else reading.outcomes_offset
            records = await self.feed.read(topic, partition, offset, self.settings.batch_records)
            if records:
                self._standing.goes_on(partition, topic, records[-1].offset)
                reading.passes_at_rest = 0
                await self._fold(partition, reading, records, predictions)
                return len(records), None
            end = self.feed.end(topic, partition)
            if end is None or end > offset:
                return 0, topic
            self._standing.goes_on(partition, topic, offset)
            # one side alone too: the other could not close a window, and would fill the memory instead
            if self.settings.heartbeats:
                await self._beats.beat(topic, partition, self.settings.heartbeat_idle_ms)
        await self._rest(reading)
        await self._note_offsets(partition, reading)
        return 0, None

    async def _rest(self, reading: _Reading) -> None:
        """Nothing is left to read: say how far time has come, even if nothing closed since the last time."""
        reading.passes_at_rest += 1
        written = (reading.inputs_through_ms, reading.outcomes_through_ms)
        if reading.passes_at_rest >= self.settings.rest_passes and reading.fold.through_ms() != written:
            await self._commit(reading, (), at_rest=True)

    async def _open_partition(self, partition: int) -> _Reading:
        async with self.store.read() as session:
            progress = await TallyRepository(session).progress(partition)
        start = progress or Progress.start(partition)
        reading = _Reading(
            fold=PartitionFold(self.policy, start),
            predictions_offset=start.predictions_offset,
            outcomes_offset=start.outcomes_offset,
            predictions_newest_ms=start.predictions_newest_ms,
            outcomes_newest_ms=start.outcomes_newest_ms,
            inputs_through_ms=start.inputs_through_ms,
            outcomes_through_ms=start.outcomes_through_ms,
        )
        self._readings[partition] = reading
        # who had it before, or what happened while the store was away, says nothing about idleness
        for topic in (self.topics.predictions, self.topics.outcomes):
            self._beats.moved(topic, partition)
        return reading

    async def _fold(
        self, partition: int, reading: _Reading, records: Sequence[LogRecord], predictions: bool
    ) -> None:
        bad: list[tuple[LogRecord, Invalid]] = []
        for start in range(0, len(records), _PIECE):
            bad += self._add(reading, records[start : start + _PIECE], predictions)
        self.counts.records += len(records)
        self._beats.moved(records[0].topic, partition)
        self._watch_invalid(partition, reading, predictions, len(records), bad)
        await self._commit(reading, bad)
        self._invalid.met(bad, self.now_ms())
        await self._note_offsets(partition, reading)

    def _add(
        self, reading: _Reading, records: Sequence[LogRecord], predictions: bool
    ) -> list[tuple[LogRecord, Invalid]]:
        """Decode and fold; the records that are invalid."""
        offsets, timestamps, _, appended = columns_of(records)
        # a record whose clock lies must not make its side look far ahead for ever
        newest = min(max(timestamps), appended[-1] + self.limits.future_ms)
        if predictions:
            decoded = self._decoder.decode(records, self.limits)
            reading.fold.add_predictions(offsets, timestamps, decoded)
            reading.predictions_offset = offsets[-1] + 1
            reading.predictions_newest_ms = max(reading.predictions_newest_ms, newest)
            return [(records[at], d) for at, d in enumerate(decoded) if type(d) is Invalid]
        decoded_outcomes = decode_outcomes(records, self.limits)
        reading.fold.add_outcomes(offsets, timestamps, decoded_outcomes)
        reading.outcomes_offset = offsets[-1] + 1
        reading.outcomes_newest_ms = max(reading.outcomes_newest_ms, newest)
        return [(records[at], d) for at, d in enumerate(decoded_outcomes) if type(d) is Invalid]

    async def _note_offsets(self, partition: int, reading: _Reading) -> None:
        """For lag tools: what was folded, and committed if it closed anything. Nothing reads it back."""
        await self.feed.commit(self.topics.predictions, partition, reading.predictions_offset)
        await self.feed.commit(self.topics.outcomes, partition, reading.outcomes_offset)

    def _watch_invalid(
        self,
        partition: int,
        reading: _Reading,
        predictions: bool,
        read: int,
        bad: Sequence[tuple[LogRecord, Invalid]],
    ) -> None:
        self.counts.invalid += len(bad)
        in_a_row = reading.invalid_in_a_row[predictions] + len(bad) if len(bad) == read else 0
        reading.invalid_in_a_row[predictions] = in_a_row
        if in_a_row > self.settings.dead_letter_limit:
            raise TooManyInvalid(partition, in_a_row, bad[-1][1].reason)

    async def _commit(
        self, reading: _Reading, bad: Sequence[tuple[LogRecord, Invalid]], *, at_rest: bool = False
    ) -> None:
        closes = at_rest or reading.fold.closable()
        if not bad and not closes:
            return
        now = from_ms(self.now_ms())
        async with self.store.write() as session:
            for record, invalid in bad:
                await dead_letter(session, self.topics.dead_letter, record, invalid.reason, now)
            if not closes:
                return
            # Profiles are read inside the transaction that writes the rows: a profile registered meanwhile
            # takes effect only for windows later than any that is closed, so both orders give the same rows.
            wanted = reading.fold.closing_versions() - self._profiles.keys()
            if wanted:
                found = await ProfileRepository(session).for_closing(wanted)
                self._profiles.update({key: profile_of(stored) for key, stored in found.items()})
            closed = reading.fold.close(self._profiles)
            divergences = await TallyRepository(session).insert_closed(
                closed.rows, closed.arrivals, closed.progress, now=now
            )
        reading.inputs_through_ms = closed.progress.inputs_through_ms
        reading.outcomes_through_ms = closed.progress.outcomes_through_ms
        self.counts.closings += bool(closed.rows or closed.arrivals)
        self.counts.rows += len(closed.rows)
        self.counts.divergences += len(divergences)
        for arrival in closed.arrivals:
            self.counts.fates.add(arrival.side, arrival.body)
        for divergence in divergences:
            _log.error(
                "tally.divergence",
                message="a row differs from the one in the store",
                row=divergence.row_key,
                stored=divergence.stored_digest,
                offered=divergence.offered_digest,
            )

    def _state(self, partition: int, reading: _Reading) -> PartitionState:
        opened = reading.fold.open_state()
        return PartitionState(
            partition=partition,
            predictions_offset=reading.predictions_offset,
            outcomes_offset=reading.outcomes_offset,
            predictions_end=self.feed.end(self.topics.predictions, partition),
            outcomes_end=self.feed.end(self.topics.outcomes, partition),
            predictions_newest_ms=reading.predictions_newest_ms,
            outcomes_newest_ms=reading.outcomes_newest_ms,
            inputs_through_ms=reading.inputs_through_ms,
            outcomes_through_ms=reading.outcomes_through_ms,
            open_windows=opened.open_windows + opened.closed_windows,
            open_records=opened.open_predictions + opened.outcomes,
        )
