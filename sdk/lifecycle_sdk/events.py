"""Following a lifecycle topic: new events since the last look, in the order of the log."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from .contracts import Event, InvalidRecord, LogFile, LogRecord, NewRecord, Topics, decode, record_of

E = TypeVar("E", bound=Event)
_BATCH = 500


class EventSource(Protocol):
    """Where followers read from."""

    topics: Topics

    async def partitions(self, topic: str) -> int:
        """Partitions of `topic`; 0 if it does not exist yet."""
        ...

    async def read(self, topic: str, partition: int, offset: int | None) -> Sequence[LogRecord]:
        """Some records from `offset` on (None: the first that is kept); empty if there are none now."""
        ...

    async def close(self) -> None:
        """Let go of the log."""
        ...


class EmbeddedEvents:
    """Reads the embedded log's file, which must exist (`lifecycle init`)."""

    def __init__(self, path: Path, *, topics: Topics | None = None) -> None:
        """Raises LogUnavailable."""
        self.topics = topics or Topics()
        self._file = LogFile(path, now_ms=_now_ms)
        self._turn = asyncio.Lock()

    async def partitions(self, topic: str) -> int:
        async with self._turn:
            known = await asyncio.to_thread(self._file.topics)
        return known[topic].partitions if topic in known else 0

    async def read(self, topic: str, partition: int, offset: int | None) -> Sequence[LogRecord]:
        async with self._turn:
            return await asyncio.to_thread(self._read, topic, partition, offset)

    async def close(self) -> None:
        async with self._turn:
            await asyncio.to_thread(self._file.close)

    def _read(self, topic: str, partition: int, offset: int | None) -> Sequence[LogRecord]:
        start = self._file.begin(topic, partition) if offset is None else offset
        return self._file.read(topic, partition, start, _BATCH)


class InMemoryEvents:
    """The twin for your own tests: `add` what the service would have announced."""

    def __init__(self, *, topics: Topics | None = None) -> None:
        self.topics = topics or Topics()
        self._records: dict[str, list[LogRecord]] = {}

    def add(self, event: Event) -> None:
        """Append `event` to its topic."""
        self.add_record(record_of(event, self.topics, source="test"))

    def add_record(self, record: NewRecord) -> None:
        """Append any record, a damaged one for example."""
        records = self._records.setdefault(record.topic, [])
        records.append(
            LogRecord(
                topic=record.topic,
                partition=0,
                offset=len(records),
                timestamp_ms=record.timestamp_ms,
                key=record.key,
                value=record.value,
                headers=record.headers,
                appended_ms=record.timestamp_ms,
            )
        )

    async def partitions(self, topic: str) -> int:
        return 1 if topic in self._records else 0

    async def read(self, topic: str, partition: int, offset: int | None) -> Sequence[LogRecord]:
        return self._records.get(topic, [])[offset or 0 :][:_BATCH]

    async def close(self) -> None:
        return None


class Follower(Generic[E]):
    """Remembers how far it has read one topic. What cannot be decoded is skipped and counted."""

    def __init__(self, source: EventSource, topic: str, kind: type[E]) -> None:
        self.skipped = 0
        self._source, self._topic, self._kind = source, topic, kind
        self._offsets: dict[int, int] = {}

    async def new(self) -> list[E]:
        """Everything since the last call, from the beginning of the topic at the first one."""
        events: list[E] = []
        for partition in range(await self._source.partitions(self._topic)):
            while records := await self._source.read(self._topic, partition, self._offsets.get(partition)):
                self._offsets[partition] = records[-1].offset + 1
                events += self._decoded(records)
        return events

    def _decoded(self, records: Sequence[LogRecord]) -> list[E]:
        events = []
        for record in records:
            try:
                event = decode(self._topic, record.value or b"")
            except InvalidRecord:
                self.skipped += 1
                continue
            if isinstance(event, self._kind):
                events.append(event)
        return events


def _now_ms() -> int:
    # required by the file, used only by those who append
    return time.time_ns() // 1_000_000
