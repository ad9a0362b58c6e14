"""The SDK on Kafka: what both engines do, and what is Kafka's alone."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import RecordsToDelete
from aiokafka.structs import TopicPartition

from lifecycle_sdk import (
    EventSource,
    FutureTimestamp,
    KafkaConnection,
    KafkaEvents,
    KafkaPublisher,
    LogRefused,
    LogUnavailable,
    OffsetOutOfRange,
    PartitionsDiffer,
    ProductionFeed,
    Publisher,
    SequencesUnsupported,
    UnknownTopic,
)
from lifecycle_sdk.contracts import (
    LifecycleEvent,
    LogRecord,
    OutcomeObserved,
    PredictionMade,
    Topics,
    decode,
    partition_for,
    record_of,
)
from tests.sdk import brokers
from tests.sdk.announcements import AT, MODEL, outcome, prediction, promoted
from tests.sdk.conformance import EventSourceConformance, PublisherConformance

CHILD = Path(__file__).with_name("publishing_child.py")


class KafkaBench:
    """The deployment of one test on the shared broker."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self.connection = KafkaConnection(bootstrap=bootstrap, request_timeout_s=20)
        self.topics = topics

    def publisher(self, *, max_batch: int = 10_000) -> KafkaPublisher:
        return KafkaPublisher(self.connection, producer="test", topics=self.topics, max_batch=max_batch)

    def source(self) -> EventSource:
        return KafkaEvents(self.connection, topics=self.topics)

    async def announce(self, *events: LifecycleEvent) -> None:
        new = [record_of(event, self.topics, source="test") for event in events]
        await brokers.append(self.connection.bootstrap, new)

    async def records(self, topic: str) -> list[LogRecord]:
        return await brokers.records(self.connection.bootstrap, topic)


