"""A batch that nobody can decode: its partition waits for it, or for an operator; the others go on."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from consumers.health import Health
from consumers.log.feed import FixedFeed
from consumers.log.kafka import KafkaLog
from consumers.log.kafka_feed import KafkaFeed
from consumers.log.port import LogRecord, NewRecord, UnreadableBatch
from consumers.log.skips import Skips
from consumers.services.measuring import troubles_of
from consumers.services.skipping import NotSkipped, Skipping, skipped_of
from consumers.services.standing import StandingPartitions
from consumers.settings import KafkaSettings
from consumers.store.engine import Store
from consumers.workers.tally import TallyWorker
from schemas import Topics
from schemas.clock import from_ms
from schemas.events import Event
from schemas.outgoing import heartbeat, record_of
from tests.log.damage import Damage
from tests.log.kafka_prefixed import delete_topics
from tests.services.deployment import (
    LENGTH,
    POLICY,
    WALL_MS,
    Deployment,
    Rows,
    deployment,
    outcome,
    prediction,
)

WINDOWS = 12
LOST = range(4, 7)
"""Windows whose predictions come in one batch; that of partition 0 will be damaged."""


def batches(topics: Topics, partition: int) -> Iterator[list[NewRecord]]:
    """What becomes a batch each; the second holds `LOST`."""
    for windows in (range(LOST.start), LOST, range(LOST.stop, WINDOWS)):
        yield [placed(prediction(at, LENGTH * at), topics, partition) for at in windows]
    yield [placed(outcome(at, LENGTH * at + 900), topics, partition) for at in range(WINDOWS)]
    yield ends(topics, partition)


def placed(event: Event, topics: Topics, partition: int) -> NewRecord:
    made = record_of(event, topics, source="test")
    return NewRecord(
        topic=made.topic,
        key=made.key,
        value=made.value,
        timestamp_ms=made.timestamp_ms,
        headers=made.headers,
        partition=partition,
    )


def ends(topics: Topics, partition: int) -> list[NewRecord]:
    """Heartbeats long after everything."""
    hot = (topics.predictions, topics.outcomes)
    return [heartbeat(topic, partition, LENGTH * WINDOWS + 10_000) for topic in hot]


async def rows_of(folder: Path, migrated: Path, *, lost: bool) -> Rows:
    """The rows of a log that has all, or never had the `lost` records."""
    await asyncio.to_thread(folder.mkdir)
    async with deployment(folder, migrated, partitions=2) as where:
        for partition in range(2):
            for number, records in enumerate(batches(where.topics, partition)):
                if not (lost and (partition, number) == (0, 1)):
                    await where.log.append(records)
        await where.tallied()
        return await where.rows()


class Unreadable(FixedFeed):
    """Partition 0 of the embedded log, as far as a damaged batch lets it be read; and partition 1."""

    mended = False

    async def read(self, topic: str, partition: int, offset: int, max_records: int) -> Sequence[LogRecord]:
        if self.mended or partition or not topic.endswith("predictions"):
            return await super().read(topic, partition, offset, max_records)
        if offset == LOST.start:
            raise UnreadableBatch("log", topic, partition, offset, LOST.stop, "damaged")
        return await super().read(topic, partition, offset, min(max_records, LOST.start - offset))


async def test_a_partition_that_stands_is_left_alone_and_said_rarely(
    tmp_path: Path, migrated_file: Path
) -> None:
    wanted = await rows_of(tmp_path / "whole", migrated_file, lost=False)
    async with deployment(tmp_path, migrated_file, partitions=2) as where:
        for partition in range(2):
            for records in batches(where.topics, partition):
                await where.log.append(records)
        feed = Unreadable(where.log, range(2))
        worker = await where.tally(feed=feed)
        with capture_logs() as said:
            for _ in range(300):
                where.now_ms += 3_000
                await worker.step()
        # 15 minutes: at once, and again after ten
        assert [line["event"] for line in said].count("tally.unreadable") == 2
        assert of(1, await where.rows()) == of(1, wanted)
        assert of(0, await where.rows()) != of(0, wanted)
        feed.mended = True
        assert await worker.step() == 0, "it is not time yet"
        where.now_ms -= 60_000  # a clock that is set back keeps nobody waiting
        while await worker.step():
            pass
        assert worker.unreadable() == []
        assert await where.rows() == wanted
        assert await where.balanced()


@dataclass(slots=True, kw_only=True)
class Damaged:
    """A deployment on a real broker, of whose predictions a batch of partition 0 arrives damaged."""

    where: Deployment
    skips: Skips
    damage: Damage
    settings: KafkaSettings
    stack: AsyncExitStack

    async def tally(self) -> TallyWorker:
        topics = self.where.topics
        feed = await KafkaFeed.join(
            self.settings,
            self.where.log,
            (topics.predictions, topics.outcomes),
            f"{topics.prefix}tally",
            skips=self.skips,
        )
        self.stack.push_async_callback(feed.close)
        self.damage.of_feed(feed)
        return await self.where.tally(feed=feed, rest_passes=2)

    @property
    def skipping(self) -> Skipping:
        where = self.where
        return Skipping(
            store=where.store,
            log=where.log,
            topics=where.topics,
            group=f"{where.topics.prefix}tally",
            now=lambda: from_ms(where.now_ms),
        )


@pytest.fixture
async def damaged(kafka: str, topic_prefix: str, store: Store, tmp_path: Path) -> AsyncIterator[Damaged]:
    settings = KafkaSettings(bootstrap=kafka, session_timeout_s=6, request_timeout_s=20)
    skips = Skips(partial(skipped_of, store))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(delete_topics, kafka, topic_prefix)
        log = await KafkaLog.open(settings, now_ms=lambda: WALL_MS, prefix=topic_prefix, skips=skips)
        stack.push_async_callback(log.close)
        where = Deployment(
            folder=tmp_path,
            log=log,  # type: ignore[arg-type]
            store=store,
            policy=POLICY,
            partitions=2,
            topics=Topics(topic_prefix),
        )
        await log.create_topics(where.topics.specs(2))
        for partition in range(2):
            for records in batches(where.topics, partition):
                await log.append(records)
        damage = Damage((where.topics.predictions, 0, LOST.start))
        damage.of_log(log)
        yield Damaged(where=where, skips=skips, damage=damage, settings=settings, stack=stack)


async def stepped(worker: TallyWorker, where: Deployment, *, standing: int, rows: dict[int, int]) -> None:
    """Step until so many partitions stand still, and the others have so many rows."""
    async with asyncio.timeout(30):
        while True:
            await worker.step()
            counts = Counter(key[2] for key in await where.rows())
            if len(worker.unreadable()) == standing and all(counts[p] >= n for p, n in rows.items()):
                return


def of(partition: int, rows: Rows) -> Rows:
    return {key: row for key, row in rows.items() if key[2] == partition}


async def test_a_damaged_batch_stops_its_partition_only_until_it_is_skipped(
    damaged: Damaged, tmp_path: Path, migrated_file: Path
) -> None:
    without_lost = await rows_of(tmp_path / "without", migrated_file, lost=True)
    where, topic = damaged.where, damaged.where.topics.predictions
    all_rows = {partition: len(of(partition, without_lost)) for partition in range(2)}
    worker = await damaged.tally()
    with capture_logs() as said:
        await stepped(worker, where, standing=1, rows={1: len(of(1, without_lost))})
        (error,) = worker.unreadable()
        assert (error.topic, error.partition) == (topic, 0)
        assert (error.first_offset, error.next_offset) == (LOST.start, LOST.stop)
        for _ in range(20):
            where.now_ms += 1_000
            await worker.step()
            assert worker.unreadable() != []
    assert [line["event"] for line in said].count("tally.unreadable") == 1
    health = Health()
    health.expect("tally", dependencies=())
    health.stepped("tally", True)
    troubles = troubles_of(worker)
    assert troubles is not None
    health.troubles["tally"] = troubles
    (reason,) = health.unready()
    assert f"lifecycle topics skip {topic} --partition 0 --from 4 --to 7" in reason
    assert health.ill() == []
    assert of(1, await where.rows()) == of(1, without_lost)
    await worker.close()

    # the next holder, or this one started again, meets the same
    worker = await damaged.tally()
    await stepped(worker, where, standing=1, rows={})
    by = {"actor": "ada", "reason": "disk of broker 2"}
    for first, following in ((4, 6), (5, 7), (4, 8), (0, 4)):
        with pytest.raises(NotSkipped):
            await damaged.skipping.skip(topic, 0, first, following, **by)
    with pytest.raises(NotSkipped, match="stop every tally worker first"):
        await damaged.skipping.skip(topic, 0, 4, 7, **by)
    await worker.close()
    skipped = await damaged.skipping.skip(topic, 0, 4, 7, **by)
    assert skipped is not None
    assert skipped.tallied == 0
    assert await damaged.skipping.skip(topic, 0, 4, 7, **by) is None
    worker = await damaged.tally()
    # sound again, as on another replica: what is skipped stays so
    damaged.damage.batches.clear()
    where.now_ms += 5_000
    await stepped(worker, where, standing=0, rows=all_rows)
    assert await where.rows() == without_lost
    assert await where.balanced()
    assert {account.fates.get("skipped") for account in await where.accounts()} == {None, len(LOST)}
    assert await where.divergences() == 0
    await where.relayed()
    (letter,) = await where.dead_letters()
    headers = dict(letter.headers)
    assert (headers["topic"], headers["partition"], headers["offset"]) == (topic.encode(), b"0", b"4")
    assert headers["reason"].startswith(b"damaged batch: offsets to 6 skipped by ada (CorruptRecordException")
    assert letter.value is not None
    assert len(letter.value) > 61
    await worker.close()


async def test_a_batch_that_can_be_read_again_is_folded_as_if_nothing_had_been(
    damaged: Damaged, tmp_path: Path, migrated_file: Path
) -> None:
    wanted = await rows_of(tmp_path / "whole", migrated_file, lost=False)
    where, worker = damaged.where, await damaged.tally()
    await stepped(worker, where, standing=1, rows={1: len(of(1, wanted))})
    damaged.damage.batches.clear()
    where.now_ms += 5_000
    await stepped(worker, where, standing=0, rows={p: len(of(p, wanted)) for p in range(2)})
    assert await where.rows() == wanted
    assert await where.balanced()
    with pytest.raises(NotSkipped, match="offset 4 is not damaged"):
        await damaged.skipping.skip(where.topics.predictions, 0, 4, 7, actor="ada", reason="too late")
    await worker.close()


async def test_what_was_folded_before_it_was_damaged_is_accounted_for_once(
    damaged: Damaged, tmp_path: Path, migrated_file: Path
) -> None:
    wanted = await rows_of(tmp_path / "whole", migrated_file, lost=False)
    where, topic = damaged.where, damaged.where.topics.predictions
    batches, damaged.damage.batches = damaged.damage.batches, type(damaged.damage.batches)()
    worker = await damaged.tally()
    await stepped(worker, where, standing=0, rows={p: len(of(p, wanted)) for p in range(2)})
    await worker.close()
    damaged.damage.batches = batches
    skipped = await damaged.skipping.skip(topic, 0, 4, 7, actor="ada", reason="disk of broker 2")
    assert skipped is not None
    assert skipped.tallied == len(LOST)
    assert await where.rows() == wanted
    assert await where.balanced()
    (account,) = (
        each for each in await where.accounts() if (each.side, each.partition) == ("predictions", 0)
    )
    assert account.fates["tallied"] == WINDOWS
    assert "skipped" not in account.fates


def test_the_next_damaged_batch_of_a_partition_is_said_at_once() -> None:
    standing = StandingPartitions()
    with capture_logs() as said:
        for offset in (100, 100, 200, 200):
            error = UnreadableBatch("log", "lifecycle.predictions", 0, offset, offset + 10, "damaged")
            standing.stand(0, error, now_ms=5_000)
    assert [line["offset"] for line in said] == [100, 200]
