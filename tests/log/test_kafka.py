"""The log on Kafka: held to the port, and to what real brokers do besides."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from consumers.log.kafka import KafkaLog
from consumers.log.kafka_wire import AlterTopicsRequest
from consumers.log.port import (
    EventLog,
    FutureTimestamp,
    LogRefused,
    LogUnavailable,
    NewRecord,
    OffsetOutOfRange,
    RecordTooLarge,
    TopicSpec,
    UnknownTopic,
    UnreadableBatch,
)
from consumers.log.skips import Skips
from consumers.settings import KafkaSettings

from .conformance import FOUR, ONE, Clock, EventLogConformance
from .damage import Damage
from .kafka_prefixed import PrefixedLog, kafka_log, until, wall_ms


class TestKafkaLog(EventLogConformance):
    keeps_append_time: ClassVar[bool] = False

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    async def log(self, clock: Clock, kafka: str, topic_prefix: str) -> AsyncIterator[EventLog]:
        async with kafka_log(kafka, topic_prefix, now_ms=clock) as opened:
            log = PrefixedLog(opened, topic_prefix)
            await log.create_topics([ONE, FOUR])
            yield log


@pytest.fixture
async def log(kafka: str, topic_prefix: str) -> AsyncIterator[KafkaLog]:
    async with kafka_log(kafka, topic_prefix) as log:
        yield log


@pytest.fixture
async def topic(log: KafkaLog, topic_prefix: str) -> str:
    """A topic of two partitions."""
    name = f"{topic_prefix}two"
    await log.create_topics([TopicSpec(name=name, partitions=2, cleanup="delete")])
    return name


@pytest.fixture
async def admin(kafka: str) -> AsyncIterator[Any]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    yield admin
    await admin.close()


def numbered(topic: str, count: int, *, size: int = 0, partition: int | None = 0) -> list[NewRecord]:
    at = wall_ms()
    return [
        NewRecord(topic=topic, key=f"{n}".encode(), value=bytes(size), timestamp_ms=at, partition=partition)
        for n in range(count)
    ]


async def keys(log: KafkaLog, topic: str, partition: int = 0, step: int = 1_000) -> list[bytes | None]:
    """Every key of a partition, by reads of at most `step`; an empty read is the end."""
    found: list[bytes | None] = []
    offset = await log.begin(topic, partition)
    while batch := await log.read(topic, partition, offset, step):
        found += [record.key for record in batch]
        offset = batch[-1].offset + 1
    return found


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_many_records_of_every_codec_keep_their_order(
    kafka: str, topic_prefix: str, topic: str, compression: Any
) -> None:
    settings = KafkaSettings(bootstrap=kafka, compression=compression, fetch_bytes=64 << 10)
    log = await KafkaLog.open(settings, now_ms=wall_ms, prefix=topic_prefix)
    records = numbered(topic, 20_000, size=60, partition=None)
    places = await log.append(records)
    for partition in (0, 1):
        mine = [
            (offset, new.key) for (at, offset), new in zip(places, records, strict=True) if at == partition
        ]
        assert [offset for offset, _ in mine] == list(range(len(mine)))
        assert await keys(log, topic, partition, step=777) == [key for _, key in mine]
    await log.close()


async def test_tasks_share_one_log(log: KafkaLog, topic: str) -> None:
    async def append(number: int) -> None:
        await log.append([replace(new, partition=number % 2) for new in numbered(topic, 20)])

    await asyncio.gather(*map(append, range(20)))
    left, right = await asyncio.gather(keys(log, topic, 0, step=7), keys(log, topic, 1, step=11))
    assert (len(left), len(right)) == (200, 200)
    both = await asyncio.gather(*(keys(log, topic, 0, step=13) for _ in range(5)))
    assert all(each == left for each in both)


async def test_the_brokers_refuse_the_future_themselves(log: KafkaLog, topic: str, kafka: str) -> None:
    careless = await KafkaLog.open(KafkaSettings(bootstrap=kafka), now_ms=wall_ms, future_ms=3_600_000)
    late = NewRecord(topic=topic, key=b"late", value=b"", timestamp_ms=wall_ms() + 600_000, partition=0)
    with pytest.raises(FutureTimestamp) as caught:
        await careless.append([*numbered(topic, 3), late])
    assert caught.value.timestamp_ms == late.timestamp_ms
    assert await log.end(topic, 0) == 0
    assert await careless.append(numbered(topic, 1)) == [(0, 0)]
    await careless.close()


async def test_a_producer_that_the_brokers_no_longer_follow_is_replaced(log: KafkaLog, topic: str) -> None:
    await log.append(numbered(topic, 3))
    identity = log._producer._identity
    log._producer._sequences[topic, 0] += 1_000
    assert await log.append(numbered(topic, 2)) == [(0, 3), (0, 4)]
    assert log._producer._identity not in (None, identity)


async def test_a_lost_answer_does_not_write_twice(
    log: KafkaLog, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.append(numbered(topic, 1))
    ask = log._brokers.ask
    lost: list[Any] = []

    async def forgetful(request: Any, node: int | None = None) -> Any:
        answer = await ask(request, node)
        if not lost and type(request).__name__ == "ProduceRequest":
            lost.append(answer)
            raise KafkaConnectionError("the answer is lost")
        return answer

    monkeypatch.setattr(log._brokers, "ask", forgetful)
    assert await log.append(numbered(topic, 5)) == [(0, offset) for offset in range(1, 6)]
    assert lost
    assert len(await keys(log, topic)) == 6


async def test_after_a_cancelled_append_nothing_that_follows_is_lost(log: KafkaLog, topic: str) -> None:
    written = 0
    for milliseconds in (0, 0.5, 1, 2, 4):
        cancelled = asyncio.create_task(log.append(numbered(topic, 500, size=100)))
        await asyncio.sleep(milliseconds / 1_000)
        cancelled.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await cancelled
        offsets = [offset for _, offset in await log.append(numbered(topic, 7))]
        found = await log.read(topic, 0, offsets[0], 7)
        assert [record.key for record in found] == [b"%d" % number for number in range(7)]
        written += 7
    assert len(await keys(log, topic)) >= written


async def test_a_record_that_is_too_large_names_the_setting_and_a_batch_is_split(
    log: KafkaLog, topic: str, topic_prefix: str, kafka: str
) -> None:
    await log._brokers.ask(AlterTopicsRequest({topic: {"max.message.bytes": "20000"}}))
    plain = await KafkaLog.open(KafkaSettings(bootstrap=kafka, compression="none"), now_ms=wall_ms)

    async def is_refused() -> bool:
        try:
            await plain.append(numbered(topic, 1, size=30_000, partition=1))
        except RecordTooLarge as refused:
            return refused.topic == topic and "max.message.bytes" in str(refused)
        return False

    await until(is_refused)  # the broker takes a new limit in its own time
    written = await plain.append(numbered(topic, 50, size=3_000))
    assert [offset for _, offset in written] == list(range(50))
    assert await keys(plain, topic) == [b"%d" % number for number in range(50)]
    await plain.close()


async def test_offsets_that_hold_no_record_are_passed_over(log: KafkaLog, topic: str, kafka: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=topic)
    await producer.start()
    for number in range(3):
        async with producer.transaction():
            await producer.send(topic, f"{number}".encode(), partition=0)
    await producer.stop()

    async def is_marked() -> bool:
        return await log.end(topic, 0) == 6

    await until(is_marked)  # the last marker is written after the commit is answered
    assert [record.offset for record in await log.read(topic, 0, 0, 10)] == [0, 2, 4]
    assert [record.offset for record in await log.read(topic, 0, 1, 1)] == [2]
    assert await log.read(topic, 0, 5, 10) == []
    with pytest.raises(OffsetOutOfRange):
        await log.read(topic, 0, 7, 10)


def foreign_batch(timestamp_ms: int) -> bytes:
    """One record with a header whose name is no UTF-8, as clients in C can write it."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, 1 << 20)
    builder.append(0, timestamp_ms, b"k", b"v", [("name", b"")])
    batch = bytearray(builder.build().replace(b"name", b"\xffame"))
    # the checksum stands before what it covers
    batch[17:21] = calc_crc32c(bytes(batch[21:])).to_bytes(4, "big")
    return bytes(batch)


