"""Topics on Kafka: made as they must be, corrected where that can be, and every other difference said."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from consumers.log.kafka import KafkaLog
from consumers.log.kafka_topics import config_of
from consumers.log.kafka_wire import AlterTopicsRequest
from consumers.log.port import LogRefused, NewRecord, TopicMismatch, TopicSpec
from consumers.settings import KafkaSettings

from .kafka_prefixed import kafka_log, until, wall_ms

CENTURY_MS = 100 * 366 * 86_400_000


@pytest.fixture
async def log(kafka: str, topic_prefix: str) -> AsyncIterator[KafkaLog]:
    async with kafka_log(kafka, topic_prefix) as log:
        yield log


@pytest.fixture
async def admin(kafka: str) -> AsyncIterator[Any]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    yield admin
    await admin.close()


def test_the_configuration_of_each_kind_of_topic() -> None:
    hot = config_of(
        TopicSpec(name="p.predictions", partitions=8, cleanup="delete"), replication=3, future_ms=60_000
    )
    assert hot == {
        "cleanup.policy": "delete",
        "compression.type": "producer",
        "max.message.bytes": "1048576",
        "message.timestamp.after.max.ms": "60000",
        "message.timestamp.before.max.ms": str((1 << 63) - 1),
        "message.timestamp.type": "CreateTime",
        "min.insync.replicas": "2",
        "retention.bytes": "-1",
        "retention.ms": "-1",
        "segment.ms": str(CENTURY_MS),
    }
    live = TopicSpec(name="predictions", partitions=8, cleanup="delete", retention_ms=86_400_000)
    assert config_of(live, replication=1, future_ms=0)["segment.ms"] == str(7 * 86_400_000)
    assert config_of(live, replication=1, future_ms=0)["min.insync.replicas"] == "1"
    dead = TopicSpec(name="p.dead-letter", partitions=1, cleanup="delete")
    assert int(config_of(dead, replication=1, future_ms=0)["max.message.bytes"]) > 2 * 1048576


async def test_a_created_topic_has_no_difference(log: KafkaLog, topic_prefix: str) -> None:
    specs = [
        TopicSpec(name=f"{topic_prefix}predictions", partitions=3, cleanup="delete"),
        TopicSpec(name=f"{topic_prefix}state", partitions=1, cleanup="compact", retention_ms=5_000),
        TopicSpec(name=f"{topic_prefix}dead-letter", partitions=1, cleanup="delete"),
    ]
    await log.create_topics(specs)
    assert await log.topics() == {spec.name: spec for spec in specs}
    assert await log.configuration_differences(specs) == []


async def test_a_topic_made_by_hand_is_corrected_and_what_is_its_own_is_kept(
    log: KafkaLog, admin: Any, topic_prefix: str
) -> None:
    spec = TopicSpec(name=f"{topic_prefix}t", partitions=2, cleanup="delete")
    config = {"message.timestamp.type": "LogAppendTime", "retention.bytes": "9", "segment.bytes": "1048577"}
    await admin.create_topics(
        [NewTopic(spec.name, 2, 1, topic_configs=config | {"max.message.bytes": "9000000"})]
    )

    async def is_there() -> bool:
        return spec.name in await log.topics()

    await until(is_there)
    found = {each.setting: each for each in await log.configuration_differences([spec])}
    assert found.keys() == {"message.timestamp.type", "message.timestamp.after.max.ms", "retention.bytes"}
    assert (found["message.timestamp.type"].found, found["message.timestamp.type"].expected) == (
        "LogAppendTime",
        "CreateTime",
    )
    # Kafka's own limit is an hour: more than ours
    assert [found[name].needed for name in sorted(found)] == [True, True, False]
    await log.create_topics([spec])
    assert await log.configuration_differences([spec]) == []
    kept = (await log.found_topics())[spec.name].config
    assert (kept["segment.bytes"], kept["max.message.bytes"]) == ("1048577", "9000000")


async def test_fewer_replicas_than_wanted_are_said_and_never_stop_writing(
    log: KafkaLog, kafka: str, topic_prefix: str
) -> None:
    spec = TopicSpec(name=f"{topic_prefix}t", partitions=1, cleanup="delete")
    await log.create_topics([spec])
    strict = await KafkaLog.open(
        KafkaSettings(bootstrap=kafka, replication=3), now_ms=wall_ms, prefix=topic_prefix
    )
    await strict.create_topics([spec])
    found = await strict.configuration_differences([spec])
    assert [(each.setting, each.expected, each.found, each.needed) for each in found] == [
        ("min.insync.replicas", "2", "1", False),
        ("replication", "3", "1", False),
    ]
    # with two in sync asked of one, no record would be taken any more
    await strict.append([NewRecord(topic=spec.name, key=b"k", value=b"", timestamp_ms=wall_ms())])
    await strict.close()


async def test_more_replicas_than_brokers_are_refused_with_the_setting(kafka: str, topic_prefix: str) -> None:
    log = await KafkaLog.open(
        KafkaSettings(bootstrap=kafka, replication=15), now_ms=wall_ms, prefix=topic_prefix
    )
    with pytest.raises(LogRefused, match=r"topic .*\.t: there are fewer brokers than kafka\.replication"):
        await log.create_topics([TopicSpec(name=f"{topic_prefix}t", partitions=1, cleanup="delete")])
    assert await log.topics() == {}
    await log.close()


async def test_another_partition_count_changes_nothing(log: KafkaLog, topic_prefix: str) -> None:
    spec = TopicSpec(name=f"{topic_prefix}t", partitions=2, cleanup="delete")
    await log.create_topics([spec])
    other = TopicSpec(name=f"{topic_prefix}u", partitions=1, cleanup="delete")
    changed = TopicSpec(name=spec.name, partitions=3, cleanup="compact", retention_ms=1)
    with pytest.raises(TopicMismatch):
        await log.create_topics([other, changed])
    assert await log.topics() == {spec.name: spec}


async def test_a_limit_that_is_narrower_than_ours_is_said_and_harms_no_result(
    log: KafkaLog, topic_prefix: str
) -> None:
    spec = TopicSpec(name=f"{topic_prefix}t", partitions=1, cleanup="delete")
    await log.create_topics([spec])
    await log._brokers.ask(AlterTopicsRequest({spec.name: {"message.timestamp.after.max.ms": "5"}}))

    async def differs() -> bool:
        return bool(await log.configuration_differences([spec]))

    await until(differs)
    found = [(each.setting, each.needed) for each in await log.configuration_differences([spec])]
    assert found == [("message.timestamp.after.max.ms", False)]


async def test_a_topic_of_state_that_also_deletes_lets_nothing_run(log: KafkaLog, topic_prefix: str) -> None:
    state = TopicSpec(name=f"{topic_prefix}state", partitions=1, cleanup="compact")
    await log.create_topics([state])
    hour = {"cleanup.policy": "compact,delete", "retention.ms": "3600000"}
    await altered(log, state, hour)
    assert await found(log, state) == [("cleanup.policy", "compact", "compact,delete", True)]
    assert (await log.topics())[state.name].retention_ms == 3_600_000
    await log.create_topics([state])
    assert await found(log, state) == []
    # one that only deletes is another TopicSpec, and said where those are compared
    await altered(log, state, {"cleanup.policy": "delete"})
    assert await found(log, state) == []
    assert (await log.topics())[state.name].cleanup == "delete"


async def test_dead_letters_that_would_not_be_taken_let_nothing_run(log: KafkaLog, topic_prefix: str) -> None:
    dead = TopicSpec(name=f"{topic_prefix}dead-letter", partitions=1, cleanup="delete")
    other = TopicSpec(name=f"{topic_prefix}t", partitions=1, cleanup="delete")
    await log.create_topics([dead, other])
    for spec in (dead, other):
        await altered(log, spec, {"max.message.bytes": "1000000"})
    assert await found(log, dead) == [("max.message.bytes", str(16 << 20), "1000000", True)]
    assert await found(log, other) == [("max.message.bytes", str(1 << 20), "1000000", False)]
    await altered(log, dead, {"max.message.bytes": str(17 << 20)})
    assert await found(log, dead) == [], "it may take more than it must"


async def altered(log: KafkaLog, spec: TopicSpec, config: dict[str, str]) -> None:
    """The topic, once the brokers say that its configuration is so."""
    await log._brokers.ask(AlterTopicsRequest({spec.name: config}))

    async def is_so() -> bool:
        return config.items() <= (await log.found_topics())[spec.name].config.items()

    await until(is_so)


async def found(log: KafkaLog, spec: TopicSpec) -> list[tuple[str, str, str | None, bool]]:
    return [
        (each.setting, each.expected, each.found, each.needed)
        for each in await log.configuration_differences([spec])
    ]
