"""The calendar asks once for each due time, however many workers look, and its requests cannot be forged."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consumers.services.policies import InvalidPolicy, checked, put_in_force
from consumers.services.schedules import Schedules, scheduled_event
from consumers.store.repositories.models import ModelRepository
from consumers.store.repositories.retraining import RetrainingRepository
from consumers.store.repositories.schedules import ScheduledRequest
from domain.judgement.policy import JudgementPolicy
from schemas.clock import to_ms
from schemas.codec import decode
from schemas.events import LifecycleEvent, RetrainingStatus, RetrainingTrigger, RetrainRequested
from schemas.logrecords import LogRecord
from schemas.outgoing import record_of
from tests.services.world import MODEL, World

WEEKLY = {"cron": "0 3 * * 1", "timezone": "Europe/London"}
WEDNESDAY = datetime(2026, 7, 1, 12, tzinfo=UTC)
MONDAY = datetime(2026, 7, 6, 2, tzinfo=UTC)
"""03:00 in London."""


async def put(world: World, schedule: dict[str, str] | None, **other: Any) -> None:
    async with world.store.write() as session:
        await put_in_force(session, MODEL, checked({"retrain": {"schedule": schedule}, **other}))


def schedules(world: World) -> Schedules:
    """What one more registry worker has."""
    return Schedules(context=world.context, store=world.store)


async def fire(world: World, now: datetime) -> int:
    return await schedules(world).fire(now)


async def asked(world: World) -> list[RetrainRequested]:
    found = await world.events(world.context.topics.retrain_requested)
    return [event for event in found if isinstance(event, RetrainRequested)]


async def handle(world: World, event: LifecycleEvent, offset: int = 0) -> str:
    made = record_of(event, world.context.topics, source="test")
    record = LogRecord(made.topic, 0, offset, made.timestamp_ms, made.key, made.value, made.headers, 10**13)
    async with world.store.write() as session:
        return await world.handlers.handle(session, record)


async def test_a_due_time_asks_for_the_version_in_production(registry_world: World) -> None:
    await registry_world.with_production()
    await put(registry_world, WEEKLY)
    assert await fire(registry_world, WEDNESDAY) == 0
    assert await fire(registry_world, MONDAY - timedelta(milliseconds=1)) == 0
    assert await fire(registry_world, MONDAY) == 1
    (event,) = await asked(registry_world)
    assert (event.trigger, event.version, event.decision_id) == (RetrainingTrigger.SCHEDULED, "1", None)
    assert event.occurred_at == event.as_of == MONDAY
    assert event.reason == "schedule 0 3 * * 1 Europe/London"
    assert (await handle(registry_world, event)).startswith("job ")
    assert await handle(registry_world, event, offset=1) == "duplicate"


async def test_many_workers_ask_once(registry_world: World) -> None:
    await registry_world.with_production()
    await put(registry_world, WEEKLY)
    workers = [schedules(registry_world) for _ in range(5)]
    for now in (WEDNESDAY, MONDAY, MONDAY + timedelta(seconds=6)):
        await asyncio.gather(*(worker.fire(now) for worker in workers))
    assert len(await asked(registry_world)) == 1


async def test_what_was_missed_while_all_workers_were_down_is_asked_for_once(registry_world: World) -> None:
    await registry_world.with_production()
    await put(registry_world, WEEKLY)
    await fire(registry_world, WEDNESDAY)
    assert await fire(registry_world, MONDAY + timedelta(days=23)) == 1
    assert await fire(registry_world, MONDAY + timedelta(days=24)) == 0
    (event,) = await asked(registry_world)
    assert event.occurred_at == MONDAY + timedelta(days=21)


async def test_a_new_schedule_is_not_due_for_a_time_before_it(registry_world: World) -> None:
    await registry_world.with_production()
    await put(registry_world, {"cron": "0 12 * * *"})
    await fire(registry_world, WEDNESDAY + timedelta(hours=1))
    await put(registry_world, {"cron": "30 12 * * *"})
    assert await fire(registry_world, WEDNESDAY + timedelta(hours=2)) == 0
    assert await fire(registry_world, WEDNESDAY + timedelta(hours=3)) == 0
    assert await fire(registry_world, WEDNESDAY + timedelta(days=1, hours=1)) == 1
    (event,) = await asked(registry_world)
    assert event.reason == "schedule 30 12 * * * UTC"


async def test_another_policy_with_the_same_schedule_misses_nothing(registry_world: World) -> None:
    await registry_world.with_production()
    await put(registry_world, WEEKLY)
    await fire(registry_world, WEDNESDAY)
    await put(registry_world, WEEKLY, validation={"tolerance": 0.5})
    assert await fire(registry_world, MONDAY + timedelta(hours=1)) == 1


async def test_a_schedule_that_is_taken_back_asks_no_more(registry_world: World) -> None:
    await registry_world.with_production()
    await put(registry_world, WEEKLY)
    await fire(registry_world, WEDNESDAY)
    await put(registry_world, None)
    assert await fire(registry_world, MONDAY) == 0
    await put(registry_world, WEEKLY)
    assert await fire(registry_world, MONDAY + timedelta(hours=1)) == 0
    assert await fire(registry_world, MONDAY + timedelta(days=7)) == 1


async def test_without_a_version_in_production_due_times_pass(registry_world: World) -> None:
    await put(registry_world, WEEKLY)
    await fire(registry_world, WEDNESDAY)
    assert await fire(registry_world, MONDAY) == 0
    await registry_world.with_production()
    assert await fire(registry_world, MONDAY + timedelta(days=1)) == 0
    assert await fire(registry_world, MONDAY + timedelta(days=7)) == 1


async def test_a_request_while_a_job_is_open_or_the_model_frozen_is_suppressed(registry_world: World) -> None:
    await registry_world.with_production()
    await put(registry_world, {"cron": "0 3 * * *"})
    await fire(registry_world, WEDNESDAY)
    for day in (1, 2):
        await fire(registry_world, WEDNESDAY + timedelta(days=day))
    first, second = await asked(registry_world)
    await handle(registry_world, first)
    assert "is open" in await handle(registry_world, second, offset=1)
    async with registry_world.store.write() as session:
        (job,) = await RetrainingRepository(session).list(status=RetrainingStatus.REQUESTED)
        await RetrainingRepository(session).cancel(job.job_id)
        await ModelRepository(session).set_frozen(MODEL, True)
    await fire(registry_world, WEDNESDAY + timedelta(days=3))
    third = (await asked(registry_world))[2]
    assert "is frozen" in await handle(registry_world, third, offset=2)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"occurred_at": MONDAY + timedelta(days=7)}, "no schedule of brent asked for it"),
        ({"model": "other"}, "no schedule of other asked for it"),
        ({"version": "2"}, "version is '2', '1' was scheduled"),
        ({"reason": "because"}, "reason is 'because'"),
        ({"event_id": "another"}, "event_id is 'another'"),
        ({"as_of": MONDAY + timedelta(days=1)}, "as_of is"),
        ({"drift_id": "d1"}, "drift_id is 'd1', None was scheduled"),
    ],
)
async def test_a_forged_request_is_dead_lettered_and_shuts_nothing_out(
    registry_world: World, changes: dict[str, Any], problem: str
) -> None:
    await registry_world.with_production()
    await put(registry_world, WEEKLY)
    await fire(registry_world, WEDNESDAY)
    await fire(registry_world, MONDAY)
    (event,) = await asked(registry_world)
    assert await handle(registry_world, event.model_copy(update=changes)) == "forged"
    topic = registry_world.context.topics.dead_letter
    (letter,) = [row for row in await registry_world.promised() if row.topic == topic]
    assert problem in dict(letter.headers)["reason"].decode()
    assert (await handle(registry_world, event, offset=1)).startswith("job ")


async def test_it_looks_only_every_few_seconds_and_again_when_the_clock_is_set_back(
    registry_world: World,
) -> None:
    await registry_world.with_production()
    await put(registry_world, {"cron": "* * * * *"})
    worker = schedules(registry_world)
    start = WEDNESDAY + timedelta(seconds=57)
    await worker.fire(start)
    assert await worker.fire(start + timedelta(seconds=4)) == 0
    assert await worker.fire(start + timedelta(seconds=5)) == 1
    await worker.fire(start - timedelta(days=1))
    assert await worker.fire(start + timedelta(seconds=64)) == 1


async def test_a_schedule_that_cannot_be_read_any_more_holds_up_no_other(registry_world: World) -> None:
    await registry_world.with_production()
    async with registry_world.store.write() as session:
        body = {"retrain": {"schedule": {"cron": "0 3 * * *", "timezone": "Europe/Atlantis"}}}
        await put_in_force(session, "another", body)
    await put(registry_world, WEEKLY)
    await fire(registry_world, WEDNESDAY)
    assert await fire(registry_world, MONDAY) == 1


def test_a_wrong_schedule_is_refused_with_its_place_in_the_policy() -> None:
    for schedule, problem in (
        ({"cron": "0 3 * *"}, "policy.retrain.schedule.cron must be five fields"),
        ({**WEEKLY, "timezone": "London"}, "policy.retrain.schedule.timezone must be a time zone such as"),
        ({**WEEKLY, "tz": "UTC"}, "policy.retrain.schedule.tz must be one of cron, timezone"),
        ("0 3 * * 1", "policy.retrain.schedule must be an object"),
    ):
        with pytest.raises(InvalidPolicy) as refused:
            checked({"retrain": {"schedule": schedule}})
        assert problem in str(refused.value)


def test_a_schedule_changes_no_hash_that_decisions_carry() -> None:
    with_one = JudgementPolicy.from_json({"retrain": {"budget": 3, "schedule": WEEKLY}})
    assert with_one.hash() == JudgementPolicy.from_json({"retrain": {"budget": 3}}).hash()


def test_the_event_is_the_same_whoever_makes_it() -> None:
    request = ScheduledRequest(model="m", due_ms=to_ms(MONDAY), version="1", reason="r")
    again = decode("lifecycle.retrain-requested", scheduled_event(request).model_dump_json().encode())
    assert again == scheduled_event(request)
    assert scheduled_event(request).event_id == "671befe5-c477-588b-b0ac-200c4cc9a4ee"
