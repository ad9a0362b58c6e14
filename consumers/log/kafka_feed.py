"""The hot topics through a consumer group: which partitions are ours, and their records in order.

Membership is all that the group is for. Where to read is kept in SQL with the rows, so a position that Kafka
remembers is never used: after every change of hands a partition stands still until it is asked for by offset,
and is sought to that offset. Records fetched for another position, before a rebalance or by a former holder's
commit, therefore never come through. Whoever holds a partition still may go on with what it has folded.

Partition i of both topics goes to one member only with the range assignor, which is not aiokafka's default.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, overload

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import (
    ConsumerStoppedError,
    CorruptRecordException,
    IllegalStateError,
    KafkaError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import ConsumerRecord

from consumers.log.columns import Columns
from consumers.log.kafka_client import connection, out_of_range, start, translated
from consumers.log.port import (
    Assignment,
    EventLog,
    LogRecord,
    LogStuck,
    LogUnavailable,
    TopicMismatch,
    UnreadableBatch,
)
from consumers.log.skips import Ranges, Skips, past, stop
from consumers.logger import get_logger
from consumers.settings import KafkaSettings

_log = get_logger("feed")
_AT_ONCE = 5_000
_LEAVE_WITHIN_S = 2.0
_ASKED_ON_S = 10.0
"""One that nobody has asked for so long is asked for anew: others came first, or the brokers were away."""


class Fetched(Sequence[LogRecord]):
    """What aiokafka handed over; a LogRecord is made of a record only when somebody asks for it."""

    def __init__(self, records: "Sequence[ConsumerRecord[bytes, bytes]]") -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, at: int) -> LogRecord: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[LogRecord]: ...

    def __getitem__(self, at: int | slice) -> LogRecord | Sequence[LogRecord]:
        if isinstance(at, slice):
            return Fetched(self._records[at])
        return _record(self._records[at])

    @cached_property
    def columns(self) -> Columns:
        offsets = [one.offset for one in self._records]
        timestamps = [one.timestamp for one in self._records]
        return Columns(offsets, timestamps, [one.value for one in self._records], timestamps)


class KafkaFeed(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka's classes are not annotated
    """PartitionFeed of one member of a group. Made by `KafkaFeed.join`."""

    def __init__(
        self,
        consumer: Any,
        log: EventLog,
        topics: Sequence[str],
        settings: KafkaSettings,
        commit_every_s: float,
        skips: Skips,
    ) -> None:
        self._consumer = consumer
        self._commit_every_s = commit_every_s
        self._log = log
        self._skips = skips
        self._topics = tuple(topics)
        self._settings = settings
        self._assignment = Assignment(generation=0, partitions=())
        self._positions: dict[TopicPartition, int] = {}
        """The next offset of each partition that was sought since the last change of hands."""
        self._waiting: dict[TopicPartition, Sequence[LogRecord]] = {}
        """What `arrival` was handed and nobody has read yet."""
        self._adrift: set[TopicPartition] = set()
        """Partitions that must be sought before they are read on."""
        self._unreadable: dict[TopicPartition, UnreadableBatch] = {}
        """What `arrival` met and nobody was told yet."""
        self._asked: dict[TopicPartition, tuple[float, float]] = {}
        """Since when a partition that lags is asked for in vain, and when it was last."""
        self._uneven = False
        self._changing_since_s: float | None = time.monotonic()
        """Since when the group has been sharing out its partitions."""
        self._committing: asyncio.Task[None] | None = None
        self._commits: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._committed_s = 0.0
        self._closed = False

    @classmethod
    async def join(
        cls,
        settings: KafkaSettings,
        log: EventLog,
        topics: Sequence[str],
        group: str,
        *,
        commit_every_s: float = 1.0,
        skips: Skips | None = None,
    ) -> "KafkaFeed":
        """Join `group` as a reader of `topics`, which must exist. Raises LogUnavailable, LogRefused."""
        consumer = AIOKafkaConsumer(
            **connection(settings),
            group_id=group,
            partition_assignment_strategy=(RangePartitionAssignor,),
            enable_auto_commit=False,
            # an offset outside the log is an operator's decision, never a silent jump
            auto_offset_reset="none",
            max_partition_fetch_bytes=settings.fetch_bytes,
            session_timeout_ms=round(settings.session_timeout_s * 1_000),
            heartbeat_interval_ms=round(settings.session_timeout_s * 1_000 / 4),
            # below the request timeout: a join must be answered before its request is given up
            rebalance_timeout_ms=round(
                min(settings.session_timeout_s * 2, settings.request_timeout_s * 0.8) * 1_000
            ),
            # nobody writes transactions here, and waiting for their ends would stall a reader behind one
            isolation_level="read_uncommitted",
        )
        feed = cls(consumer, log, topics, settings, commit_every_s, skips or Skips())
        await start(consumer, settings)
        consumer.subscribe(feed._topics, listener=feed)
        return feed

    # ------------------------------------------------------------ the group's side

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Nothing must be handed over: rows and progress are in the store or will be made again."""
        self._changing_since_s = time.monotonic()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Stands still, before anything is awaited, until somebody says from which offset to read."""
        held = sorted(assigned)
        self._consumer.pause(*held)
        self._positions.clear()
        self._waiting.clear()
        self._unreadable.clear()
        self._committed.clear()
        self._asked.clear()
        self._changing_since_s = None
        shares = [{tp.partition for tp in held if tp.topic == topic} for topic in self._topics]
        self._uneven = any(share != shares[0] for share in shares)
        partitions = tuple(sorted(set.intersection(*shares)))
        self._assignment = Assignment(self._assignment.generation + 1, partitions)
        _log.info("feed.assigned", partitions=list(partitions), generation=self._assignment.generation)

    # ------------------------------------------------------------ the reader's side

    async def assignment(self) -> Assignment:
        """Also raises TopicMismatch once the topics no longer have equally many partitions, and LogStuck."""
        self._check_open()
        if self._uneven:
            await self._compare_counts()
        since_s = self._changing_since_s
        if since_s is not None and time.monotonic() - since_s > self._settings.stuck_after_s:
            # members have waited for a new share for ever; brokers that are away raise LogUnavailable
            await self._log.end(self._topics[0], 0)
            raise LogStuck(time.monotonic() - since_s, f"the group of {self._topics[0]}")
        return self._assignment

    async def read(self, topic: str, partition: int, offset: int, max_records: int) -> Sequence[LogRecord]:
        self._check_open()
        place = TopicPartition(topic, partition)
        if partition not in self._assignment.partitions:
            return []
        self._tell(place, offset)
        ranges = await self._skips.of(topic, partition)
        lost = place in self._adrift or past(ranges, offset) != offset
        if self._positions.get(place) != offset or (lost and place not in self._waiting):
            ranges = await self._skips.of(topic, partition, anew=True)
            if partition not in self._assignment.partitions:  # lost in the meantime
                return []
            self._seek(place, offset, ranges)
        records = self._waiting.pop(place, None)
        if records is None:
            generation = self._assignment.generation
            records = (await self._fetch([place], 0, max_records)).get(place)
            if generation != self._assignment.generation:
                return []
            self._tell(place, offset)
        records = await self._before_skipped(place, offset, records, ranges, max_records)
        if not records:
            await self._watch(place)
            return []
        self._asked.pop(place, None)
        if records[0].offset < offset:
            self._positions.pop(place, None)
            return []
        self._positions[place] = records[-1].offset + 1
        return records

    def end(self, topic: str, partition: int) -> int | None:
        place = TopicPartition(topic, partition)
        position = self._positions.get(place)
        # asserted by `highwater`; another member may hold it by now
        if position is None or place not in self._consumer.assignment():
            return None
        end: int | None = self._consumer.highwater(place)
        # all that waits is skipped: nothing does
        if end is not None and position < end <= past(self._skips.known(topic, partition), position):
            return position
        return end

    async def arrival(self, wanted: Sequence[tuple[str, int]], seconds: float) -> None:
        self._check_open()
        places = [place for place in map(TopicPartition._make, wanted) if place in self._positions]
        if not places or any(place in self._waiting for place in places):
            return
        generation = self._assignment.generation
        for place, records in (await self._fetch(places, seconds, _AT_ONCE)).items():
            # a rebalance while we waited: what was fetched is of no use to whoever reads now
            if generation == self._assignment.generation:
                self._waiting[place] = records

    async def commit(self, topic: str, partition: int, offset: int) -> None:
        place = TopicPartition(topic, partition)
        if self._committed.get(place) != offset:
            self._commits[place] = offset
        if not self._commits or time.monotonic() - self._committed_s < self._commit_every_s:
            return
        self._committed_s = time.monotonic()
        held = {tp: at for tp, at in self._commits.items() if tp.partition in self._assignment.partitions}
        if not held or (self._committing is not None and not self._committing.done()):
            return
        self._commits.clear()
        # beside the work: a coordinator that is away must not keep records waiting
        self._committing = asyncio.create_task(self._commit(held))

    async def _commit(self, held: dict[TopicPartition, int]) -> None:
        try:
            await self._consumer.commit(held)
        except (IllegalStateError, KafkaError) as error:
            # for lag tools only: the next one says it all again
            _log.debug("feed.commit_failed", message=str(error))
            return
        self._committed.update(held)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._committing is not None:
            self._committing.cancel()
            await asyncio.gather(self._committing, return_exceptions=True)
        try:
            # leaving needs brokers; a member that cannot leave is thrown out when its session ends
            await asyncio.wait_for(self._consumer.stop(), _LEAVE_WITHIN_S)
        except (KafkaError, TimeoutError) as error:
            _log.warning("feed.left_without_goodbye", message=str(error))

    # ------------------------------------------------------------ inside

    def _tell(self, place: TopicPartition, offset: int) -> None:
        """Raises what `arrival` met at `offset`."""
        error = self._unreadable.pop(place, None)
        if error is not None and self._positions.get(place) == offset:
            raise error

    async def _before_skipped(
        self,
        place: TopicPartition,
        offset: int,
        records: Sequence[LogRecord] | None,
        ranges: Ranges,
        most: int,
    ) -> Sequence[LogRecord] | None:
        """`records` up to the first that is skipped."""
        first = stop(ranges, past(ranges, offset)) if records and ranges else None
        if not records or first is None or records[-1].offset < first:
            return records
        self._adrift.add(place)
        kept = sum(record.offset < first for record in records)
        # none: offsets without records lie before the range, and the log knows the way
        return records[:kept] or await self._log.read(place.topic, place.partition, offset, most)

    def _seek(self, place: TopicPartition, offset: int, ranges: Ranges) -> None:
        try:
            self._consumer.seek(place, past(ranges, offset))
            self._consumer.resume(place)
        except IllegalStateError:  # lost since the assignment was asked for: nothing will come
            return
        self._waiting.pop(place, None)
        self._adrift.discard(place)
        self._positions[place] = offset

    async def _fetch(
        self, places: Sequence[TopicPartition], seconds: float, most: int
    ) -> dict[TopicPartition, Sequence[LogRecord]]:
        try:
            # While partitions change hands this waits for the new ones, however long; SIGTERM must not.
            async with asyncio.timeout(seconds + self._settings.session_timeout_s):
                found = await self._consumer.getmany(
                    *places, timeout_ms=round(seconds * 1_000), max_records=most
                )
        except TimeoutError:
            return {}
        except OffsetOutOfRangeError as error:
            place, offset = next(iter(error.args[0].items()))
            self._positions.pop(place, None)
            brokers = self._settings.bootstrap
            raise await out_of_range(self._consumer, brokers, place.topic, place.partition, offset) from error
        except ConsumerStoppedError:
            raise
        except Exception as error:  # what decompressors and decoders raise has no common base
            if isinstance(error, KafkaError) and not isinstance(error, CorruptRecordException):
                raise translated(self._settings.bootstrap, error) from error
            _log.debug("feed.unreadable", message=repr(error))
            return await self._around_unreadable(places, most)
        return {place: Fetched(records) for place, records in found.items() if records}

    async def _around_unreadable(
        self, places: Sequence[TopicPartition], most: int
    ) -> dict[TopicPartition, Sequence[LogRecord]]:
        """What the log reads of a batch that aiokafka cannot decode, and of what aiokafka loses with it.

        What the log cannot read either is told to whoever reads that partition: others go on.
        """
        found: dict[TopicPartition, Sequence[LogRecord]] = {}
        for place in places:
            position = self._positions.get(place)
            if position is not None:
                # nobody knows where aiokafka's own position is now
                self._adrift.add(place)
                try:
                    records = await self._log.read(place.topic, place.partition, position, most)
                except UnreadableBatch as error:
                    self._unreadable[place] = error
                    continue
                if records:
                    found[place] = records
        return found

    async def _watch(self, place: TopicPartition) -> None:
        """Consumers have stood still for ever after broker restarts, with brokers up and records waiting.

        One partition alone may: each is watched, from the first time that it is asked for in vain.
        """
        position, end, now_s = self._positions.get(place), self.end(*place), time.monotonic()
        if position is None or (end is not None and end <= position):
            self._asked.pop(place, None)
            return
        since_s, last_s = self._asked.get(place, (now_s, now_s))
        if now_s - last_s > _ASKED_ON_S:
            since_s = now_s
        self._asked[place] = (since_s, now_s)
        if now_s - since_s < self._settings.stuck_after_s:
            return
        # over other connections than the stuck one's; brokers that are away raise LogUnavailable
        if await self._log.read(place.topic, place.partition, position, 1):
            raise LogStuck(now_s - since_s, f"{place.topic}[{place.partition}]")
        self._asked.pop(place, None)

    async def _compare_counts(self) -> None:
        """Shares differ for a moment while the topics become known, and for ever once one has grown."""
        known = await self._log.topics()
        first, *others = self._topics
        for topic in others:
            if known[topic].partitions != known[first].partitions:
                raise TopicMismatch(topic, known[first].partitions, known[topic].partitions)

    def _check_open(self) -> None:
        if self._closed:
            raise LogUnavailable(self._settings.bootstrap, "it is closed")


def _record(one: "ConsumerRecord[bytes, bytes]") -> LogRecord:
    # Kafka keeps one time per record, the event's. It was held against the broker's clock at its writing.
    at = one.timestamp
    return LogRecord(one.topic, one.partition, one.offset, at, one.key, one.value, tuple(one.headers), at)
