"""The feed of a log without consumer groups: every worker reads all partitions, or those it was given.

Two workers on one partition are harmless: whatever the second one writes is there already.
"""

from collections.abc import Sequence

from consumers.log.port import Assignment, EventLog, LogRecord


class FixedFeed:
    """PartitionFeed over any EventLog whose reads are strict: nothing comes only when nothing is there."""

    def __init__(self, log: EventLog, partitions: Sequence[int]) -> None:
        self._log = log
        self._assignment = Assignment(generation=1, partitions=tuple(partitions))
        self._ends: dict[tuple[str, int], int] = {}

    async def assignment(self) -> Assignment:
        return self._assignment

    async def read(self, topic: str, partition: int, offset: int, max_records: int) -> Sequence[LogRecord]:
        records = await self._log.read(topic, partition, offset, max_records)
        # more may be there already: that is found out by the next read
        self._ends[topic, partition] = records[-1].offset + 1 if records else offset
        return records

    def end(self, topic: str, partition: int) -> int | None:
        return self._ends.get((topic, partition))

    async def arrival(self, wanted: Sequence[tuple[str, int]], seconds: float) -> None:
        """Comes back at once: a strict read has nothing to wait for."""

    async def commit(self, topic: str, partition: int, offset: int) -> None:
        """Has no lag tools to please."""

    async def close(self) -> None:
        """Holds nothing of its own."""