async def foreign(log: KafkaLog, topic: str) -> None:
    """Append a foreign batch to partition 0."""
    request = ProduceRequest(None, -1, 5_000, [(topic, [(0, foreign_batch(wall_ms()))])])
    await log._brokers.ask(request, await log._brokers.leader(topic, 0))


async def test_a_header_s_name_that_is_not_utf_8_hides_no_record(log: KafkaLog, topic: str) -> None:
    await log.append(numbered(topic, 2))
    await foreign(log, topic)
    await foreign(log, topic)
    await log.append(numbered(topic, 1))
    found = await log.read(topic, 0, 0, 10)
    while len(found) < 5:
        found += await log.read(topic, 0, found[-1].offset + 1, 10)
    assert [(one.offset, one.key) for one in found] == list(enumerate([b"0", b"1", b"k", b"k", b"0"]))
    assert found[2].headers == (("\\xffame", b""),)
    assert await log.read(topic, 0, 3, 1) == found[3:4]
    assert await log.damaged(topic, 0, 2) is None


async def test_a_damaged_batch_is_named_and_hides_no_other(log: KafkaLog, topic: str) -> None:
    for count in (2, 3, 1):
        await log.append(numbered(topic, count))
    Damage((topic, 0, 2)).of_log(log)
    assert [record.offset for record in await log.read(topic, 0, 0, 10)] == [0, 1]
    for offset in (2, 3):
        with pytest.raises(UnreadableBatch, match=r"topics skip .* --partition 0 --from 2 --to 5") as caught:
            await log.read(topic, 0, offset, 10)
        assert (caught.value.first_offset, caught.value.next_offset) == (2, 5)
    assert [record.offset for record in await log.read(topic, 0, 5, 10)] == [5]
    damaged = await log.damaged(topic, 0, 3)
    assert damaged is not None
    assert (damaged.first_offset, damaged.next_offset) == (2, 5)
    assert b"2" in damaged.raw
    assert "CRC" in damaged.cause
    assert await log.damaged(topic, 0, 5) is None


