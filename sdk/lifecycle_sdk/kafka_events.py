"""Following Kafka's lifecycle topics, without a consumer group: every reader sees all of them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from .contracts import LogRecord, LogUnavailable, OffsetOutOfRange, Topics, UnknownTopic
from .contracts.errors import LogRefused
from .kafka_connection import KafkaConnection
from .kafka_driver import options, partition_counts, require, started, stop, translated

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, TopicPartition

_BATCH = 5_000
_LOOK_MS = 200


class KafkaEvents:
    """Reads Kafka's topics for followers. One connection serves any number of them, one read at a time.

    Nothing is committed and nothing is fetched between reads: a look at a topic that has no news costs one
    request a partition. A compacted topic has gaps; what is left of it is its state, so whoever reads from
    the beginning knows as much as whoever has followed all along. After a failure the next read connects
    anew.
    """

    def __init__(
        self, connection: KafkaConnection, *, topics: Topics | None = None, client_id: str = "lifecycle-sdk"
    ) -> None:
        """Raises KafkaMissing without aiokafka."""
        require(connection)
        self.topics = topics or Topics()
        self._connection = connection
        self._client_id = client_id
        self._turn = asyncio.Lock()
        self._reader: _Reader | None = None

    async def partitions(self, topic: str) -> int:
        """Partitions of `topic`; 0 if it does not exist yet. Raises LogUnavailable, LogRefused."""
        async with self._connected() as reader:
            return await reader.partitions(topic)

    async def read(self, topic: str, partition: int, offset: int | None) -> Sequence[LogRecord]:
        """Some records from `offset` on (None: the first that is kept); empty only at the end.

        Raises UnknownTopic, OffsetOutOfRange, LogUnavailable, LogRefused.
        """
        async with self._connected() as reader:
            return await reader.read(topic, partition, offset)

    async def close(self) -> None:
        """Let go of the brokers; a later read connects again."""
        async with self._turn:
            await self._drop()

    @asynccontextmanager
    async def _connected(self) -> "AsyncIterator[_Reader]":
        async with self._turn:
            if self._reader is None:
                self._reader = await self._connect()
            try:
                with translated(self._connection):
                    async with asyncio.timeout(self._connection.request_timeout_s):
                        yield self._reader
            except (LogUnavailable, LogRefused, asyncio.CancelledError):
                await self._drop()
                raise

    async def _connect(self) -> "_Reader":
        from aiokafka import AIOKafkaConsumer

        consumer = AIOKafkaConsumer(
            **options(self._connection, self._client_id), group_id=None, auto_offset_reset="none"
        )
        await started(consumer, self._connection)
        return _Reader(consumer)

    async def _drop(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await stop(reader.consumer)


class _Reader:
    """A consumer whose partitions are all paused but the one that is being read."""

    def __init__(self, consumer: "AIOKafkaConsumer") -> None:
        self.consumer = consumer
        self._partitions: dict[str, int] = {}
        self._ends: dict[TopicPartition, int] = {}

    async def partitions(self, topic: str) -> int:
        if topic not in self._partitions:
            # the client is not public, and the consumer itself tells names only
            self._partitions.update(await partition_counts(self.consumer._client, (topic,)))
        return self._partitions.get(topic, 0)

    async def read(self, topic: str, partition: int, offset: int | None) -> Sequence[LogRecord]:
        from aiokafka import TopicPartition
        from aiokafka.errors import OffsetOutOfRangeError

        if not 0 <= partition < await self.partitions(topic):
            raise UnknownTopic(topic, partition)
        at = TopicPartition(topic, partition)
        self._hold(at)
        try:
            return await self._read(at, await self._begin(at) if offset is None else offset)
        except OffsetOutOfRangeError as error:
            raise await self._out_of_range(at, offset or 0) from error

    def _hold(self, at: "TopicPartition") -> None:
        if at in self._ends:
            return
        self._ends[at] = 0
        self.consumer.assign(list(self._ends))
        for held in self._ends:
            # a partition without a position would be looked up in a group that there is not
            self.consumer.seek(held, 0)
            self.consumer.pause(held)

    async def _read(self, at: "TopicPartition", offset: int) -> Sequence[LogRecord]:
        if await self.consumer.position(at) != offset:
            self.consumer.seek(at, offset)
        looked = False
        while True:
            if await self.consumer.position(at) < self._ends[at]:
                if records := await self._fetch(at):
                    return [_record(record) for record in records]
            elif looked:
                # the end, or what lay before it was compacted away
                return []
            else:
                self._ends[at], looked = (await self.consumer.end_offsets([at]))[at], True
                if offset > self._ends[at]:
                    raise await self._out_of_range(at, offset)

    async def _fetch(self, at: "TopicPartition") -> Sequence[Any]:
        self.consumer.resume(at)
        try:
            found = await self.consumer.getmany(at, timeout_ms=_LOOK_MS, max_records=_BATCH)
            return tuple(found.get(at, ()))
        finally:
            # before the next await, or a fetch that waits for news would hold up the other partitions
            self.consumer.pause(at)

    async def _begin(self, at: "TopicPartition") -> int:
        begin: int = (await self.consumer.beginning_offsets([at]))[at]
        return begin

    async def _out_of_range(self, at: "TopicPartition", offset: int) -> OffsetOutOfRange:
        # a topic that was created anew ends before it did: nothing that is remembered of it holds
        end = (await self.consumer.end_offsets([at]))[at]
        self._ends[at] = 0
        return OffsetOutOfRange(at.topic, at.partition, offset, await self._begin(at), end)


def _record(record: Any) -> LogRecord:
    """Kafka keeps one time a record, the event's."""
    return LogRecord(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        key=record.key,
        value=record.value,
        headers=tuple((name, value or b"") for name, value in record.headers),
        appended_ms=record.timestamp,
    )
