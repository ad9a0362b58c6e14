"""The log in memory: for tests and trials, held to the same conformance suite as the real ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from schemas.errors import LogUnavailable, OffsetOutOfRange, TopicMismatch, UnknownTopic
from schemas.logfile import DEFAULT_MAX_BYTES
from schemas.logrecords import (
    LogRecord,
    NewRecord,
    TopicSpec,
    check_read,
    check_timestamps,
    place,
)


@dataclass(slots=True)
class _Partition:
    begin: int = 0
    records: list[LogRecord] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.begin + len(self.records)


class InMemoryLog:
    """SequencedLog of one process; everything is gone when it closes."""

    def __init__(self, *, now_ms: Callable[[], int], future_ms: int = 60_000) -> None:
        self._now_ms = now_ms
        self._future_ms = future_ms
        self._specs: dict[str, TopicSpec] = {}
        self._partitions: dict[tuple[str, int], _Partition] = {}
        self._sequences: dict[str, int] = {}
        self._positions: dict[tuple[str, str, int], int] = {}
        self._closed = False

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        self._check_open()
        counts = {name: spec.partitions for name, spec in self._specs.items()}
        for spec in specs:
            found = counts.setdefault(spec.name, spec.partitions)
            if found != spec.partitions:
                raise TopicMismatch(spec.name, spec.partitions, found)
        for spec in specs:
            self._specs[spec.name] = spec
            for partition in range(spec.partitions):
                self._partitions.setdefault((spec.name, partition), _Partition())

    async def topics(self) -> dict[str, TopicSpec]:
        self._check_open()
        return dict(sorted(self._specs.items()))

    async def topic_ids(self) -> dict[str, str]:
        return {}

    async def append(self, records: Sequence[NewRecord]) -> list[tuple[int, int]]:
        self._check_open()
        now_ms = self._now_ms()
        check_timestamps(records, now_ms + self._future_ms)
        # all placed before the first is written: a record that has no place must leave no trace of the others
        places = [place(record, self._count(record.topic)) for record in records]
        return [self._write(record, at, now_ms) for record, at in zip(records, places, strict=True)]

    async def append_once(
        self, records: Sequence[NewRecord], *, producer: str, sequence: int
    ) -> list[tuple[int, int]] | None:
        self._check_open()
        if sequence <= self._sequences.get(producer, sequence - 1):
            return None
        written = await self.append(records)
        self._sequences[producer] = sequence
        return written

    async def last_sequence(self, producer: str) -> int | None:
        self._check_open()
        return self._sequences.get(producer)

    async def read(
        self, topic: str, partition: int, offset: int, max_records: int, max_bytes: int = DEFAULT_MAX_BYTES
    ) -> list[LogRecord]:
        check_read(max_records)
        held = self._partition(topic, partition)
        if not held.begin <= offset <= held.end:
            raise OffsetOutOfRange(topic, partition, offset, held.begin, held.end)
        start = offset - held.begin
        found: list[LogRecord] = []
        room = max_bytes
        for record in held.records[start : start + max_records]:
            room -= len(record.key or b"") + len(record.value or b"")
            if room < 0 and found:
                break
            found.append(record)
        return found

    async def begin(self, topic: str, partition: int) -> int:
        return self._partition(topic, partition).begin

    async def end(self, topic: str, partition: int) -> int:
        return self._partition(topic, partition).end

    async def position(self, group: str, topic: str, partition: int) -> int | None:
        self._check_open()
        return self._positions.get((group, topic, partition))

    async def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        self._partition(topic, partition)
        self._positions[group, topic, partition] = offset

    async def delete_before(self, topic: str, partition: int, offset: int) -> int:
        held = self._partition(topic, partition)
        deleted = min(max(offset, held.begin), held.end) - held.begin
        del held.records[:deleted]
        held.begin += deleted
        return deleted

    async def close(self) -> None:
        self._closed = True

    def _write(self, record: NewRecord, partition: int, now_ms: int) -> tuple[int, int]:
        held = self._partitions[record.topic, partition]
        offset = held.end
        held.records.append(
            LogRecord(
                record.topic,
                partition,
                offset,
                record.timestamp_ms,
                record.key,
                record.value,
                record.headers,
                now_ms,
            )
        )
        return partition, offset

    def _count(self, topic: str) -> int:
        if topic not in self._specs:
            raise UnknownTopic(topic)
        return self._specs[topic].partitions

    def _partition(self, topic: str, partition: int) -> _Partition:
        self._check_open()
        held = self._partitions.get((topic, partition))
        if held is None:
            raise UnknownTopic(topic, partition)
        return held

    def _check_open(self) -> None:
        if self._closed:
            raise LogUnavailable("in memory", "it is closed")