async def test_what_is_skipped_is_read_by_nobody_sound_or_not(
    kafka: str, topic_prefix: str, topic: str
) -> None:
    skipped: list[tuple[int, int]] = []

    async def provider(name: str, partition: int) -> list[tuple[int, int]]:
        return skipped if (name, partition) == (topic, 0) else []

    settings = KafkaSettings(bootstrap=kafka, fetch_bytes=64 << 10)
    log = await KafkaLog.open(settings, now_ms=wall_ms, prefix=topic_prefix, skips=Skips(provider))
    for count in (2, 3, 1, 4):
        await log.append(numbered(topic, count))
    damage = Damage((topic, 0, 2), (topic, 0, 6))
    damage.of_log(log)
    with pytest.raises(UnreadableBatch):
        await log.read(topic, 0, 2, 10)
    skipped.append((2, 5))
    for offset in (2, 3, 5):
        assert [record.offset for record in await log.read(topic, 0, offset, 10)] == [5]
    skipped.append((6, 10))
    assert await log.read(topic, 0, 6, 10) == []
    damage.batches.clear()
    for step in (1, 2, 3, 10):
        found, at = [], 0
        while batch := await log.read(topic, 0, at, step):
            found += [record.offset for record in batch]
            at = found[-1] + 1
        assert found == [0, 1, 5]
    await log.close()


async def test_a_topic_that_is_made_anew_has_another_id_and_its_own_records(
    log: KafkaLog, topic: str, admin: Any
) -> None:
    await log.append(numbered(topic, 10))
    before = (await log.topic_ids())[topic]
    assert len(await log.read(topic, 0, 0, 5)) == 5
    await admin.delete_topics([topic])

    async def is_gone() -> bool:
        return topic not in await log.topic_ids()

    await until(is_gone)
    # what was fetched is still there; the next fetch finds out
    assert len(await log.read(topic, 0, 5, 100)) == 5
    with pytest.raises(UnknownTopic):
        await log.read(topic, 0, 10, 5)
    with pytest.raises(UnknownTopic):
        await log.append(numbered(topic, 1))
    await log.create_topics([TopicSpec(name=topic, partitions=2, cleanup="delete")])
    assert (await log.topic_ids())[topic] != before
    with pytest.raises(OffsetOutOfRange) as caught:
        await log.read(topic, 0, 10, 5)
    assert (caught.value.begin, caught.value.end) == (0, 0)
    assert await log.append(numbered(topic, 1)) == [(0, 0)]
    assert await keys(log, topic) == [b"0"]


async def test_a_group_with_members_keeps_its_positions(
    log: KafkaLog, topic: str, topic_prefix: str, kafka: str
) -> None:
    group = f"{topic_prefix}group"
    await log.commit(group, topic, 0, 3)
    member = AIOKafkaConsumer(topic, bootstrap_servers=kafka, group_id=group, enable_auto_commit=False)
    await member.start()
    assert await member.committed(TopicPartition(topic, 0)) == 3
    with pytest.raises(LogRefused, match="has members"):
        await log.commit(group, topic, 0, 5)
    await member.stop()
    await log.commit(group, topic, 0, 5)
    assert await log.position(group, topic, 0) == 5


async def test_a_compacted_topic_is_not_cut(log: KafkaLog, topic_prefix: str) -> None:
    name = f"{topic_prefix}compacted"
    await log.create_topics([TopicSpec(name=name, partitions=1, cleanup="compact")])
    await log.append(numbered(name, 3))
    with pytest.raises(LogRefused, match="policy"):
        await log.delete_before(name, 0, 2)


async def test_brokers_that_are_not_there_are_said_to_be_so_at_once() -> None:
    began = time.monotonic()
    with pytest.raises(LogUnavailable, match=r"no broker answers: check kafka\.bootstrap"):
        await KafkaLog.open(KafkaSettings(bootstrap="127.0.0.1:1"), now_ms=wall_ms)
    assert time.monotonic() - began < 5


async def test_a_record_without_a_key_is_none_for_a_compacted_topic(log: KafkaLog, topic_prefix: str) -> None:
    name = f"{topic_prefix}compacted"
    await log.create_topics([TopicSpec(name=name, partitions=1, cleanup="compact")])
    began = time.monotonic()
    with pytest.raises(LogRefused, match="no such record"):
        await log.append([NewRecord(topic=name, key=None, value=b"", timestamp_ms=wall_ms(), partition=0)])
    assert time.monotonic() - began < 5