def start_child(bench: KafkaBench, first: int, batches: int, size: int) -> subprocess.Popen[bytes]:
    where = (bench.connection.bootstrap, bench.topics.prefix)
    return subprocess.Popen(
        [sys.executable, CHILD, *where, *map(str, (first, batches, size))],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


async def publish_for_a_while(publisher: Publisher) -> None:
    """Until it fails: a broker takes records for some time into a topic that it is about to delete."""
    for _ in range(100):
        await publisher.predict(prediction())
        await asyncio.sleep(0.05)


@pytest.fixture
async def bench(kafka: str, topic_prefix: str) -> AsyncIterator[KafkaBench]:
    async with brokers.deployment(kafka, topic_prefix) as topics:
        yield KafkaBench(kafka, topics)


class TestKafkaPublisher(PublisherConformance):
    async def test_there_are_no_sequences_and_it_says_so(self, bench: KafkaBench) -> None:
        async with bench.publisher() as publisher:
            with pytest.raises(
                SequencesUnsupported, match="publish without one and repeat what is uncertain"
            ):
                await publisher.publish([prediction()], sequence=1)
            with pytest.raises(SequencesUnsupported):
                await publisher.last_sequence()
        assert await bench.records(bench.topics.predictions) == []

    async def test_calls_share_their_requests_and_the_limit(self, bench: KafkaBench) -> None:
        async with bench.publisher(max_batch=30) as publisher:
            small = [publisher.predict(prediction(f"s{n}")) for n in range(200)]
            large = [publisher.publish([outcome(f"l{start}-{n}") for n in range(25)]) for start in range(20)]
            await asyncio.gather(*small, *large)
            assert (publisher.sent.predictions, publisher.sent.outcomes) == (200, 500)
        assert len(await bench.records(bench.topics.predictions)) == 200
        assert len(await bench.records(bench.topics.outcomes)) == 500

    async def test_a_batch_beyond_one_request_is_sent_in_several(self, bench: KafkaBench) -> None:
        features = {f"feature_{n}": "x" * 200 for n in range(100)}
        events = [prediction(f"p{n}").model_copy(update={"features": features}) for n in range(200)]
        async with bench.publisher() as publisher:
            await publisher.publish(events)
        found = await bench.records(bench.topics.predictions)
        assert sum(len(record.value or b"") for record in found) > 4_000_000
        assert len(found) == 200

    async def test_an_event_over_the_brokers_limit_is_refused_before_anything_is_sent(
        self, bench: KafkaBench
    ) -> None:
        huge = prediction("huge").model_copy(update={"features": {"text": "x" * 1_100_000}})
        async with bench.publisher() as publisher:
            with pytest.raises(LogRefused, match="takes no record of 11"):
                await publisher.publish([prediction(), huge])
            await publisher.predict(prediction())
        assert len(await bench.records(bench.topics.predictions)) == 1

    async def test_a_call_that_is_cancelled_leaves_a_publisher_that_works(self, bench: KafkaBench) -> None:
        async with bench.publisher() as publisher:
            for wait in (0, 0.001, 0.003):
                call = asyncio.create_task(publisher.publish([prediction(f"c{n}") for n in range(100)]))
                await asyncio.sleep(wait)
                call.cancel()
                await asyncio.wait([call])
            await publisher.predict(prediction("after"))
        assert b"after" in {record.key for record in await bench.records(bench.topics.predictions)}

    async def test_without_topics_it_does_not_start(self, kafka: str, topic_prefix: str) -> None:
        publisher = KafkaPublisher(
            KafkaConnection(bootstrap=kafka), producer="test", topics=Topics(topic_prefix)
        )
        with pytest.raises(UnknownTopic, match=f"no topic '{topic_prefix}predictions'"):
            await publisher.start()
        await publisher.close()

    async def test_with_unequal_partitions_it_does_not_start(self, kafka: str, topic_prefix: str) -> None:
        topics = Topics(topic_prefix)
        specs = brokers.unequal(topics)
        await brokers.create(kafka, specs)
        publisher = KafkaPublisher(KafkaConnection(bootstrap=kafka), producer="test", topics=topics)
        with pytest.raises(
            PartitionsDiffer, match=r"predictions has 2 partitions and .*outcomes has 3: create"
        ):
            await publisher.predict(prediction())
        await publisher.close()
        await brokers.delete(kafka, [spec.name for spec in specs])

    @pytest.mark.parametrize(
        "config, error, words",
        [
            ("message.timestamp.after.max.ms", FutureTimestamp, "is later than the latest accepted"),
            ("max.message.bytes", LogRefused, "MessageSizeTooLarge"),
        ],
    )
    @pytest.mark.parametrize("others", [0, 50])
    async def test_what_the_brokers_refuse_is_an_error_and_the_next_call_works(
        self, kafka: str, topic_prefix: str, config: str, error: type[Exception], words: str, others: int
    ) -> None:
        """Their clock and their limits may be stricter than the SDK's; the producer is broken then."""
        soon = datetime.now(UTC) + timedelta(seconds=40)
        features = {f"feature_{n}": f"{n * 12345.678}" for n in range(500)}
        refused = prediction("refused", at=soon).model_copy(update={"features": features})
        async with brokers.deployment(kafka, topic_prefix, {config: "1000"}) as topics:
            bench = KafkaBench(kafka, topics)
            async with bench.publisher() as publisher:
                batch: list[PredictionMade | OutcomeObserved] = [refused]
                batch += [outcome(f"o{n}") for n in range(others)]
                with pytest.raises(error, match=words):
                    await publisher.publish(batch)
                await publisher.predict(prediction("taken"))
                assert (publisher.sent.predictions, publisher.sent.outcomes) == (1, 0)
            assert [record.key for record in await bench.records(topics.predictions)] == [b"taken"]

    async def test_topics_that_are_deleted_and_made_anew_are_found_again(
        self, kafka: str, topic_prefix: str
    ) -> None:
        topics = Topics(topic_prefix)
        specs = topics.specs(2)
        await brokers.create(kafka, specs)
        connection = KafkaConnection(bootstrap=kafka, request_timeout_s=3)
        async with KafkaPublisher(connection, producer="test", topics=topics) as publisher:
            await publisher.predict(prediction())
            await brokers.delete(kafka, [spec.name for spec in specs])
            with pytest.raises(LogUnavailable):
                await publish_for_a_while(publisher)
            with pytest.raises(UnknownTopic):
                await publisher.predict(prediction())
            await brokers.create(kafka, specs)
            await publisher.predict(prediction("anew"))
        assert [record.key for record in await brokers.records(kafka, topics.predictions)] == [b"anew"]
        await brokers.delete(kafka, [spec.name for spec in specs])

    async def test_when_it_is_closed_it_stays_closed(self, bench: KafkaBench) -> None:
        publisher = bench.publisher()
        await publisher.predict(prediction())
        await publisher.close()
        await publisher.close()
        with pytest.raises(LogUnavailable, match="the publisher is closed"):
            await publisher.predict(prediction())

    async def test_killed_in_mid_batch_and_started_again_the_first_records_are_the_events(
        self, bench: KafkaBench
    ) -> None:
        """Whatever a kill leaves behind, the rule "the first record counts" makes one of each, in order."""
        batches, size = 12, 2_000
        acknowledged, killed = 0, 0
        while acknowledged < batches:
            child = start_child(bench, acknowledged, batches, size)
            assert child.stdout is not None
            with child.stdout:
                # the kill falls between the acknowledgement of one batch and that of the next
                for _ in range(2 if killed < 3 else batches):
                    line = await asyncio.to_thread(child.stdout.readline)
                    acknowledged = int(line) + 1 if line.strip() else acknowledged
                await asyncio.sleep(0.01 * killed)
                child.send_signal(signal.SIGKILL)
                killed += 1
                child.wait()
        found = await bench.records(bench.topics.predictions)
        first: dict[bytes, LogRecord] = {}
        for record in found:
            first.setdefault(record.key or b"", record)
        expected = [f"p{n:06d}".encode() for n in range(batches * size)]
        for partition in range(2):
            here = [key for key, record in first.items() if record.partition == partition]
            assert here == [key for key in expected if partition_for(key, 2) == partition]
        assert all(
            decode(PredictionMade, record.value or b"").occurred_at == AT + timedelta(seconds=int(key[1:]))
            for key, record in first.items()
        )


class TestKafkaEvents(EventSourceConformance):
    async def test_gaps_and_an_end_without_a_record_do_not_stop_a_follower(self, bench: KafkaBench) -> None:
        """Compaction and the markers of other people's transactions take offsets that no record has."""
        topic = bench.topics.model_stage_changed
        producer = AIOKafkaProducer(
            bootstrap_servers=bench.connection.bootstrap, transactional_id=bench.topics.prefix
        )
        await producer.start()
        source = bench.source()
        feed = ProductionFeed(source, MODEL)
        for number in (1, 2, 3):
            record = record_of(promoted(str(number), number), bench.topics, source="test")
            async with producer.transaction():
                await producer.send(topic, record.value, record.key, timestamp_ms=record.timestamp_ms)
            assert await feed.poll()
            assert not await feed.poll()
            assert feed.current is not None
            assert feed.current.version == str(number)
        await producer.stop()
        assert [record.offset for record in await bench.records(topic)] == [0, 2, 4]
        assert list(await source.read(topic, 0, 5)) == []
        await source.close()

    async def test_what_retention_has_deleted_is_out_of_range_and_the_rest_is_read(
        self, bench: KafkaBench
    ) -> None:
        topic = bench.topics.predictions
        async with bench.publisher() as publisher:
            await publisher.publish([prediction("a", at=AT + timedelta(seconds=n)) for n in range(5)])
        partition = partition_for(b"a", 2)
        async with brokers.admin(bench.connection.bootstrap) as admin:
            await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(3)})
        source = bench.source()
        assert [record.offset for record in await source.read(topic, partition, None)] == [3, 4]
        with pytest.raises(OffsetOutOfRange, match=r"offset 1 is outside the log, which holds 3\.\.5"):
            await source.read(topic, partition, 1)
        await source.close()

    async def test_a_partition_that_is_not_there_is_unknown(self, bench: KafkaBench) -> None:
        source = bench.source()
        with pytest.raises(UnknownTopic, match="no partition 7"):
            await source.read(bench.topics.predictions, 7, None)
        await source.close()

    async def test_many_records_are_read_whole(self, bench: KafkaBench) -> None:
        async with bench.publisher() as publisher:
            for start in range(0, 20_000, 10_000):
                await publisher.publish([prediction(f"p{n}") for n in range(start, start + 10_000)])
        found = await bench.records(bench.topics.predictions)
        assert {record.key for record in found} == {f"p{n}".encode() for n in range(20_000)}
        assert len(found) == 20_000

    async def test_readers_take_turns_on_one_connection(self, bench: KafkaBench) -> None:
        await bench.announce(promoted("1", 1))
        source = bench.source()
        feeds = [ProductionFeed(source, MODEL) for _ in range(10)]
        assert all(await asyncio.gather(*(feed.poll() for feed in feeds)))
        await source.close()
