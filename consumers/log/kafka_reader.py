"""Reading by offset: an answer without records means that there are none, not that none has arrived yet."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from aiokafka import errors
from aiokafka.consumer.fetcher import READ_UNCOMMITTED
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest

from consumers.log.kafka_batch import Batch, batch_at, lenient_records, opened
from consumers.log.kafka_brokers import Brokers, checked
from consumers.log.kafka_client import translated
from consumers.log.port import (
    DamagedBatch,
    LogError,
    LogRecord,
    LogUnavailable,
    OffsetOutOfRange,
    UnreadableBatch,
)
from consumers.log.skips import Ranges, Skips, past, stop

_EARLIEST, _LATEST = -2, -1
_LEAST_FETCH = 64 << 10
# partitions whose fetched records wait for the next read; each holds at most one fetch, still compressed
_RESTS = 16
_BACKOFF_S = 0.05


class _Fetched:
    """The records of one fetch from an offset on, whatever it takes to decode them."""

    def __init__(self, topic: str, partition: int, data: bytes, offset: int, end: int) -> None:
        self._topic, self._partition = topic, partition
        self._data, self._end = data, end
        self.next_offset = offset
        """The offset after what was given out."""
        self.broken: Exception | None = None
        """Why nothing follows."""

    def records(self) -> Iterator[LogRecord]:
        """Ends at the first record that cannot be decoded, and says in `broken` why."""
        records: Any = ()
        try:
            records = opened(self._topic, self._partition, self._data, self.next_offset)
            for one in records:
                at = one.timestamp
                self.next_offset = one.offset + 1
                yield LogRecord(one.topic, one.partition, one.offset, at, one.key, one.value, one.headers, at)
            self.next_offset = max(self.next_offset, records.next_fetch_offset)
            return
        except Exception as error:  # noqa: BLE001 - what decoders raise has no common base
            self.next_offset = max(self.next_offset, getattr(records, "next_fetch_offset", 0))
            self.broken = error
        batch = self.batch()
        causes = self.broken, self.broken.__cause__  # aiokafka without its extensions wraps it
        if batch is None or not any(isinstance(cause, UnicodeDecodeError) for cause in causes):
            return
        try:
            named_anyhow = lenient_records(batch, self._topic, self._partition)
        except Exception as error:  # noqa: BLE001 - nor what decompressors raise
            self.broken = error
            return
        # another fetch reads on after it
        self.broken = None
        for record in named_anyhow:
            if record.offset >= self.next_offset:
                yield record
                self.next_offset = record.offset + 1
        self.next_offset = batch.next_offset

    def batch(self) -> Batch | None:
        """The batch of `next_offset`."""
        return batch_at(self._data, self.next_offset, self._end)


@dataclass(slots=True)
class _Rest:
    """What was fetched of a partition and not yet asked for. `next_offset` is where it goes on."""

    fetched: Iterator[LogRecord]
    next_offset: int
    held: LogRecord | None = None
    """Taken out and too large for the read that took it."""

    def records(self) -> Iterator[LogRecord]:
        if self.held is not None:
            record, self.held = self.held, None
            yield record
        for record in self.fetched:  # `yield from` would close it with the read that stops early
            yield record


class Reader:
    """Reads partitions from their leaders. Safe for concurrent tasks of one event loop."""

    def __init__(self, brokers: Brokers, fetch_bytes: int, skips: Skips) -> None:
        self._brokers = brokers
        self._fetch_bytes = fetch_bytes
        self._skips = skips
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
        ranges = await self._skips.of(topic, partition)
        position = past(ranges, offset)
        while True:
            data, end = await self._fetch(topic, partition, position, size)
            fetched = _Fetched(topic, partition, data, position, end)
            rest = _Rest(_until_skipped(fetched.records(), ranges, position), position)
            found = self._take(rest, topic, partition, max_records, max_bytes)
            if found:
                return found
            if fetched.broken is not None:
                # somebody may have said by now that it is skipped
                ranges = await self._skips.of(topic, partition, anew=True)
                if past(ranges, fetched.next_offset) == fetched.next_offset:
                    raise self._unreadable(topic, partition, data, fetched, end) from fetched.broken
            # compaction may have left nothing of the batch that holds this offset
            position = past(ranges, max(position, fetched.next_offset))
            if position >= end:
                return []
            await asyncio.sleep(_BACKOFF_S)  # a quota can hold records back for a while

    async def damaged(self, topic: str, partition: int, offset: int) -> DamagedBatch | None:
        """As BatchedLog.damaged."""
        data, end = await self._fetch(topic, partition, offset, _LEAST_FETCH)
        return _damage(topic, partition, data, offset, end)

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
        rest.next_offset = found[-1].offset + 1
        self._rests[topic, partition] = rest
        if len(self._rests) > _RESTS:
            del self._rests[next(iter(self._rests))]
        return found

    def _unreadable(self, topic: str, partition: int, data: bytes, fetched: _Fetched, end: int) -> LogError:
        """A batch damaged on its way may come well the next time; one that was stored so never will."""
        if isinstance(fetched.broken, errors.UnsupportedCodecError):
            return translated(self._brokers.name, fetched.broken)
        batch = _damage(topic, partition, data, fetched.next_offset, end)
        first = fetched.next_offset if batch is None else batch.first_offset
        following = None if batch is None else batch.next_offset
        return UnreadableBatch(self._brokers.name, topic, partition, first, following, repr(fetched.broken))

    async def _fetch(self, topic: str, partition: int, offset: int, size: int) -> tuple[bytes, int]:
        """Batches from that of `offset` on as they are stored, and the partition's end."""

        async def attempt() -> tuple[bytes, int]:
            node = await self._brokers.leader(topic, partition)
            if offset < 0:
                raise errors.OffsetOutOfRangeError
            request = FetchRequest(0, 1, size, READ_UNCOMMITTED, [(topic, [(partition, offset, size)])])
            ((_, ((_, code, end, *_, data),)),) = (await self._brokers.ask(request, node)).topics
            checked(code)
            return data, end

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


def _until_skipped(records: Iterable[LogRecord], ranges: Ranges, offset: int) -> Iterator[LogRecord]:
    first = stop(ranges, offset)
    return iter(records) if first is None else takewhile(lambda record: record.offset < first, records)


def _damage(topic: str, partition: int, data: bytes, offset: int, end: int) -> DamagedBatch | None:
    """What of the batch that holds `offset` cannot be decoded, wherever a reader began."""
    batch = batch_at(data, offset, end)
    if batch is None:
        fetched = _Fetched(topic, partition, data, offset, end)
    else:
        fetched = _Fetched(topic, partition, batch.raw, batch.base_offset, end)
    for _ in fetched.records():
        pass
    if fetched.broken is None:
        return None
    return DamagedBatch(
        first_offset=fetched.next_offset,
        next_offset=None if batch is None else batch.next_offset,
        raw=data if batch is None else batch.raw,
        cause=repr(fetched.broken),
    )
