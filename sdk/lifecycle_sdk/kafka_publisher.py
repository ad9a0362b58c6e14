"""Publishing to Kafka: keyed, acknowledged by all replicas, in batches a partition."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from .contracts import (
    FutureTimestamp,
    LogError,
    LogUnavailable,
    NewRecord,
    TopicMismatch,
    Topics,
    UnknownTopic,
    partition_for,
    record_of,
)
from .contracts.errors import LogRefused
from .contracts.logrecords import check_timestamps
from .kafka_connection import KafkaConnection
from .kafka_driver import give_up, partition_counts, producer, require, started, translated
from .publisher import MAX_BATCH, BatchTooLarge, HotEvent, Sent, Single, count_sent

if TYPE_CHECKING:
    from aiokafka import AIOKafkaProducer

# of a partition at once, before compression: a broker takes 1 MiB by default
_BATCH_BYTES = 512 << 10
_MAX_RECORD_BYTES = 1_000_000
# Few records are handed over one by one: those of other callers share their request. Many go as ready
# batches, 15 µs CPU a record with its encoding instead of 22.
_FEW = 16
_FUTURE_MS = 60_000
_SLICE = 1_000


class SequencesUnsupported(LogError):
    """Kafka keeps no sequences over a producer's restart: publish without, and repeat what is uncertain."""

    def __init__(self) -> None:
        super().__init__(
            "Kafka keeps no sequence over a restart: publish without one and repeat what is uncertain;"
            " of several records of one answer or outcome the windows use one"
        )


class PartitionsDiffer(TopicMismatch):
    """Predictions and outcomes have unequal partition counts, so an outcome would not meet its prediction."""

    def __init__(self, predictions: str, outcomes: str, counts: Mapping[str, int]) -> None:
        super().__init__(outcomes, counts[predictions], counts[outcomes])
        self.args = (
            f"{predictions} has {counts[predictions]} partitions and {outcomes} has {counts[outcomes]}:"
            " create one of them anew with the partitions of the other",
        )


@dataclass(frozen=True, slots=True)
class _Running:
    """A producer that works, and how many partitions it spreads each topic over."""

    producer: "AIOKafkaProducer"
    partitions: Mapping[str, int]


class KafkaPublisher(Single):
    """Publishes to Kafka's topics, at least once. `producer` is its client id in the brokers' logs.

    A call that returns has its records on all in-sync replicas. One that raises LogUnavailable, or was
    cancelled, may have written some of them: publish the same events again, each is used once.
    Calls may run at the same time and share requests; together they hold at most `max_batch` events, and
    whoever comes later waits. After a failure the next call connects anew.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        *,
        producer: str,
        topics: Topics | None = None,
        max_batch: int = MAX_BATCH,
    ) -> None:
        """Raises KafkaMissing without aiokafka. The topics must exist (`lifecycle topics create`)."""
        require(connection)
        self.sent = Sent()
        self._connection = connection
        self._name = producer
        self._topics = topics or Topics()
        self._max_batch = max_batch
        self._room = _Room(max_batch)
        self._turn = asyncio.Lock()
        self._handing_over = asyncio.Lock()
        self._running: _Running | None = None
        self._closed = False

    async def start(self) -> None:
        """Connect now rather than at the first event; `async with` does.

        Raises LogUnavailable, LogRefused, UnknownTopic, PartitionsDiffer.
        """
        await self._connected()

    async def publish(self, events: Sequence[HotEvent], *, sequence: int | None = None) -> bool:
        """Publish all `events`, in order within each partition; always True.

        Raises BatchTooLarge, FutureTimestamp, LogUnavailable, LogRefused, SequencesUnsupported.
        """
        if sequence is not None:
            raise SequencesUnsupported()
        if len(events) > self._max_batch:
            raise BatchTooLarge(len(events), self._max_batch)
        async with self._room.taken(len(events)):
            records = await self._records(events)
            if records:
                running = await self._connected()
                await self._deliver(running, records)
        count_sent(self.sent, events, written=True)
        return True

    async def last_sequence(self) -> int | None:
        """Raises SequencesUnsupported: None would mean that nothing was published yet."""
        raise SequencesUnsupported()

    async def close(self) -> None:
        """Deliver what other calls have handed over, and let go of the brokers."""
        self._closed = True
        async with self._turn:
            running, self._running = self._running, None
        if running is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._connection.request_timeout_s):
                await running.producer.flush()
        await give_up(running.producer)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def _records(self, events: Sequence[HotEvent]) -> list[NewRecord]:
        """All are checked before the first is sent: what the SDK refuses is refused with its whole batch."""
        records: list[NewRecord] = []
        for start in range(0, len(events), _SLICE):
            if start:
                # ten thousand events take a tenth of a second to encode, which others shall not wait
                await asyncio.sleep(0)
            part = events[start : start + _SLICE]
            records += [record_of(event, self._topics, source=self._name) for event in part]
        check_timestamps(records, _now_ms() + _FUTURE_MS)
        for record in records:
            if (size := len(record.key or b"") + len(record.value or b"")) > _MAX_RECORD_BYTES:
                problem = f"{record.topic} takes no record of {size} bytes, over {_MAX_RECORD_BYTES}"
                raise LogRefused(self._connection.bootstrap, problem)
        return records

    async def _connected(self) -> _Running:
        async with self._turn:
            if self._closed:
                raise LogUnavailable(self._connection.bootstrap, "the publisher is closed")
            if self._running is None:
                self._running = await self._connect()
            return self._running

    async def _connect(self) -> _Running:
        made = producer(self._connection, self._name, _BATCH_BYTES)
        await started(made, self._connection)
        try:
            return _Running(made, await self._checked_partitions(made))
        except BaseException:
            await give_up(made)
            raise

    async def _checked_partitions(self, made: "AIOKafkaProducer") -> Mapping[str, int]:
        predictions, outcomes = self._topics.predictions, self._topics.outcomes
        with translated(self._connection):
            async with asyncio.timeout(self._connection.request_timeout_s):
                counts = await partition_counts(made.client, (predictions, outcomes))
        for topic in (predictions, outcomes):
            if topic not in counts:
                raise UnknownTopic(topic)
        if counts[predictions] != counts[outcomes]:
            raise PartitionsDiffer(predictions, outcomes, counts)
        return counts

    async def _deliver(self, running: _Running, records: Sequence[NewRecord]) -> None:
        """Hand over and await every acknowledgement; a producer that fails is never used again."""
        placed = [(partition_for(r.key or b"", running.partitions[r.topic]), r) for r in records]
        waiting: _Waiting = []
        try:
            with translated(self._connection):
                async with asyncio.timeout(self._connection.request_timeout_s):
                    if len(records) <= _FEW:
                        await _one_by_one(running.producer, placed, waiting)
                    else:
                        # aiokafka counts the time of those who wait for one partition's turn several times
                        async with self._handing_over:
                            await _in_batches(running.producer, placed, waiting)
                    await asyncio.wait(waiting)
                    for acknowledged in waiting:
                        await acknowledged
        except LogError as failure:
            if self._running is running:
                self._running = None
            await give_up(running.producer)
            raise _named(failure, records) from failure.__cause__
        finally:
            for acknowledged in waiting:
                # marks a failure that nobody will await as seen
                if not acknowledged.cancel() and not acknowledged.cancelled():
                    acknowledged.exception()


class _Room:
    """Admits callers in the order of their coming while the events of all stay within the limit."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._queue = asyncio.Lock()
        self._left = asyncio.Event()

    @asynccontextmanager
    async def taken(self, size: int) -> AsyncIterator[None]:
        async with self._queue:
            while size > self._free:
                self._left.clear()
                await self._left.wait()
            self._free -= size
        try:
            yield
        finally:
            self._free += size
            self._left.set()


