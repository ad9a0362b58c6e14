"""The relay sends what was promised, in order, and a crash repeats records but not effects."""

from collections.abc import Sequence

import pytest

from consumers.log.memory import InMemoryLog
from consumers.log.port import LogRecord, NewRecord
from consumers.services.decisions import event_of
from consumers.services.handlers import CONSUMER
from consumers.workers.registry import RegistryWorker
from consumers.workers.relay import Relay
from schemas.cloudevents import event_id
from schemas.errors import LogUnavailable
from tests.services.world import MODEL, WALL, World


class UnreliableLog(InMemoryLog):
    """Fails the next append: before it is written, or after."""

    fail: str = ""

    async def append(
        self, records: Sequence[NewRecord], *, producer: str | None = None, sequence: int | None = None
    ) -> list[tuple[int, int]] | None:
        if self.fail == "before":
            raise LogUnavailable("memory", "planned")
        written = await super().append(records, producer=producer, sequence=sequence)
        if self.fail == "after":
            raise LogUnavailable("memory", "planned")
        return written


async def log_for(world: World) -> UnreliableLog:
    log = UnreliableLog(now_ms=lambda: 10**12)
    await log.create_topics(world.context.topics.specs(1))
    return log


async def all_of(log: InMemoryLog, topic: str) -> list[LogRecord]:
    return await log.read(topic, 0, 0, 1_000)


async def test_promises_arrive_in_order_with_cloudevents_headers_and_event_time(
    registry_world: World,
) -> None:
    await registry_world.with_production()
    log = await log_for(registry_world)
    relay = Relay(store=registry_world.store, log=log, now=lambda: WALL, batch=2)
    promised = await registry_world.promised()
    steps = [await relay.step() for _ in range(4)]
    assert steps == [2, 2, 1, 0]
    records = await all_of(log, registry_world.context.topics.model_stage_changed)
    assert [event_id(record.headers) for record in records] == [row.event_id for row in promised]
    assert [record.timestamp_ms for record in records] == [1_000, 1_000, 1_000, 1_000, 2_000]
    assert {record.key for record in records} == {MODEL.encode()}
    assert await registry_world.promised() == []


async def test_a_log_that_refuses_loses_nothing(registry_world: World) -> None:
    await registry_world.with_production()
    log = await log_for(registry_world)
    relay = Relay(store=registry_world.store, log=log, now=lambda: WALL)
    log.fail = "before"
    with pytest.raises(LogUnavailable):
        await relay.step()
    assert len(await registry_world.promised()) == 5
    log.fail = ""
    assert await relay.step() == 5
    assert len(await all_of(log, registry_world.context.topics.model_stage_changed)) == 5


async def test_a_crash_between_append_and_mark_repeats_records_but_not_effects(registry_world: World) -> None:
    await registry_world.with_production()
    await registry_world.running_experiment()
    log = await log_for(registry_world)
    relay = Relay(store=registry_world.store, log=log, now=lambda: WALL)
    while await relay.step():
        pass
    topics = registry_world.context.topics
    async with registry_world.store.write() as session:
        decision = await registry_world.decided(session, verdict="PROMOTE", version="2", champion_version="1")
        promoted = event_of(decision)
        assert promoted is not None
        await registry_world.context.promise(session, promoted)
    log.fail = "after"
    with pytest.raises(LogUnavailable):
        await relay.step()
    log.fail = ""
    assert await relay.step() == 1
    assert len(await all_of(log, topics.model_promoted)) == 2
    worker = RegistryWorker(
        store=registry_world.store, log=log, topics=topics, handlers=registry_world.handlers
    )
    assert await worker.step() == 2
    assert worker.results == {"promoted": 1, "duplicate": 1}
    assert await log.position(CONSUMER, topics.model_promoted, 0) == 2
