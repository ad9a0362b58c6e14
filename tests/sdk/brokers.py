"""A deployment's topics on a broker, for the time of a test."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from lifecycle_sdk import KafkaConnection, KafkaEvents
from lifecycle_sdk.contracts import LogRecord, NewRecord, Topics, TopicSpec


@asynccontextmanager
async def admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def create(
    bootstrap: str, specs: Sequence[TopicSpec], configs: Mapping[str, str] | None = None
) -> None:
    """`configs` are of all topics, over what they should have."""
    async with admin(bootstrap) as client:
        await client.create_topics([_as_kafka(spec, configs or {}) for spec in specs])


async def delete(bootstrap: str, names: Sequence[str]) -> None:
    async with admin(bootstrap) as client:
        await client.delete_topics(list(names))


@asynccontextmanager
async def deployment(
    bootstrap: str, prefix: str, configs: Mapping[str, str] | None = None
) -> AsyncIterator[Topics]:
    """All topics of a deployment, deleted afterwards."""
    topics = Topics(prefix)
    specs = topics.specs(2)
    await create(bootstrap, specs, configs)
    yield topics
    await delete(bootstrap, [spec.name for spec in specs])


async def append(bootstrap: str, new: Sequence[NewRecord]) -> None:
    """Write any records, heartbeats and damaged ones too, in order."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    for record in new:
        await producer.send_and_wait(
            record.topic,
            record.value,
            record.key,
            # None lets the key decide, as Kafka's default partitioner does
            partition=record.partition,
            timestamp_ms=record.timestamp_ms,
            headers=list(record.headers),
        )
    await producer.stop()


async def records(bootstrap: str, topic: str) -> list[LogRecord]:
    """Everything in `topic`, partition by partition."""
    source = KafkaEvents(KafkaConnection(bootstrap=bootstrap))
    found: list[LogRecord] = []
    for partition in range(await source.partitions(topic)):
        offset = None
        while some := await source.read(topic, partition, offset):
            found += some
            offset = some[-1].offset + 1
    await source.close()
    return found


def unequal(topics: Topics) -> list[TopicSpec]:
    """The topics as nobody should create them: one partition more for the outcomes."""
    return [
        replace(spec, partitions=spec.partitions + 1) if spec.name == topics.outcomes else spec
        for spec in topics.specs(2)
    ]


def _as_kafka(spec: TopicSpec, configs: Mapping[str, str]) -> NewTopic:
    usual = {
        "cleanup.policy": spec.cleanup,
        "retention.ms": str(spec.retention_ms),
        "message.timestamp.type": "CreateTime",
        "message.timestamp.after.max.ms": "60000",
    }
    return NewTopic(spec.name, spec.partitions, 1, topic_configs={**usual, **configs})
