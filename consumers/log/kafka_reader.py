"""Reading by offset: an answer without records means that there are none, not that none has arrived yet."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aiokafka import errors
from aiokafka.consumer.fetcher import READ_UNCOMMITTED, PartitionRecords
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from consumers.log.kafka_brokers import Brokers, checked
from consumers.log.kafka_client import translated
from consumers.log.port import LogError, LogRecord, LogRefused, LogUnavailable, OffsetOutOfRange

_EARLIEST, _LATEST = -2, -1
_LEAST_FETCH = 64 << 10
# partitions whose fetched records wait for the next read; each holds at most one fetch, still compressed
_RESTS = 16
_BACKOFF_S = 0.05


@dataclass(slots=True)
class _Rest:
    """What was fetched of a partition and not yet asked for. `next_offset` is where it goes on."""

    fetched: Any
    next_offset: int
    held: LogRecord | None = None
    """Taken out and too large for the read that took it."""

    def records(self) -> Iterator[LogRecord]:
        if self.held is not None:
            record, self.held = self.held, None
            yield record
        for one in self.fetched:
            at = one.timestamp
            yield LogRecord(one.topic, one.partition, one.offset, at, one.key, one.value, one.headers, at)


class Reader:
    """Reads partitions from their leaders. Safe for concurrent tasks of one event loop."""

    def __init__(self, brokers: Brokers, fetch_bytes: int) -> None:
        self._brokers = brokers
        self._fetch_bytes = fetch_bytes
        self._rests: dict[tuple[str, int], _Rest] = {}

    async def read(
        self, topic: str, partition: int, offset: int, max_records: int, max_bytes: int
    ) -> list[LogRecord]:
        """As EventLog.read."""
        # whoever takes the rest out owns it: two tasks never share one
        rest = self._rests.pop((topic, partition), None)
        if rest is not None and rest.next_offset == offset:
            found = self._take(rest, topic, partition, max_records, max_bytes)
            if found:
                return found
        size = min(self._fetch_bytes, max(max_bytes, _LEAST_FETCH))
        position = offset
        while True:
            fetched, end = await self._fetch(topic, partition, position, size)
            rest = _Rest(fetched, position)
            found = self._take(rest, topic, partition, max_records, max_bytes)
            if found:
                return found
            # compaction may have left nothing of the batch that holds this offset
            position = max(position, fetched.next_fetch_offset)
            if position >= end:
                return []
            await asyncio.sleep(_BACKOFF_S)  # a quota can hold records back for a while

    async def begin(self, topic: str, partition: int) -> int:
        """The first kept offset. Raises UnknownTopic."""
        return await self._brokers.answered(lambda: self._offset(topic, partition, _EARLIEST), topic)

    async def end(self, topic: str, partition: int) -> int:
        """The next offset that readers will see. Raises UnknownTopic."""
        return await self._brokers.answered(lambda: self._offset(topic, partition, _LATEST), topic)

    def forget(self, topic: str, partition: int) -> None:
        """Drops what was fetched and not yet read."""
        self._rests.pop((topic, partition), None)

    def _take(
        self, rest: _Rest, topic: str, partition: int, max_records: int, max_bytes: int
    ) -> list[LogRecord]:
        found: list[LogRecord] = []
        room = max_bytes
        try:
            for record in rest.records():
                room -= len(record.key or b"") + len(record.value or b"")
                if room < 0 and found:
                    rest.held = record
                    break
                found.append(record)
                if len(found) == max_records:
                    break
            else:
                return found
        except Exception as error:  # what decompressors and decoders raise has no common base
            if not found:
                raise self._unreadable(topic, partition, rest, error) from error
            return found
        rest.next_offset = found[-1].offset + 1
        self._rests[topic, partition] = rest
        if len(self._rests) > _RESTS:
            del self._rests[next(iter(self._rests))]
        return found

    def _unreadable(self, topic: str, partition: int, rest: _Rest, error: Exception) -> LogError:
        """A batch damaged on its way may come well the next time; one that was written so never will."""
        if isinstance(error, errors.KafkaError):
            return translated(self._brokers.name, error)
        at = f"{topic}[{partition}]: the batch at offset {rest.fetched.next_fetch_offset} cannot be decoded"
        return LogRefused(self._brokers.name, f"{at} ({error!r}): read on after it")

    async def _fetch(self, topic: str, partition: int, offset: int, size: int) -> tuple[Any, int]:
        """Records from `offset` on, not yet decompressed, and the partition's end."""

        async def attempt() -> tuple[Any, int]:
            node = await self._brokers.leader(topic, partition)
            if offset < 0:
                raise errors.OffsetOutOfRangeError
            request = FetchRequest(0, 1, size, READ_UNCOMMITTED, [(topic, [(partition, offset, size)])])
            ((_, ((_, code, end, *_, data),)),) = (await self._brokers.ask(request, node)).topics
            checked(code)
            records = PartitionRecords(
                TopicPartition(topic, partition),
                MemoryRecords(data),
                None,
                offset,
                None,
                None,
                True,
                READ_UNCOMMITTED,
            )
            return records, end

        try:
            return await self._brokers.answered(attempt, topic)
        except errors.OffsetOutOfRangeError as error:
            begin, end = await self.begin(topic, partition), await self.end(topic, partition)
            if begin <= offset <= end:
                # a new leader does not know yet how far its followers are
                raise LogUnavailable(self._brokers.name, f"{topic}[{partition}] changes hands") from error
            raise OffsetOutOfRange(topic, partition, offset, begin, end) from error

    async def _offset(self, topic: str, partition: int, which: int) -> int:
        node = await self._brokers.leader(topic, partition)
        request = OffsetRequest(-1, READ_UNCOMMITTED, [(topic, [(partition, which)])])
        ((_, ((_, code, _, offset),)),) = (await self._brokers.ask(request, node)).topics
        checked(code)
        found: int = offset
        return found
