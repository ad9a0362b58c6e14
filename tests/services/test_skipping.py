"""What an operator may skip, where not even the header of what is damaged can be read."""

from datetime import datetime

import pytest

from consumers.log.memory import InMemoryLog
from consumers.log.port import (
    DEFAULT_MAX_BYTES,
    BatchedLog,
    DamagedBatch,
    LogRecord,
    NewRecord,
    UnreadableBatch,
)
from consumers.services.skipping import MOST_BYTES, NotSkipped, Skipping, skipped_of
from consumers.store.engine import Store
from consumers.store.repositories.outbox import OutboxRepository
from consumers.store.repositories.skipped import SkippedRepository
from schemas.topics import Topics
from tests.services.world import WALL

TOPICS = Topics()
BY = {"actor": "ada", "reason": "disk\0 of broker 2"}


class Headless(InMemoryLog):
    """Offsets 2 and 3 of partition 0 cannot be read, and nobody knows where that ends."""

    raw = b"rubbish"

    async def read(
        self, topic: str, partition: int, offset: int, max_records: int, max_bytes: int = DEFAULT_MAX_BYTES
    ) -> list[LogRecord]:
        if await self.damaged(topic, partition, offset) is not None:
            raise UnreadableBatch("memory", topic, partition, offset, None, "no header")
        return await super().read(topic, partition, offset, max_records, max_bytes)

    async def damaged(self, topic: str, partition: int, offset: int) -> DamagedBatch | None:
        if offset not in (2, 3):
            return None
        return DamagedBatch(first_offset=offset, next_offset=None, raw=self.raw, cause="no header")


async def skipping(log: InMemoryLog, store: Store) -> Skipping:
    def now() -> datetime:
        return WALL

    await log.create_topics(TOPICS.specs(1))
    records = [
        NewRecord(topic=TOPICS.outcomes, key=b"k", value=b"v", timestamp_ms=1, partition=0) for _ in range(6)
    ]
    await log.append(records)
    return Skipping(store=store, log=log, topics=TOPICS, now=now)


async def test_without_a_header_the_damage_ends_where_something_can_be_read(store: Store) -> None:
    log = Headless(now_ms=lambda: 10)
    assert isinstance(log, BatchedLog)
    service = await skipping(log, store)
    for following in (2, 3, 7):
        with pytest.raises(NotSkipped):
            await service.skip(TOPICS.outcomes, 0, 2, following, **BY)
    with pytest.raises(NotSkipped, match="offset 4 is not damaged"):
        await service.skip(TOPICS.outcomes, 0, 4, 5, **BY)
    assert await service.skip(TOPICS.outcomes, 0, 2, 4, **BY)
    assert not await service.skip(TOPICS.outcomes, 0, 2, 4, **BY)
    assert await skipped_of(store, TOPICS.outcomes, 0) == [(2, 4)]
    assert await skipped_of(store, TOPICS.predictions, 0) == []
    async with store.read() as session:
        (row,) = await SkippedRepository(session).all()
        (letter,) = await OutboxRepository(session).unsent(10)
    assert (row.actor, row.reason, row.recorded_at) == ("ada", "disk\ufffd of broker 2", WALL)
    assert letter.value == b"rubbish"
    assert dict(letter.headers)["reason"] == b"damaged batch: offsets to 3 skipped by ada (no header)"


async def test_of_a_batch_that_is_too_large_for_a_dead_letter_a_part_is_kept(store: Store) -> None:
    log = Headless(now_ms=lambda: 10)
    log.raw = bytes(MOST_BYTES + 1)
    service = await skipping(log, store)
    assert await service.skip(TOPICS.outcomes, 0, 2, 4, **BY)
    async with store.read() as session:
        (letter,) = await OutboxRepository(session).unsent(10)
    assert len(letter.value) == MOST_BYTES
    assert f"its first {MOST_BYTES} of {MOST_BYTES + 1} bytes".encode() in dict(letter.headers)["reason"]


async def test_a_log_without_batches_has_nothing_to_skip(store: Store) -> None:
    service = await skipping(InMemoryLog(now_ms=lambda: 10), store)
    with pytest.raises(NotSkipped, match="the embedded log has no batches"):
        await service.skip(TOPICS.outcomes, 0, 2, 4, **BY)
