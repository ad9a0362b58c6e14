"""The tally worker's view of a consumer group, on a real broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.protocol.produce import ProduceRequest

from consumers.log.kafka import KafkaLog
from consumers.log.kafka_feed import KafkaFeed
from consumers.log.port import (
    LogRecord,
    LogStuck,
    LogUnavailable,
    NewRecord,
    OffsetOutOfRange,
    TopicMismatch,
    UnreadableBatch,
)
from consumers.log.skips import Skips
from consumers.settings import KafkaSettings
from schemas.topics import Topics
from tests.log.conformance import NOW
from tests.log.damage import Damage
from tests.log.test_kafka import foreign_batch

PARTITIONS = 4
SOON_S = 20.0


class Broker:
    """One deployment's topics, and members of a group that reads them."""

    def __init__(self, settings: KafkaSettings, log: KafkaLog, topics: Topics, stack: AsyncExitStack) -> None:
        self.settings, self.log, self.topics = settings, log, topics
        self._stack = stack

    async def member(self, skips: Skips | None = None, **changed: Any) -> KafkaFeed:
        settings = self.settings.model_copy(update=changed)
        hot = (self.topics.predictions, self.topics.outcomes)
        feed = await KafkaFeed.join(
            settings, self.log, hot, f"{self.topics.prefix}tally", commit_every_s=0.05, skips=skips
        )
        self._stack.push_async_callback(feed.close)
        return feed

    async def fill(self, partition: int, *keys: str, topic: str | None = None) -> None:
        topic = topic or self.topics.predictions
        await self.log.append(
            [
                NewRecord(topic=topic, key=key.encode(), value=b"v", timestamp_ms=NOW, partition=partition)
                for key in keys
            ]
        )


@asynccontextmanager
async def broker_of(kafka: str, prefix: str) -> AsyncIterator[Broker]:
    settings = KafkaSettings(bootstrap=kafka, session_timeout_s=6, request_timeout_s=20)
    async with AsyncExitStack() as stack:
        log = await KafkaLog.open(settings, now_ms=lambda: NOW, future_ms=60_000)
        stack.push_async_callback(log.close)
        topics = Topics(prefix)
        await log.create_topics(topics.specs(PARTITIONS))
        yield Broker(settings, log, topics, stack)


@pytest.fixture
async def broker(kafka: str, topic_prefix: str) -> AsyncIterator[Broker]:
    async with broker_of(kafka, topic_prefix) as opened:
        yield opened


async def held(feed: KafkaFeed, count: int) -> tuple[int, ...]:
    """The partitions of `feed`, once they are `count`; the group moves on only while its members poll."""
    async with asyncio.timeout(SOON_S):
        while len(partitions := (await feed.assignment()).partitions) != count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return partitions


async def taken(feed: KafkaFeed, topic: str, partition: int, offset: int, count: int) -> list[LogRecord]:
    """The next `count` records from `offset` on."""
    found: list[LogRecord] = []
    async with asyncio.timeout(SOON_S):
        while len(found) < count:
            records = await feed.read(topic, partition, offset + len(found), 2)
            found += records
            if not records:
                await feed.arrival([(topic, partition)], 0.5)
    return found[:count]


async def test_a_member_alone_holds_all_and_reads_from_where_it_asks(broker: Broker) -> None:
    topic = broker.topics.predictions
    await broker.fill(1, "a", "b", "c", "d")
    feed = await broker.member()
    assert await held(feed, PARTITIONS) == (0, 1, 2, 3)
    found = await taken(feed, topic, 1, 1, 3)
    assert [(one.offset, one.key) for one in found] == [(1, b"b"), (2, b"c"), (3, b"d")]
    assert feed.end(topic, 1) == 4
    assert await feed.read(topic, 1, 4, 10) == []
    assert found == await broker.log.read(topic, 1, 1, 10), "the feed and the log give equal records"
    # back again, as after a failed commit
    assert [one.key for one in await taken(feed, topic, 1, 0, 2)] == [b"a", b"b"]


async def test_two_members_share_and_partition_i_of_both_topics_is_with_one(broker: Broker) -> None:
    first = await broker.member()
    await held(first, PARTITIONS)
    second = await broker.member()
    mine, yours = await asyncio.gather(held(first, 2), held(second, 2))
    assert sorted((*mine, *yours)) == [0, 1, 2, 3]
    await broker.fill(mine[0], "p")
    await broker.fill(mine[0], "o", topic=broker.topics.outcomes)
    assert [one.key for one in await taken(first, broker.topics.predictions, mine[0], 0, 1)] == [b"p"]
    assert [one.key for one in await taken(first, broker.topics.outcomes, mine[0], 0, 1)] == [b"o"]
    assert await second.read(broker.topics.predictions, mine[0], 0, 10) == [], "it is the other one's"
    await first.close()
    assert await held(second, PARTITIONS) == (0, 1, 2, 3)


