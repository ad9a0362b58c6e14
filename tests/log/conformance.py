"""What every EventLog does. One class per engine inherits it and gives `log` and `clock`."""

from collections.abc import Sequence
from typing import ClassVar

import pytest

from consumers.log.port import (
    EventLog,
    FutureTimestamp,
    LogUnavailable,
    NewRecord,
    OffsetOutOfRange,
    SequencedLog,
    TopicMismatch,
    TopicSpec,
    UnknownTopic,
)
from schemas.partitioner import partition_for

NOW = 1_700_000_000_000
ONE = TopicSpec(name="one", partitions=1, cleanup="delete")
FOUR = TopicSpec(name="four", partitions=4, cleanup="compact", retention_ms=86_400_000)


class Clock:
    """The log's clock, moved by the test."""

    def __init__(self) -> None:
        self.ms = NOW

    def __call__(self) -> int:
        return self.ms


def record(text: str, *, topic: str = "one", at: int = NOW) -> NewRecord:
    return NewRecord(topic=topic, key=text.encode(), value=f"value of {text}".encode(), timestamp_ms=at)


async def contents(log: EventLog, topic: str = "one", partition: int = 0) -> Sequence[bytes | None]:
    return [found.key for found in await log.read(topic, partition, 0, 1_000)]


class EventLogConformance:
    """Inherited by one test class per engine."""

    keeps_append_time: ClassVar[bool] = True
    """Whether the log keeps its own time of writing beside the record's."""

    async def test_records_come_back_in_order_with_everything_they_had(self, log: EventLog) -> None:
        headers = (("ce_id", b"7"), ("raw", bytes(range(256))), ("ce_id", b"again"))
        new = NewRecord(topic="one", key=b"k\x00\xff", value=b"v\x00\xff", timestamp_ms=5, headers=headers)
        assert await log.append([record("a"), new]) == [(0, 0), (0, 1)]
        assert await log.append([record("c")]) == [(0, 2)]
        first, second, third = await log.read("one", 0, 0, 10)
        assert (first.key, second.key, third.key) == (b"a", b"k\x00\xff", b"c")
        assert [found.offset for found in (first, second, third)] == [0, 1, 2]
        assert (second.topic, second.partition, second.timestamp_ms) == ("one", 0, 5)
        assert second.appended_ms == (NOW if self.keeps_append_time else 5)
        assert (second.value, second.headers, first.headers) == (b"v\x00\xff", headers, ())

    async def test_the_key_decides_the_partition_as_in_kafka(self, log: EventLog) -> None:
        keys = [f"id-{number}" for number in range(40)]
        written = await log.append([record(key, topic="four") for key in keys])
        assert written is not None
        assert [partition for partition, _ in written] == [partition_for(key.encode(), 4) for key in keys]
        assert {partition for partition, _ in written} == {0, 1, 2, 3}
        for partition in range(4):
            expected = [key.encode() for key in keys if partition_for(key.encode(), 4) == partition]
            assert await contents(log, "four", partition) == expected

    async def test_a_given_partition_wins_over_the_key(self, log: EventLog) -> None:
        new = NewRecord(topic="four", key=b"x", value=b"", timestamp_ms=NOW, partition=3)
        assert await log.append([new]) == [(3, 0)]

    async def test_one_append_writes_to_several_topics(self, log: EventLog) -> None:
        await log.append([record("a"), record("b", topic="four"), record("c")])
        assert await contents(log) == [b"a", b"c"]
        assert await contents(log, "four", partition_for(b"b", 4)) == [b"b"]

    async def test_a_record_without_a_key_needs_a_partition(self, log: EventLog) -> None:
        with pytest.raises(ValueError, match="needs a partition"):
            await log.append([record("a"), NewRecord(topic="one", key=None, value=b"", timestamp_ms=NOW)])
        assert await log.end("one", 0) == 0

    async def test_a_heartbeat_keeps_its_empty_value_and_missing_key(self, log: EventLog) -> None:
        heartbeat = NewRecord(topic="one", key=None, value=b"", timestamp_ms=NOW, partition=0)
        nothing = NewRecord(topic="one", key=b"", value=None, timestamp_ms=NOW, partition=0)
        await log.append([heartbeat, nothing])
        found = await log.read("one", 0, 0, 10)
        assert [(one.key, one.value) for one in found] == [(None, b""), (b"", None)]

    async def test_an_append_of_nothing_writes_nothing(self, log: EventLog) -> None:
        assert await log.append([]) == []
        assert await log.end("one", 0) == 0

    async def test_a_timestamp_too_far_in_the_future_is_refused_with_its_whole_batch(
        self, log: EventLog, clock: Clock
    ) -> None:
        assert await log.append([record("edge", at=NOW + 60_000)]) == [(0, 0)]
        with pytest.raises(FutureTimestamp) as caught:
            await log.append([record("a"), record("b", at=NOW + 60_001)])
        assert (caught.value.timestamp_ms, caught.value.limit_ms) == (NOW + 60_001, NOW + 60_000)
        assert await contents(log) == [b"edge"]
        clock.ms += 1
        assert await log.append([record("b", at=NOW + 60_001)]) == [(0, 1)]

    async def test_a_time_before_the_epoch_is_refused(self, log: EventLog) -> None:
        with pytest.raises(ValueError, match="before the epoch"):
            await log.append([record("a", at=-1)])

    async def test_a_failed_append_leaves_no_trace(self, log: EventLog) -> None:
        with pytest.raises(UnknownTopic):
            await log.append([record("a"), record("b", topic="nowhere")])
        new = NewRecord(topic="four", key=b"x", value=b"", timestamp_ms=NOW, partition=4)
        with pytest.raises(UnknownTopic):
            await log.append([record("a"), new])
        assert await log.end("one", 0) == 0

    async def test_reading_stops_at_max_records(self, log: EventLog) -> None:
        await log.append([record(str(number)) for number in range(10)])
        found = await log.read("one", 0, 3, 4)
        assert [one.offset for one in found] == [3, 4, 5, 6]

    async def test_a_read_asks_for_at_least_one_record(self, log: EventLog) -> None:
        for wrong in (0, -1):
            with pytest.raises(ValueError, match="at least 1"):
                await log.read("one", 0, 0, wrong)

    async def test_reading_stops_before_max_bytes(self, log: EventLog) -> None:
        await log.append([NewRecord(topic="one", key=b"k", value=b"v" * 99, timestamp_ms=NOW)] * 5)
        assert len(await log.read("one", 0, 0, 10, max_bytes=300)) == 3
        assert len(await log.read("one", 0, 0, 10, max_bytes=299)) == 2

    async def test_a_record_larger_than_max_bytes_is_read_alone(self, log: EventLog) -> None:
        big = NewRecord(topic="one", key=b"big", value=b"x" * 10_000_000, timestamp_ms=NOW)
        await log.append([big, record("a"), big, record("b")])
        assert [one.key for one in await log.read("one", 0, 0, 10, max_bytes=1_000)] == [b"big"]
        assert [one.key for one in await log.read("one", 0, 1, 10, max_bytes=1_000)] == [b"a"]
        assert [one.key for one in await log.read("one", 0, 2, 10, max_bytes=1_000)] == [b"big"]
        assert (await log.read("one", 0, 2, 1))[0].value == big.value

    async def test_reading_at_the_end_gives_nothing(self, log: EventLog) -> None:
        assert await log.read("one", 0, 0, 10) == []
        await log.append([record("a")])
        assert await log.read("one", 0, 1, 10) == []

    async def test_reading_beyond_the_end_or_before_the_start_is_an_error(self, log: EventLog) -> None:
        await log.append([record("a")])
        for offset in (2, -1):
            with pytest.raises(OffsetOutOfRange) as caught:
                await log.read("one", 0, offset, 10)
            assert (caught.value.begin, caught.value.end, caught.value.offset) == (0, 1, offset)

    async def test_retention_deletes_from_the_front_and_never_reuses_an_offset(self, log: EventLog) -> None:
        await log.append([record(str(number)) for number in range(5)])
        assert await log.delete_before("one", 0, 3) == 3
        assert (await log.begin("one", 0), await log.end("one", 0)) == (3, 5)
        with pytest.raises(OffsetOutOfRange):
            await log.read("one", 0, 2, 10)
        assert [one.offset for one in await log.read("one", 0, 3, 10)] == [3, 4]
        assert await log.delete_before("one", 0, 1) == 0
        assert await log.delete_before("one", 0, 99) == 2
        assert await log.read("one", 0, 5, 10) == []
        assert await log.append([record("next")]) == [(0, 5)]
        assert (await log.begin("one", 0), await log.end("one", 0)) == (5, 6)

    async def test_a_group_remembers_its_position(self, log: EventLog) -> None:
        assert await log.position("g", "four", 1) is None
        await log.commit("g", "four", 1, 7)
        await log.commit("g", "four", 2, 1)
        await log.commit("h", "four", 1, 3)
        await log.commit("g", "four", 1, 5)
        assert [await log.position(group, "four", 1) for group in "gh"] == [5, 3]

    async def test_topics_are_created_once(self, log: EventLog) -> None:
        await log.append([record("a")])
        await log.create_topics([ONE, FOUR])
        assert await log.topics() == {"four": FOUR, "one": ONE}
        assert await contents(log) == [b"a"]

    async def test_another_partition_count_is_refused_and_creates_nothing(self, log: EventLog) -> None:
        wrong = TopicSpec(name="four", partitions=3, cleanup="delete")
        with pytest.raises(TopicMismatch) as caught:
            await log.create_topics([TopicSpec(name="new", partitions=1, cleanup="delete"), wrong])
        assert (caught.value.expected, caught.value.found) == (3, 4)
        assert set(await log.topics()) == {"one", "four"}

    async def test_one_call_cannot_ask_for_two_counts_of_a_topic(self, log: EventLog) -> None:
        specs = [TopicSpec(name="new", partitions=count, cleanup="delete") for count in (1, 2)]
        with pytest.raises(TopicMismatch):
            await log.create_topics(specs)
        assert "new" not in await log.topics()

    async def test_retention_and_cleanup_follow_the_last_request(self, log: EventLog) -> None:
        changed = TopicSpec(name="one", partitions=1, cleanup="compact", retention_ms=5)
        await log.create_topics([changed])
        assert (await log.topics())["one"] == changed

    async def test_what_does_not_exist_is_named(self, log: EventLog) -> None:
        for topic, partition in (("nowhere", 0), ("one", 1), ("one", -1)):
            for call in (log.begin, log.end):
                with pytest.raises(UnknownTopic, match=topic):
                    await call(topic, partition)
            with pytest.raises(UnknownTopic):
                await log.read(topic, partition, 0, 1)
            with pytest.raises(UnknownTopic):
                await log.commit("g", topic, partition, 0)
            with pytest.raises(UnknownTopic):
                await log.delete_before(topic, partition, 0)

    async def test_a_closed_log_is_unavailable(self, log: EventLog) -> None:
        await log.close()
        await log.close()
        with pytest.raises(LogUnavailable):
            await log.append([record("a")])
        with pytest.raises(LogUnavailable):
            await log.read("one", 0, 0, 1)


