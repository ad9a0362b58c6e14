"""What every publisher and every source of events does. A class per engine inherits it, with its bench."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from lifecycle_sdk import BatchTooLarge, EventSource, FutureTimestamp, OffsetOutOfRange, Publisher, Router
from lifecycle_sdk.contracts import (
    LifecycleEvent,
    LogRecord,
    OutcomeObserved,
    PredictionMade,
    Topics,
    decode,
    partition_for,
    to_ms,
)
from tests.sdk.announcements import AT, MODEL, experiment, outcome, prediction, promoted


class Bench(Protocol):
    """An engine with the topics of a deployment, two partitions of each hot one."""

    topics: Topics

    def publisher(self, *, max_batch: int = 10_000) -> Publisher: ...

    def source(self) -> EventSource: ...

    async def announce(self, *events: LifecycleEvent) -> None: ...

    async def records(self, topic: str) -> Sequence[LogRecord]:
        """Everything in `topic`, partition by partition."""
        ...


class PublisherConformance:
    """Inherited by one test class per engine whose records can be read back."""

    async def test_it_counts_what_it_has_sent(self, bench: Bench) -> None:
        publisher = bench.publisher()
        await publisher.predict(prediction())
        assert await publisher.publish([prediction("p2"), outcome("p1"), outcome("p2")])
        await publisher.outcome(outcome("p3"))
        assert (publisher.sent.predictions, publisher.sent.outcomes) == (2, 3)
        await publisher.close()

    async def test_records_are_keyed_and_timed_by_their_event(self, bench: Bench) -> None:
        publisher = bench.publisher()
        await publisher.publish([prediction("a"), outcome("a")])
        await publisher.close()
        (made,) = await bench.records(bench.topics.predictions)
        (seen,) = await bench.records(bench.topics.outcomes)
        assert (made.key, made.timestamp_ms, made.headers) == (b"a", to_ms(AT), ())
        assert made.partition == seen.partition == partition_for(b"a", 2)
        assert decode(PredictionMade, made.value or b"") == prediction("a")
        assert decode(OutcomeObserved, seen.value or b"") == outcome("a")

    @pytest.mark.parametrize("size", [1, 15, 16, 17, 1_000, 3_000])
    async def test_a_batch_of_any_size_keeps_its_order_in_each_partition(
        self, bench: Bench, size: int
    ) -> None:
        events = [prediction(f"p{n}", at=AT + timedelta(seconds=n)) for n in range(size)]
        publisher = bench.publisher()
        await publisher.publish(events)
        await publisher.close()
        found = await bench.records(bench.topics.predictions)
        expected = [
            event
            for partition in range(2)
            for event in events
            if partition_for(event.prediction_id.encode(), 2) == partition
        ]
        assert [decode(PredictionMade, record.value or b"") for record in found] == expected

    async def test_what_one_call_published_comes_before_what_the_next_one_does(self, bench: Bench) -> None:
        publisher = bench.publisher()
        for n in range(5):
            await publisher.publish([prediction("a", at=AT + timedelta(seconds=n))] * (1 + 20 * (n % 2)))
        await publisher.close()
        times = [record.timestamp_ms for record in await bench.records(bench.topics.predictions)]
        assert len(times) == 3 + 2 * 21
        assert times == sorted(times)

    async def test_an_empty_batch_is_published(self, bench: Bench) -> None:
        publisher = bench.publisher()
        assert await publisher.publish([])
        await publisher.close()

    async def test_a_batch_is_bounded_and_then_nothing_is_sent(self, bench: Bench) -> None:
        publisher = bench.publisher(max_batch=3)
        with pytest.raises(BatchTooLarge, match="4 events is over the limit of 3"):
            await publisher.publish([prediction(f"p{n}") for n in range(4)])
        assert publisher.sent.predictions == 0
        await publisher.close()
        assert await bench.records(bench.topics.predictions) == []

    async def test_an_event_from_the_future_is_refused_with_its_whole_batch(self, bench: Bench) -> None:
        late = datetime(2999, 1, 1, tzinfo=UTC)
        publisher = bench.publisher()
        with pytest.raises(FutureTimestamp):
            await publisher.publish([prediction(), prediction("p2", at=late)])
        assert publisher.sent.predictions == 0
        await publisher.close()
        assert await bench.records(bench.topics.predictions) == []


class EventSourceConformance:
    """Inherited by one test class per engine."""

    async def test_a_topic_that_is_not_there_has_no_partitions(self, bench: Bench) -> None:
        source = bench.source()
        assert await source.partitions("never-made.topic") == 0
        assert await source.partitions(bench.topics.predictions) == 2
        await source.close()

    async def test_records_are_read_from_any_offset_to_the_end(self, bench: Bench) -> None:
        await bench.announce(*(promoted(str(n), n) for n in (1, 2, 3)))
        source = bench.source()
        topic = bench.topics.model_stage_changed
        assert [record.offset for record in await source.read(topic, 0, None)] == [0, 1, 2]
        assert [record.offset for record in await source.read(topic, 0, 1)] == [1, 2]
        assert list(await source.read(topic, 0, 3)) == []
        with pytest.raises(OffsetOutOfRange, match=r"offset 4 is outside the log, which holds 0\.\.3"):
            await source.read(topic, 0, 4)
        await bench.announce(promoted("4", 4))
        (record,) = await source.read(topic, 0, 3)
        assert (record.topic, record.partition, record.offset, record.key) == (topic, 0, 3, MODEL.encode())
        assert record.timestamp_ms == to_ms(AT)
        assert dict(record.headers)["ce_type"]
        await source.close()

    async def test_a_router_follows_and_a_later_one_knows_as_much(self, bench: Bench) -> None:
        source = bench.source()
        router = Router(source, MODEL)
        assert not await router.poll()
        await bench.announce(promoted("1", 1))
        assert await router.poll()
        assert [answer.version for answer in router.route("p")] == ["1"]
        await bench.announce(experiment())
        assert await router.poll()
        assert not await router.poll()
        later = Router(source, MODEL)
        await later.poll()
        assert [answer.version for answer in later.route("p")] == ["1", "2"]
        assert later.route("p") == router.route("p")
        await source.close()
