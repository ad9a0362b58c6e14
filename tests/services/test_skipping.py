"""What an operator may skip, where not even the header of what is damaged can be read."""

from datetime import datetime

import pytest

from consumers.log.memory import InMemoryLog
from consumers.log.port import (
    DEFAULT_MAX_BYTES,
    BatchedLog,
    DamagedBatch,
    LogRecord,
    LogRefused,
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
    return Skipping(store=store, log=log, topics=TOPICS, group="tally", now=now)


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
    assert await service.skip(TOPICS.outcomes, 0, 2, 4, **BY) is None
    with pytest.raises(NotSkipped, match="--from 2 --to 4 is skipped already"):
        await service.skip(TOPICS.outcomes, 0, 3, 4, **BY)
    assert await log.position("tally", TOPICS.outcomes, 0) == 4
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


async def test_an_order_that_cannot_be_kept_is_refused(store: Store) -> None:
    service = await skipping(Headless(now_ms=lambda: 10), store)
    for actor in ("", "x" * 129, "a\0b"):
        with pytest.raises(NotSkipped, match="--actor must have 1 to 128 characters"):
            await service.skip(TOPICS.outcomes, 0, 2, 4, actor=actor, reason="disk")
    with pytest.raises(NotSkipped, match=r"only batches of lifecycle\.predictions"):
        await service.skip(TOPICS.model_promoted, 0, 2, 4, **BY)


class Read(Headless):
    """While it has members nobody may move a group's position."""

    members = True

    async def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        if self.members:
            raise LogRefused("memory", f"group {group} has members: stop them first")
        await super().commit(group, topic, partition, offset)


async def test_while_a_tally_worker_may_go_on_with_the_records_nothing_is_skipped(store: Store) -> None:
    log = Read(now_ms=lambda: 10)
    service = await skipping(log, store)
    with pytest.raises(NotSkipped, match="stop every tally worker first"):
        await service.skip(TOPICS.outcomes, 0, 2, 4, **BY)
    async with store.read() as session:
        assert await SkippedRepository(session).all() == []
        assert await OutboxRepository(session).unsent(10) == []
    log.members = False
    assert await service.skip(TOPICS.outcomes, 0, 2, 4, **BY)