async def test_reading_goes_on_at_the_asked_offset_after_a_change_of_hands(broker: Broker) -> None:
    topic = broker.topics.predictions
    first = await broker.member()
    partition = (await held(first, PARTITIONS))[0]
    await broker.fill(partition, "a", "b", "c", "d")
    read = await taken(first, topic, partition, 0, 2)
    second = await broker.member()
    await asyncio.gather(held(first, 2), held(second, 2))
    holder = first if partition in (await first.assignment()).partitions else second
    read += await taken(holder, topic, partition, 2, 2)
    assert [one.offset for one in read] == [0, 1, 2, 3]


async def test_what_waits_for_a_reader_is_dropped_when_it_reads_elsewhere(broker: Broker) -> None:
    topic = broker.topics.predictions
    await broker.fill(0, "a", "b", "c")
    feed = await broker.member()
    await held(feed, PARTITIONS)
    await feed.read(topic, 0, 2, 1)
    await feed.arrival([(topic, 0)], 5)
    assert [one.offset for one in await taken(feed, topic, 0, 0, 3)] == [0, 1, 2]


async def test_offsets_are_noted_for_lag_tools_and_never_read_back(broker: Broker) -> None:
    topic, group = broker.topics.predictions, f"{broker.topics.prefix}tally"
    await broker.fill(0, "a", "b", "c")
    feed = await broker.member()
    await held(feed, PARTITIONS)
    await taken(feed, topic, 0, 0, 3)
    async with asyncio.timeout(SOON_S):
        while await broker.log.position(group, topic, 0) != 3:
            await feed.commit(topic, 0, 3)
            await asyncio.sleep(0.06)
    await feed.close()
    again = await broker.member()
    await held(again, PARTITIONS)
    assert [one.offset for one in await taken(again, topic, 0, 1, 2)] == [1, 2]


async def test_an_offset_outside_the_log_is_said_and_never_jumped_over(broker: Broker) -> None:
    topic = broker.topics.predictions
    await broker.fill(0, "a", "b", "c")
    await broker.log.delete_before(topic, 0, 2)
    feed = await broker.member()
    await held(feed, PARTITIONS)
    for offset in (0, 7):
        with pytest.raises(OffsetOutOfRange) as refused:
            await taken(feed, topic, 0, offset, 1)
        assert (refused.value.offset, refused.value.begin, refused.value.end) == (offset, 2, 3)
    assert [one.key for one in await taken(feed, topic, 0, 2, 1)] == [b"c"]


async def nothing(*_: object, **__: object) -> dict[object, object]:
    await asyncio.sleep(0.01)
    return {}


async def test_a_reader_that_gets_nothing_while_records_wait_is_stuck(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = broker.topics.predictions
    feed = await broker.member()
    await held(feed, PARTITIONS)
    feed._settings = feed._settings.model_copy(update={"stuck_after_s": 0.3})
    await broker.fill(1, "flows")
    await taken(feed, topic, 1, 0, 1)
    await feed.read(topic, 0, 0, 1)
    await feed.arrival([(topic, 0)], 1.0)
    for _ in range(5):  # nothing is there: nothing is wrong
        await feed.read(topic, 0, 0, 1)
        await asyncio.sleep(0.1)
    await broker.fill(0, "a")
    monkeypatch.setattr(feed._consumer, "getmany", nothing)
    monkeypatch.setattr(feed._consumer, "highwater", lambda place: 1)

    async def read_on() -> None:
        for _ in range(20):
            await feed.read(topic, 0, 0, 1)
            # what another partition brings does not hide that this one stands still
            await feed.read(topic, 1, 1, 1)
            await asyncio.sleep(0.05)

    with pytest.raises(LogStuck, match=r"predictions\[0\].*start the process again"):
        await read_on()


async def test_a_group_that_never_shares_out_its_partitions_is_stuck(broker: Broker) -> None:
    feed = await broker.member()
    await held(feed, PARTITIONS)
    feed._settings = feed._settings.model_copy(update={"stuck_after_s": 0.1})
    feed.on_partitions_revoked([])
    await feed.assignment()
    await asyncio.sleep(0.2)
    with pytest.raises(LogStuck, match="the group of"):
        await feed.assignment()


async def test_topics_that_no_longer_have_equal_counts_end_every_member(broker: Broker) -> None:
    feed = await broker.member()
    await held(feed, PARTITIONS)
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.settings.bootstrap)
    await admin.start()
    await admin.create_partitions({broker.topics.predictions: NewPartitions(total_count=6)})
    await admin.close()
    every = [TopicPartition(broker.topics.predictions, at) for at in range(3)]
    feed.on_partitions_assigned([])
    assert (await feed.assignment()).partitions == ()
    feed._consumer.pause = lambda *_: None
    feed.on_partitions_assigned([*every, TopicPartition(broker.topics.outcomes, 0)])
    with pytest.raises(TopicMismatch):
        await feed.assignment()


