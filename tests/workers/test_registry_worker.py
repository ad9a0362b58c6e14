"""The registry worker reads from its committed positions and handles each record once."""

import pytest

from consumers.log.memory import InMemoryLog
from consumers.log.port import NewRecord
from consumers.services.handlers import CONSUMER
from consumers.services.policies import checked, put_in_force
from consumers.services.schedules import Schedules
from consumers.store.repositories.retraining import RetrainingRepository
from consumers.store.repositories.schedules import ScheduleRecord, ScheduleRepository
from consumers.workers.registry import RegistryWorker
from schemas.clock import from_ms
from schemas.errors import LogUnavailable
from schemas.events import RetrainingTrigger, RetrainRequested
from schemas.outgoing import record_of
from tests.services.world import MODEL, World


class ForgetfulLog(InMemoryLog):
    """Fails to commit a position while told to."""

    failing = False

    async def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        if self.failing:
            raise LogUnavailable("memory", "planned")
        await super().commit(group, topic, partition, offset)


def request(event_id: str) -> RetrainRequested:
    return RetrainRequested(
        event_id=event_id,
        occurred_at=from_ms(9_000),
        model=MODEL,
        version="1",
        trigger=RetrainingTrigger.MANUAL,
        reason="a person asked",
        as_of=from_ms(9_000),
    )


async def worker_over(world: World) -> tuple[RegistryWorker, ForgetfulLog]:
    log = ForgetfulLog(now_ms=lambda: 10**12)
    await log.create_topics(world.context.topics.specs(1))
    topics = world.context.topics
    return RegistryWorker(store=world.store, log=log, topics=topics, handlers=world.handlers), log


async def test_a_crash_before_the_position_is_committed_repeats_nothing(registry_world: World) -> None:
    await registry_world.with_production()
    worker, log = await worker_over(registry_world)
    await log.append([record_of(request("r1"), registry_world.context.topics, source="test")])
    log.failing = True
    with pytest.raises(LogUnavailable):
        await worker.step()
    before = await registry_world.promised()
    log.failing = False
    assert await worker.step() == 1
    assert worker.results == {"duplicate": 1}
    assert await registry_world.promised() == before
    async with registry_world.store.read() as session:
        assert len(await RetrainingRepository(session).list()) == 1


async def test_junk_goes_to_dead_letter_and_the_partition_goes_on(registry_world: World) -> None:
    await registry_world.with_production()
    worker, log = await worker_over(registry_world)
    topics = registry_world.context.topics
    await log.append(
        [
            NewRecord(topic=topics.retrain_requested, key=b"k", value=b"\xff", timestamp_ms=1),
            NewRecord(topic=topics.retrain_requested, key=b"k", value=None, timestamp_ms=2),
            record_of(request("r1"), topics, source="test"),
        ]
    )
    assert await worker.step() == 3
    assert await worker.step() == 0
    assert worker.results == {"invalid": 2, "job": 1}
    letters = [row for row in await registry_world.promised() if row.topic == topics.dead_letter]
    assert [letter.value for letter in letters] == [b"\xff", b""]
    assert await log.position(CONSUMER, topics.retrain_requested, 0) == 3


async def test_what_the_calendar_asks_for_is_handled_like_any_request(registry_world: World) -> None:
    await registry_world.with_production()
    worker, _ = await worker_over(registry_world)
    worker.schedules = Schedules(context=registry_world.context, store=registry_world.store)
    async with registry_world.store.write() as session:
        await put_in_force(session, MODEL, checked({"retrain": {"schedule": {"cron": "* * * * *"}}}))
        await ScheduleRepository(session).begin(
            ScheduleRecord(model=MODEL, cron="* * * * *", timezone="UTC", through_ms=0), None
        )
    assert await worker.step() == 1
    topic = registry_world.context.topics.retrain_requested
    (promised,) = [row for row in await registry_world.promised() if row.topic == topic]
    new = NewRecord(topic=topic, key=promised.key, value=promised.value, timestamp_ms=promised.timestamp_ms)
    log = worker.log = InMemoryLog(now_ms=lambda: promised.timestamp_ms)
    await log.create_topics(registry_world.context.topics.specs(1))
    await log.append([new])
    assert await worker.step() == 1
    assert worker.results == {"job": 1}