class SequencedLogConformance(EventLogConformance):
    """What a log does besides that remembers its producers."""

    async def test_a_repeated_sequence_writes_nothing(self, log: SequencedLog) -> None:
        assert await log.append_once([record("a")], producer="p", sequence=5) == [(0, 0)]
        assert await log.append_once([record("a")], producer="p", sequence=5) is None
        assert await log.append_once([record("z")], producer="p", sequence=4) is None
        assert await log.append_once([record("a")], producer="q", sequence=5) == [(0, 1)]
        assert await log.append_once([record("b")], producer="p", sequence=9) == [(0, 2)]
        assert await contents(log) == [b"a", b"a", b"b"]
        assert (await log.last_sequence("p"), await log.last_sequence("nobody")) == (9, None)

    async def test_a_producer_may_begin_at_any_sequence(self, log: SequencedLog) -> None:
        assert await log.append_once([record("a")], producer="p", sequence=-3) == [(0, 0)]
        assert await log.last_sequence("p") == -3

    async def test_a_failed_append_does_not_use_its_sequence_up(
        self, log: SequencedLog, clock: Clock
    ) -> None:
        with pytest.raises(FutureTimestamp):
            await log.append_once([record("a"), record("b", at=NOW + 60_001)], producer="p", sequence=1)
        with pytest.raises(UnknownTopic):
            await log.append_once([record("a"), record("b", topic="nowhere")], producer="p", sequence=1)
        assert (await log.end("one", 0), await log.last_sequence("p")) == (0, None)
        clock.ms += 1
        assert await log.append_once([record("b", at=NOW + 60_001)], producer="p", sequence=1) == [(0, 0)]
