"""The relay on real brokers."""

import os

from consumers.log.kafka import KafkaLog
from consumers.log.kafka_wire import AlterTopicsRequest
from consumers.log.port import RecordTooLarge
from consumers.settings import KafkaSettings
from consumers.store.engine import Store
from consumers.store.repositories.outbox import OutboxRepository
from consumers.workers.relay import Relay
from schemas.logrecords import NewRecord, TopicSpec
from tests.log.kafka_prefixed import until, wall_ms
from tests.services.world import WALL

BYTES = 30_000


async def test_a_record_that_the_brokers_never_take_is_set_aside_and_the_others_go_on(
    kafka: str, topic_prefix: str, file_store: Store
) -> None:
    settings = KafkaSettings(bootstrap=kafka, compression="none")
    log = await KafkaLog.open(settings, now_ms=wall_ms, prefix=topic_prefix)
    small, state = f"{topic_prefix}small", f"{topic_prefix}state"
    await log.create_topics(
        [
            TopicSpec(name=small, partitions=1, cleanup="delete"),
            TopicSpec(name=state, partitions=1, cleanup="compact"),
        ]
    )
    await log._brokers.ask(AlterTopicsRequest({small: {"max.message.bytes": "20000"}}))

    async def is_limited() -> bool:
        try:
            await log.append([NewRecord(topic=small, key=b"", value=os.urandom(BYTES), timestamp_ms=1)])
        except RecordTooLarge:
            return True
        return False

    await until(is_limited)  # the broker takes a new limit in its own time
    before = await log.end(small, 0)
    async with file_store.write() as session:
        for name, topic, value in [
            ("one", small, b"1"),
            ("huge", small, os.urandom(BYTES)),
            ("two", small, b"2"),
            ("promoted", state, b"{}"),
        ]:
            await OutboxRepository(session).add(
                event_id=name, topic=topic, key=b"k", value=value, timestamp_ms=1, now=WALL
            )
    relay = Relay(store=file_store, log=log, now=lambda: WALL)
    assert [await relay.step(), await relay.step()] == [4, 0]
    assert (relay.sent, relay.refused) == (3, 1)
    values = [record.value for record in await log.read(small, 0, before, 10)]
    assert values[-2:] == [b"1", b"2"]
    assert {record.value for record in await log.read(state, 0, 0, 10)} == {b"{}"}
    await relay.close()
    await log.close()
