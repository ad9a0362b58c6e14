"""The values that go into a log and come out of it, and the rules that every log engine shares."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from .errors import FutureTimestamp, UnknownTopic
from .partitioner import partition_for

Headers = tuple[tuple[str, bytes], ...]


# A tuple, not a frozen dataclass: readers make one per record of the hot topics, and this costs a third.
class LogRecord(NamedTuple):
    """One record as read. `timestamp_ms` is its event time, `appended_ms` the log's clock at its writing."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    appended_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRecord:
    """One record to append. Without `partition` the key decides, as Kafka's default partitioner does."""

    topic: str
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: Headers = ()
    partition: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSpec:
    """A topic to create. `retention_ms` -1 keeps records for ever."""

    name: str
    partitions: int
    cleanup: Literal["delete", "compact"]
    retention_ms: int = -1

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a topic needs a name")
        if self.partitions < 1:
            raise ValueError(f"topic {self.name!r} needs at least one partition, not {self.partitions}")


def place(record: NewRecord, partitions: int) -> int:
    """The partition that `record` goes to in a topic of `partitions`.

    Raises ValueError for a record with neither key nor partition, UnknownTopic for a partition out of range.
    """
    if record.partition is not None:
        if not 0 <= record.partition < partitions:
            raise UnknownTopic(record.topic, record.partition)
        return record.partition
    if record.key is None:
        raise ValueError(f"{record.topic}: a record without a key needs a partition")
    return partition_for(record.key, partitions)


def check_timestamps(records: Sequence[NewRecord], limit_ms: int) -> None:
    """Raises FutureTimestamp for a record later than `limit_ms`, ValueError for one before the epoch."""
    for record in records:
        if record.timestamp_ms > limit_ms:
            raise FutureTimestamp(record.topic, record.timestamp_ms, limit_ms)
        if record.timestamp_ms < 0:
            raise ValueError(f"{record.topic}: timestamp {record.timestamp_ms} is before the epoch")


def check_idempotence(producer: str | None, sequence: int | None) -> None:
    """Raises ValueError unless producer and sequence are given together."""
    if (producer is None) != (sequence is None):
        raise ValueError("an idempotent append needs both producer and sequence")


def check_read(max_records: int) -> None:
    """Raises ValueError unless a read asks for at least one record."""
    if max_records < 1:
        raise ValueError(f"a read needs max_records of at least 1, not {max_records}")
