"""What the rest of the service knows of a log."""

from collections.abc import Sequence
from typing import Protocol

from schemas.errors import (
    FutureTimestamp,
    LogError,
    LogUnavailable,
    OffsetOutOfRange,
    TopicMismatch,
    UnknownTopic,
)
from schemas.logfile import DEFAULT_MAX_BYTES
from schemas.logrecords import LogRecord, NewRecord, TopicSpec

__all__ = [
    "DEFAULT_MAX_BYTES",
    "EventLog",
    "FutureTimestamp",
    "LogError",
    "LogRecord",
    "LogUnavailable",
    "NewRecord",
    "OffsetOutOfRange",
    "TopicMismatch",
    "TopicSpec",
    "UnknownTopic",
]


class EventLog(Protocol):
    """A partitioned, append-only log. Delivery is at least once: whoever appends may append again.

    Offsets of a partition have no gaps. Every method raises LogUnavailable when the log cannot be used now;
    then nothing was written, unless the call was cancelled: a cancelled append may or may not be in the log.
    """

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Creates what is missing. Raises TopicMismatch, creating nothing, for another partition count."""
        ...

    async def topics(self) -> dict[str, TopicSpec]:
        """Every topic by name."""
        ...

    async def append(
        self, records: Sequence[NewRecord], *, producer: str | None = None, sequence: int | None = None
    ) -> list[tuple[int, int]] | None:
        """Writes all records or none; returns (partition, offset) of each in order.

        None, and nothing written, if `producer` has appended `sequence` or a later one before.
        Raises FutureTimestamp, UnknownTopic, or ValueError (neither key nor partition; before the epoch).
        """
        ...

    async def last_sequence(self, producer: str) -> int | None:
        """The last sequence that `producer` appended."""
        ...

    async def read(
        self, topic: str, partition: int, offset: int, max_records: int, max_bytes: int = DEFAULT_MAX_BYTES
    ) -> list[LogRecord]:
        """Records from `offset` on, at least one if there is one. Raises OffsetOutOfRange, UnknownTopic."""
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
