"""The embedded log for the event loop: the file's blocking calls run in threads, one at a time."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from schemas.logfile import DEFAULT_MAX_BYTES, LogFile
from schemas.logrecords import LogRecord, NewRecord, TopicSpec


class EmbeddedLog:
    """SequencedLog over a LogFile; contracts and errors are those of LogFile."""

    def __init__(self, file: LogFile) -> None:
        self._file = file
        # a waiting task costs nothing, a waiting thread occupies the pool that the whole process shares
        self._turn = asyncio.Lock()

    @classmethod
    async def open(
        cls,
        path: str | Path,
        *,
        now_ms: Callable[[], int],
        future_ms: int = 60_000,
        busy_timeout_s: float = 30,
        fsync: bool = False,
    ) -> "EmbeddedLog":
        """The log at `path`, created if missing. Raises LogUnavailable."""
        file = await asyncio.to_thread(
            LogFile, path, now_ms=now_ms, future_ms=future_ms, busy_timeout_s=busy_timeout_s, fsync=fsync
        )
        return cls(file)

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        async with self._turn:
            await asyncio.to_thread(self._file.create_topics, specs)

    async def topics(self) -> dict[str, TopicSpec]:
        async with self._turn:
            return await asyncio.to_thread(self._file.topics)

    async def topic_ids(self) -> dict[str, str]:
        return {}  # nothing deletes a topic from the file

    async def append(self, records: Sequence[NewRecord]) -> list[tuple[int, int]]:
        async with self._turn:
            return await asyncio.to_thread(self._file.append, records) or []

    async def append_once(
        self, records: Sequence[NewRecord], *, producer: str, sequence: int
    ) -> list[tuple[int, int]] | None:
        async with self._turn:
            return await asyncio.to_thread(self._file.append, records, producer=producer, sequence=sequence)

    async def last_sequence(self, producer: str) -> int | None:
        async with self._turn:
            return await asyncio.to_thread(self._file.last_sequence, producer)

    async def read(
        self, topic: str, partition: int, offset: int, max_records: int, max_bytes: int = DEFAULT_MAX_BYTES
    ) -> list[LogRecord]:
        async with self._turn:
            return await asyncio.to_thread(self._file.read, topic, partition, offset, max_records, max_bytes)

    async def begin(self, topic: str, partition: int) -> int:
        async with self._turn:
            return await asyncio.to_thread(self._file.begin, topic, partition)

    async def end(self, topic: str, partition: int) -> int:
        async with self._turn:
            return await asyncio.to_thread(self._file.end, topic, partition)

    async def position(self, group: str, topic: str, partition: int) -> int | None:
        async with self._turn:
            return await asyncio.to_thread(self._file.position, group, topic, partition)

    async def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        async with self._turn:
            await asyncio.to_thread(self._file.commit, group, topic, partition, offset)

    async def delete_before(self, topic: str, partition: int, offset: int) -> int:
        async with self._turn:
            return await asyncio.to_thread(self._file.delete_before, topic, partition, offset)

    async def close(self) -> None:
        async with self._turn:
            await asyncio.to_thread(self._file.close)
