"""What the rest of the service knows of a log."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from schemas.errors import (
    FutureTimestamp,
    LogError,
    LogRefused,
    LogStuck,
    LogUnavailable,
    OffsetOutOfRange,
    RecordTooLarge,
    TopicMismatch,
    UnknownTopic,
    UnreadableBatch,
)
from schemas.logfile import DEFAULT_MAX_BYTES
from schemas.logrecords import LogRecord, NewRecord, TopicSpec

__all__ = [
    "DEFAULT_MAX_BYTES",
    "Assignment",
    "BatchedLog",
    "DamagedBatch",
    "EventLog",
    "FutureTimestamp",
    "LogError",
    "LogRecord",
    "LogRefused",
    "LogStuck",
    "LogUnavailable",
    "NewRecord",
    "OffsetOutOfRange",
    "PartitionFeed",
    "RecordTooLarge",
    "SequencedLog",
    "TopicMismatch",
    "TopicSpec",
    "UnknownTopic",
    "UnreadableBatch",
]


class EventLog(Protocol):
    """A partitioned, append-only log. Delivery is at least once: whoever appends may append again.

    Offsets of a partition have no gaps. Every method raises LogUnavailable when the log cannot be used now.
    An append that failed with it, or was cancelled, may have written some of its records or all of them.
    """

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Creates what is missing. Raises TopicMismatch, creating nothing, for another partition count."""
        ...

    async def topics(self) -> dict[str, TopicSpec]:
        """Every topic by name."""
        ...

    async def topic_ids(self) -> dict[str, str]:
        """An identity of each topic, which one made anew under its name does not have; {} if none can be."""
        ...

    async def append(self, records: Sequence[NewRecord]) -> list[tuple[int, int]]:
        """Writes all records; returns (partition, offset) of each in order.

        Raises FutureTimestamp, UnknownTopic, or ValueError (neither key nor partition; before the epoch), and
        then nothing was written. Raises RecordTooLarge; then others of the records may be written.
        """
        ...

    async def read(
        self, topic: str, partition: int, offset: int, max_records: int, max_bytes: int = DEFAULT_MAX_BYTES
    ) -> list[LogRecord]:
        """Records from `offset` on, at least one if there is one.

        Raises OffsetOutOfRange, UnknownTopic, UnreadableBatch. What an operator skipped is not there.
        """
        ...

    async def begin(self, topic: str, partition: int) -> int:
        """The first kept offset. Raises UnknownTopic."""
        ...

    async def end(self, topic: str, partition: int) -> int:
        """The next offset to be written. Raises UnknownTopic."""
        ...

    async def position(self, group: str, topic: str, partition: int) -> int | None:
        """The offset that `group` committed last, None before its first commit."""
        ...

    async def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Sets the next offset that `group` wants. Raises UnknownTopic."""
        ...

    async def delete_before(self, topic: str, partition: int, offset: int) -> int:
        """Retention: deletes the records before `offset`, returns how many. Raises UnknownTopic."""
        ...

    async def close(self) -> None:
        """Releases the log; a second call does nothing."""
        ...


@runtime_checkable
class SequencedLog(EventLog, Protocol):
    """A log that remembers what each producer appended: an append happens once, whole, even over restarts.

    The embedded log is one. Kafka is none: its producers' sequences end with the producer's session.
    """

    async def append_once(
        self, records: Sequence[NewRecord], *, producer: str, sequence: int
    ) -> list[tuple[int, int]] | None:
        """Writes all records or none; None if `producer` appended `sequence` or a later one."""
        ...

    async def last_sequence(self, producer: str) -> int | None:
        """The last sequence that `producer` appended."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedBatch:
    """What cannot be decoded: its offsets, its bytes as they were fetched, and the decoder's complaint."""

    first_offset: int
    next_offset: int | None
    """The offset after it; None if not even its header can be read."""
    raw: bytes
    cause: str


@runtime_checkable
class BatchedLog(EventLog, Protocol):
    """A log that keeps records in batches, which can be damaged as a whole. The embedded log is none."""

    async def damaged(self, topic: str, partition: int, offset: int) -> DamagedBatch | None:
        """What is damaged at `offset`, skipped or not; None if the record there can be read.

        Raises OffsetOutOfRange, UnknownTopic.
        """
        ...


@dataclass(frozen=True, slots=True)
class Assignment:
    """The partitions that a member reads now. `generation` grows with every change of hands."""

    generation: int
    partitions: tuple[int, ...]


class PartitionFeed(Protocol):
    """The records of the partitions that a worker holds; partition i of all topics is with one worker.

    Reading is addressed by offset, so records fetched before partitions changed hands never come through as
    others: the first record of a read has the asked offset.
    """

    async def assignment(self) -> Assignment:
        """What this worker holds now. Raises LogUnavailable."""
        ...

    async def read(self, topic: str, partition: int, offset: int, max_records: int) -> Sequence[LogRecord]:
        """What has arrived from `offset` on; nothing if nothing has, or if the partition is no longer held.

        Raises OffsetOutOfRange, LogUnavailable, and UnreadableBatch: of this partition nothing more can be
        read for now, of the others it can.
        """
        ...

    def end(self, topic: str, partition: int) -> int | None:
        """The end of the partition as far as this worker has heard; None before the first answer."""
        ...

    async def arrival(self, wanted: Sequence[tuple[str, int]], seconds: float) -> None:
        """Waits until a record of one of the (topic, partition) has arrived that lag, at most `seconds`.

        Raises OffsetOutOfRange, LogUnavailable, and LogStuck when the log has records and none ever comes.
        """
        ...

    async def commit(self, topic: str, partition: int, offset: int) -> None:
        """Notes the next offset for lag tools; nothing of the service reads it."""
        ...

    async def close(self) -> None:
        """Hands the partitions back; a second call does nothing."""
        ...