async def test_a_coordinator_that_is_away_keeps_no_record_waiting(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = await broker.member()
    await held(feed, PARTITIONS)

    async def never(_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(feed._consumer, "commit", never)
    async with asyncio.timeout(1):
        for offset in range(5):
            await feed.commit(broker.topics.predictions, 0, offset)
            await asyncio.sleep(0.06)


async def test_brokers_that_are_not_there_are_unavailable() -> None:
    settings = KafkaSettings(bootstrap="127.0.0.1:1", session_timeout_s=1, request_timeout_s=2)
    with pytest.raises(LogUnavailable, match=r"127\.0\.0\.1:1"):
        await KafkaFeed.join(settings, None, ("a", "b"), "g")  # type: ignore[arg-type]


async def test_a_closed_feed_is_unavailable(broker: Broker) -> None:
    feed = await broker.member()
    await feed.close()
    await feed.close()
    with pytest.raises(LogUnavailable):
        await feed.assignment()


async def test_a_header_s_name_that_is_not_utf_8_stops_nobody(broker: Broker) -> None:
    topic = broker.topics.predictions
    await broker.fill(0, "a", "b")
    request = ProduceRequest(None, -1, 5_000, [(topic, [(0, foreign_batch(NOW))])])
    for _ in range(2):
        await broker.log._brokers.ask(request, await broker.log._brokers.leader(topic, 0))
    await broker.fill(0, "c", "d")
    feed = await broker.member()
    await held(feed, PARTITIONS)
    found = await taken(feed, topic, 0, 0, 6)
    assert [(one.offset, one.key) for one in found] == list(enumerate([b"a", b"b", b"k", b"k", b"c", b"d"]))
    assert found[2].headers == (("\\xffame", b""),)
    await broker.fill(0, "e")
    assert [one.key for one in await taken(feed, topic, 0, 6, 1)] == [b"e"]


async def test_a_damaged_batch_is_named_to_who_reads_it_and_others_read_on(broker: Broker) -> None:
    topic = broker.topics.predictions
    await broker.fill(0, "a", "b")
    await broker.fill(0, "c", "d")
    await broker.fill(0, "e")
    damage = Damage((topic, 0, 2))
    damage.of_log(broker.log)
    skipped: list[tuple[int, int]] = []

    async def provider(name: str, partition: int) -> list[tuple[int, int]]:
        return skipped if (name, partition) == (topic, 0) else []

    feed = await broker.member(skips=Skips(provider))
    damage.of_feed(feed)
    await held(feed, PARTITIONS)
    assert [one.key for one in await taken(feed, topic, 0, 0, 2)] == [b"a", b"b"]
    for key in ("x", "y"):
        with pytest.raises(UnreadableBatch, match=r"--partition 0 --from 2 --to 4"):
            await taken(feed, topic, 0, 2, 1)
        await broker.fill(1, key)
    # asked for together, the damaged one keeps nobody waiting
    await feed.read(topic, 0, 2, 10)
    found: list[LogRecord] = []
    async with asyncio.timeout(SOON_S):
        while len(found) < 2:
            await feed.arrival([(topic, 0), (topic, 1)], 0.5)
            found += await feed.read(topic, 1, len(found), 10)
    assert [one.key for one in found] == [b"x", b"y"]
    skipped.append((2, 4))
    await feed.read(topic, 0, 0, 1)  # sought: the feed looks for what is skipped
    assert [one.offset for one in await taken_past(feed, topic, 0, 3)] == [0, 1, 4]
    damage.batches.clear()
    again = await broker.member(skips=Skips(provider))
    await feed.close()
    await held(again, PARTITIONS)
    assert [one.offset for one in await taken_past(again, topic, 0, 3)] == [0, 1, 4], "sound, and skipped"


async def test_a_log_that_ends_in_what_is_skipped_is_at_its_end(broker: Broker) -> None:
    topic = broker.topics.predictions
    await broker.fill(0, "a", "b")
    await broker.fill(0, "c", "d")

    async def provider(name: str, partition: int) -> list[tuple[int, int]]:
        return [(2, 4)] if (name, partition) == (topic, 0) else []

    feed = await broker.member(skips=Skips(provider))
    await held(feed, PARTITIONS)
    assert [one.offset for one in await taken_past(feed, topic, 0, 2)] == [0, 1]
    async with asyncio.timeout(SOON_S):
        while feed.end(topic, 0) != 2:
            assert await feed.read(topic, 0, 2, 10) == []
            await feed.arrival([(topic, 0)], 0.1)
    await broker.fill(0, "e")
    async with asyncio.timeout(SOON_S):
        while not (found := await feed.read(topic, 0, 2, 10)):
            await feed.arrival([(topic, 0)], 0.5)
    assert [(one.offset, one.key) for one in found] == [(4, b"e")]


async def taken_past(feed: KafkaFeed, topic: str, partition: int, count: int) -> list[LogRecord]:
    """As `taken`, where offsets have gaps."""
    found: list[LogRecord] = []
    async with asyncio.timeout(SOON_S):
        while len(found) < count:
            records = await feed.read(topic, partition, found[-1].offset + 1 if found else 0, 10)
            found += records
            if not records:
                await feed.arrival([(topic, partition)], 0.5)
    return found