_Placed = Iterable[tuple[int, NewRecord]]
_Waiting = list[asyncio.Future[Any]]


async def _one_by_one(producer: "AIOKafkaProducer", placed: _Placed, waiting: _Waiting) -> None:
    for partition, record in placed:
        waiting.append(
            await producer.send(
                record.topic,
                record.value,
                record.key,
                partition=partition,
                timestamp_ms=record.timestamp_ms,
            )
        )


async def _in_batches(producer: "AIOKafkaProducer", placed: _Placed, waiting: _Waiting) -> None:
    """One batch a partition, and more if it is full; those of one partition follow each other."""
    by_partition: dict[tuple[str, int], list[NewRecord]] = {}
    for partition, record in placed:
        by_partition.setdefault((record.topic, partition), []).append(record)
    for (topic, partition), records in by_partition.items():
        batch = producer.create_batch()
        for record in records:
            if not _append(batch, record):
                waiting.append(await _submit(producer, batch, topic, partition))
                batch = producer.create_batch()
                _append(batch, record)
        waiting.append(await _submit(producer, batch, topic, partition))


def _append(batch: Any, record: NewRecord) -> bool:
    """Whether the batch had room; an empty one always has."""
    appended = batch.append(timestamp=record.timestamp_ms, key=record.key, value=record.value)
    return appended is not None


async def _submit(
    producer: "AIOKafkaProducer", batch: Any, topic: str, partition: int
) -> asyncio.Future[Any]:
    # closed, or records of other callers would be appended to it
    batch.close()
    acknowledged: asyncio.Future[Any] = await producer.send_batch(batch, topic, partition=partition)
    return acknowledged


def _named(failure: LogError, records: Sequence[NewRecord]) -> LogError:
    """What the brokers said about a record, in the words of the log."""
    from aiokafka.errors import InvalidTimestampError

    if isinstance(failure.__cause__, InvalidTimestampError):
        # the brokers do not say which record: the newest is the one that their clock can refuse
        newest = max(records, key=lambda record: record.timestamp_ms)
        return FutureTimestamp(newest.topic, newest.timestamp_ms, _now_ms() + _FUTURE_MS)
    return failure


def _now_ms() -> int:
    # the check that no record comes from the future; never the time of an event
    return time.time_ns() // 1_000_000
