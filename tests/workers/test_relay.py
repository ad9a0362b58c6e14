"""The relay sends what was promised, in order, and a crash repeats nothing."""

from collections.abc import Sequence

import pytest

from consumers.log.memory import InMemoryLog
from consumers.log.port import LogRecord, NewRecord
from consumers.services.decisions import event_of
from consumers.services.handlers import CONSUMER
from consumers.store.repositories.deployment import DeploymentRepository
from consumers.store.repositories.outbox import OutboxRepository
from consumers.workers.registry import RegistryWorker
from consumers.workers.relay import Relay
from schemas.clock import to_ms
from schemas.cloudevents import event_id
from schemas.errors import LogUnavailable
from schemas.outgoing import heartbeat
from tests.services.world import MODEL, WALL, World


class ObservedLog(InMemoryLog):
    """Calls `before` and `after` around every append, by sequence or not."""

    _in_sequence = False

    async def append(self, records: Sequence[NewRecord]) -> list[tuple[int, int]]:
        if self._in_sequence:
            return await super().append(records)
        await self.before()
        written = await super().append(records)
        await self.after()
        return written

    async def append_once(
        self, records: Sequence[NewRecord], *, producer: str, sequence: int
    ) -> list[tuple[int, int]] | None:
        await self.before()
        self._in_sequence = True
        try:
            written = await super().append_once(records, producer=producer, sequence=sequence)
        finally:
            self._in_sequence = False
        await self.after()
        return written

    async def before(self) -> None: ...

    async def after(self) -> None: ...


class UnreliableLog(ObservedLog):
    """Fails the next append: before it is written, or after."""

    fail: str = ""

    async def before(self) -> None:
        if self.fail == "before":
            raise LogUnavailable("memory", "planned")

    async def after(self) -> None:
        if self.fail == "after":
            raise LogUnavailable("memory", "planned")


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


async def test_a_crash_between_append_and_mark_repeats_no_effect(registry_world: World) -> None:
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
    next_one = Relay(store=registry_world.store, log=log, now=lambda: WALL)
    assert await next_one.step() == 1
    await next_one.close()
    sent, *again = await all_of(log, topics.model_promoted)
    assert len(again) == (0 if registry_world.store.in_a_file else 1)
    assert {event_id(record.headers) for record in (sent, *again)} == {promoted.event_id}
    worker = RegistryWorker(
        store=registry_world.store, log=log, topics=topics, handlers=registry_world.handlers
    )
    assert await worker.step() == 1 + len(again)
    await log.append([NewRecord(topic=sent.topic, key=sent.key, value=sent.value, timestamp_ms=9_000)])
    assert await worker.step() == 1, "and a log that repeats it changes nothing either"
    assert worker.results == {"promoted": 1, "duplicate": 1 + len(again)}
    assert await log.position(CONSUMER, topics.model_promoted, 0) == 2 + len(again)


class InterruptedLog(ObservedLog):
    """Lets another relay run between two appends of this one."""

    meanwhile: Relay | None = None

    async def after(self) -> None:
        if self.meanwhile is not None:
            other, self.meanwhile = self.meanwhile, None
            await other.step()


async def test_two_relays_neither_repeat_nor_reorder(registry_world: World) -> None:
    await registry_world.with_production()
    promised = [row.event_id for row in await registry_world.promised()]
    log = InterruptedLog(now_ms=lambda: 10**12)
    await log.create_topics(registry_world.context.topics.specs(1))
    first, second = (Relay(store=registry_world.store, log=log, now=lambda: WALL) for _ in range(2))
    log.meanwhile = second
    assert await first.step() == 5
    records = await all_of(log, registry_world.context.topics.model_stage_changed)
    assert [event_id(record.headers) for record in records] == promised
    assert await registry_world.promised() == []


async def promise(world: World, name: str, **changes: object) -> None:
    row = {"topic": world.context.topics.dead_letter, "timestamp_ms": 5, **changes}
    async with world.store.write() as session:
        await OutboxRepository(session).add(
            event_id=name,
            key=b"k",
            value=name.encode(),
            now=WALL,
            topic=str(row["topic"]),
            timestamp_ms=int(str(row["timestamp_ms"])),
        )


async def test_what_the_log_never_takes_holds_up_nothing_else(registry_world: World) -> None:
    wall_ms = to_ms(WALL)
    log = UnreliableLog(now_ms=lambda: wall_ms)
    await log.create_topics(registry_world.context.topics.specs(1))
    await promise(registry_world, "before the epoch", timestamp_ms=-1)
    await promise(registry_world, "nowhere", topic="lifecycle.no-such-topic")
    await promise(registry_world, "ahead", timestamp_ms=253_402_300_799_000)
    await promise(registry_world, "good")
    relay = Relay(store=registry_world.store, log=log, now=lambda: WALL)
    assert await relay.step() == 4
    assert (relay.sent, relay.refused) == (2, 2)
    records = await all_of(log, registry_world.context.topics.dead_letter)
    assert [(record.value, record.timestamp_ms) for record in records] == [(b"ahead", wall_ms), (b"good", 5)]
    assert await relay.step() == 0


async def test_a_store_that_is_older_than_the_log_loses_no_promise(file_world: World) -> None:
    registry_world = file_world
    log = await log_for(registry_world)
    await promise(registry_world, "one")
    relay = Relay(store=registry_world.store, log=log, now=lambda: WALL)
    await relay.step()
    async with registry_world.store.read() as session:
        (producer,) = (await DeploymentRepository(session).all()).values()
    # What the log would know of promises that a restored backup has not heard of.
    await log.append_once(
        [heartbeat(registry_world.context.topics.outcomes, 0, 1)], producer=producer, sequence=99
    )
    await promise(registry_world, "two")
    assert await Relay(store=registry_world.store, log=log, now=lambda: WALL).step() == 1
    await promise(registry_world, "three")
    assert await Relay(store=registry_world.store, log=log, now=lambda: WALL).step() == 1
    records = await all_of(log, registry_world.context.topics.dead_letter)
    assert [record.value for record in records] == [b"one", b"two", b"three"]
