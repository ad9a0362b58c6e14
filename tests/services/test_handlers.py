"""Events are obeyed once, and only if the decision they name exists and agrees."""

import orjson
import pytest

from consumers.services import calibrations
from consumers.services.decisions import decision_id, event_of
from consumers.services.policies import checked, put_in_force
from consumers.services.retraining import fully_closed_ms
from consumers.store.repositories.episodes import EpisodeRepository
from consumers.store.repositories.experiments import ExperimentRepository
from consumers.store.repositories.inbox import InboxRepository
from consumers.store.repositories.models import ModelRepository
from consumers.store.repositories.retraining import RetrainingRepository
from domain.judgement.decision import Decision
from schemas.clock import from_ms
from schemas.events import (
    DriftDetected,
    LifecycleEvent,
    RetrainingChanged,
    RetrainingTrigger,
    RetrainRequested,
)
from schemas.logrecords import LogRecord
from schemas.outgoing import record_of
from tests.services.test_calibrations import FAILED, a_plan
from tests.services.world import MODEL, World


def record(world: World, event: LifecycleEvent, offset: int = 0) -> LogRecord:
    made = record_of(event, world.context.topics, source="test")
    return LogRecord(made.topic, 0, offset, made.timestamp_ms, made.key, made.value, made.headers, 10**12)


async def handle(world: World, event: LifecycleEvent, offset: int = 0) -> str:
    async with world.store.write() as session:
        return await world.handlers.handle(session, record(world, event, offset))


async def production(world: World) -> str | None:
    async with world.store.read() as session:
        found = await ModelRepository(session).production(MODEL)
    return found.version if found else None


async def experiment_status(world: World) -> str:
    async with world.store.read() as session:
        found = await ExperimentRepository(session).get("e1")
    assert found is not None
    return found.status.value


async def promotion(world: World, **changes: object) -> LifecycleEvent:
    """The honest event of a verdict that is in the store, and then changed."""
    async with world.store.write() as session:
        decision = await world.decided(session, verdict="PROMOTE", version="2", champion_version="1")
    return event_from(decision).model_copy(update=changes)


def event_from(decision: Decision) -> LifecycleEvent:
    event = event_of(decision)
    assert event is not None
    return event


async def dead_letters(world: World) -> list[dict[str, str]]:
    topic = world.context.topics.dead_letter
    found = [row for row in await world.promised() if row.topic == topic]
    return [{name: value.decode() for name, value in row.headers} for row in found]


async def test_a_verdict_promotes_and_ends_its_experiment_in_one_transaction(registry_world: World) -> None:
    await registry_world.with_production()
    await registry_world.running_experiment()
    event = await promotion(registry_world)
    assert await handle(registry_world, event) == "promoted version 2, epoch 2"
    assert await production(registry_world) == "2"
    assert await experiment_status(registry_world) == "COMPLETED_PROMOTED"
    before = await registry_world.promised()
    assert await handle(registry_world, event, offset=1) == "duplicate"
    assert await registry_world.promised() == before


@pytest.mark.parametrize(
    "changes,problem",
    [
        ({"decision_id": "d9"}, "there is no decision d9"),
        ({"version": "1"}, "version is '1', '2' was decided"),
        ({"expected_production": None}, "expected_production is None"),
        ({"experiment": "e2"}, "experiment is 'e2'"),
        ({"experiment": None}, "experiment is None"),
        ({"evidence_digest": "0" * 64}, "evidence_digest is"),
        ({"model": "other"}, "model is 'other'"),
        ({"event_id": "another"}, "event_id is 'another'"),
        ({"occurred_at": from_ms(9_001)}, "occurred_at is"),
        ({"occurred_at": from_ms(253_402_300_799_000)}, "occurred_at is"),
    ],
)
async def test_a_forged_promotion_is_dead_lettered_and_does_not_shut_out_the_real_one(
    registry_world: World, changes: dict[str, object], problem: str
) -> None:
    await registry_world.with_production()
    await registry_world.running_experiment()
    forged = await promotion(registry_world, **changes)
    assert await handle(registry_world, forged) == "forged"
    assert await handle(registry_world, forged) == "duplicate", "the same record, read again"
    assert await production(registry_world) == "1"
    assert await experiment_status(registry_world) == "RUNNING"
    (letter,) = await dead_letters(registry_world)
    assert problem in letter["reason"]
    assert letter["topic"] == registry_world.context.topics.model_promoted
    assert (
        await handle(registry_world, await promotion(registry_world), offset=1)
        == "promoted version 2, epoch 2"
    )


async def test_a_roll_back_verdict_cannot_be_passed_off_as_a_promotion(registry_world: World) -> None:
    await registry_world.with_production()
    await registry_world.running_experiment()
    async with registry_world.store.write() as session:
        decision = await registry_world.decided(
            session, at_ms=8_000, verdict="ROLL_BACK", version="2", champion_version="1"
        )
    event = await promotion(
        registry_world, decision_id=decision_id(decision.key), evidence_digest=decision.digest
    )
    assert await handle(registry_world, event) == "forged"
    assert await production(registry_world) == "1"


async def test_a_stale_verdict_is_recorded_and_its_experiment_cancelled(registry_world: World) -> None:
    await registry_world.with_production()
    await registry_world.running_experiment()
    event = await promotion(registry_world)
    async with registry_world.store.write() as session:
        # While the verdict is under way a person cancels the experiment and promotes another version.
        third = await registry_world.register(session)
        await registry_world.experiments.cancel(session, "e1", at_ms=3_500)
        await registry_world.registry.promote(
            session, MODEL, third.version, expected_production="1", actor="ada", reason="urgent", at_ms=4_000
        )
    result = await handle(registry_world, event)
    assert result == "stale: PRODUCTION was expected to be 1, and is 3"
    assert await production(registry_world) == "3"
    assert await experiment_status(registry_world) == "CANCELLED"
    async with registry_world.store.read() as session:
        assert await InboxRepository(session).result("registry/model-promoted", event.event_id) == result


async def test_a_frozen_model_is_left_to_its_person(registry_world: World) -> None:
    await registry_world.with_production()
    await registry_world.running_experiment()
    event = await promotion(registry_world)
    async with registry_world.store.write() as session:
        await registry_world.registry.freeze(session, MODEL)
    assert await handle(registry_world, event) == "frozen: a person has to promote version 2"
    assert await production(registry_world) == "1"
    assert await experiment_status(registry_world) == "CANCELLED"


@pytest.mark.parametrize("why", ["policy", "pause", "calibration"])
async def test_a_promotion_waits_for_a_person_by_policy_or_while_its_experiment_is_paused(
    registry_world: World, why: str
) -> None:
    await registry_world.with_production()
    await registry_world.running_experiment()
    manager = registry_world.experiments
    async with registry_world.store.write() as session:
        if why == "policy":
            await put_in_force(session, MODEL, checked({"verdicts": {"promote": "by_hand"}}))
        elif why == "pause":
            await manager.pause(session, "e1", actor="ada", reason="a test")
        else:
            await calibrations.record(session, a_plan("other", "9"), FAILED)
    event = await promotion(registry_world)
    said = await handle(registry_world, event)
    assert said.startswith("waits: a person has to complete experiment e1")
    assert said.endswith(": its plan is not calibrated") == (why == "calibration")
    assert await production(registry_world) == "1"
    assert await experiment_status(registry_world) == "RUNNING"
    async with registry_world.store.write() as session:
        assert await manager.complete(session, "e1", actor="ada", reason="reviewed") == "PROMOTE"
    assert await production(registry_world) == "2"
    assert await experiment_status(registry_world) == "COMPLETED_PROMOTED"


async def test_unreadable_records_are_dead_lettered_once_with_their_place_and_reason(
    registry_world: World,
) -> None:
    event = await promotion(registry_world)
    good = record(registry_world, event, offset=7)
    results = []
    for value in (b"{", b"{", orjson.dumps({"model": 3})):
        bad = LogRecord(good.topic, 0, 7 if value == b"{" else 8, 5, b"k", value, (), 10**12)
        async with registry_world.store.write() as session:
            results.append(await registry_world.handlers.handle(session, bad))
    assert results == ["invalid", "duplicate", "invalid"]
    letters = await dead_letters(registry_world)
    assert [(letter["partition"], letter["offset"]) for letter in letters] == [("0", "7"), ("0", "8")]


async def drift(world: World) -> LifecycleEvent:
    async with world.store.write() as session:
        decision = await world.decided(
            session,
            kind="drift",
            subject="1/DATA_DRIFT",
            version="1",
            drift_type="DATA_DRIFT",
            severity="drift",
            detector="roll-up-chi-square",
            statistic=1.25,
            threshold=0.5,
            sample_size=10,
            features=["x"],
            effect_sizes={"x": 0.1 + 0.2},
        )
    return event_from(decision)


async def test_drift_opens_an_episode_unless_the_judge_has_done_so(registry_world: World) -> None:
    event = await drift(registry_world)
    async with registry_world.store.write() as session:
        assert await registry_world.handlers.on_drift_detected(session, _drift(event)) == "episode opened"
    assert await handle(registry_world, event) == "episode known"
    async with registry_world.store.read() as session:
        (episode,) = await EpisodeRepository(session).list(MODEL)
    assert (episode.version, episode.opened_at_ms) == ("1", 9_000)
    assert episode.episode_id == _drift(event).decision_id


def _drift(event: LifecycleEvent) -> DriftDetected:
    assert isinstance(event, DriftDetected)
    return event


@pytest.mark.parametrize(
    "changes",
    [{"version": "2"}, {"drift_id": "d2"}, {"detector": "gut feeling"}, {"window_end": from_ms(1)}],
)
async def test_drift_that_says_more_than_its_decision_opens_no_episode(
    registry_world: World, changes: dict[str, object]
) -> None:
    event = (await drift(registry_world)).model_copy(update=changes)
    assert await handle(registry_world, event) == "forged"
    async with registry_world.store.read() as session:
        assert await EpisodeRepository(session).list(MODEL) == []


async def automatic(world: World, drift_event: LifecycleEvent | None = None) -> LifecycleEvent:
    """The request of a retraining decision, caused by `drift_event`."""
    episodes = []
    if drift_event is not None:
        episodes = [f"drift|{MODEL}|1/DATA_DRIFT|0|9000"]
    async with world.store.write() as session:
        decision = await world.decided(
            session, kind="retrain", subject="1", version="1", reason="drift", episodes=episodes
        )
    drift_id = _drift(drift_event).drift_id if drift_event is not None else None
    return event_from(decision).model_copy(update={"drift_id": drift_id})


async def test_a_decided_request_is_obeyed_with_its_drift_and_no_other(registry_world: World) -> None:
    await registry_world.with_production()
    event = await automatic(registry_world, await drift(registry_world))
    lies: list[dict[str, object]] = [{"drift_id": "d9"}, {"reason": "because"}, {"as_of": from_ms(1)}]
    for offset, changes in enumerate(lies):
        assert await handle(registry_world, event.model_copy(update=changes), offset) == "forged"
    assert "REQUESTED" in await handle(registry_world, event, offset=9)


def request(event_id: str = "r1", **changes: object) -> RetrainRequested:
    return RetrainRequested(
        event_id=event_id,
        occurred_at=from_ms(9_000),
        model=MODEL,
        version="1",
        trigger=RetrainingTrigger.MANUAL,
        reason="a person asked",
        as_of=from_ms(9_000),
    ).model_copy(update=changes)


async def job_statuses(world: World) -> list[tuple[str, str | None]]:
    async with world.store.read() as session:
        jobs = await RetrainingRepository(session).list(model=MODEL)
    return [(job.status.value, (job.result or {}).get("detail")) for job in jobs]


async def test_a_request_opens_one_job_and_a_second_one_is_suppressed(registry_world: World) -> None:
    await registry_world.with_production()
    await registry_world.closed_through(7_500)
    assert "REQUESTED" in await handle(registry_world, request())
    assert await handle(registry_world, request(), offset=1) == "duplicate"
    later = request("r2", occurred_at=from_ms(9_500))
    assert "SUPPRESSED: job" in await handle(registry_world, later, offset=2)
    async with registry_world.store.read() as session:
        first, second = await RetrainingRepository(session).list(model=MODEL)
    assert first.as_of_ms == 7_500, "history beyond what is closed could still change"
    assert (second.status.value, second.result) == ("SUPPRESSED", {"detail": f"job {first.job_id} is open"})
    events = await registry_world.events(registry_world.context.topics.retraining_changed)
    told = [(event.status.value, event.job_id) for event in events if isinstance(event, RetrainingChanged)]
    assert told == [("REQUESTED", first.job_id), ("SUPPRESSED", second.job_id)]


async def test_history_counts_as_closed_when_every_partition_has_said_so(registry_world: World) -> None:
    await registry_world.with_production()
    await registry_world.closed_through(7_500, partitions=2)
    async with registry_world.store.read() as session:
        assert await fully_closed_ms(session) == 0, "partition 1 has said nothing yet"
    await registry_world.closed_through(6_000, partition=1, partitions=2)
    async with registry_world.store.read() as session:
        assert await fully_closed_ms(session) == 6_000


async def test_nothing_is_trained_while_an_experiment_runs(registry_world: World) -> None:
    await registry_world.with_production()
    await registry_world.running_experiment()
    await handle(registry_world, request())
    assert await job_statuses(registry_world) == [("SUPPRESSED", "experiment e1 is running")]


async def test_freezing_stops_automation_and_not_people(registry_world: World) -> None:
    await registry_world.with_production()
    async with registry_world.store.write() as session:
        await registry_world.registry.freeze(session, MODEL)
    await handle(registry_world, await automatic(registry_world))
    await handle(registry_world, request("r2", occurred_at=from_ms(9_500)), offset=1)
    assert await job_statuses(registry_world) == [
        ("SUPPRESSED", "model brent is frozen"),
        ("REQUESTED", None),
    ]


@pytest.mark.parametrize("named", [None, "d9"])
async def test_a_drift_request_without_its_decision_is_forged(
    registry_world: World, named: str | None
) -> None:
    await registry_world.with_production()
    event = request(trigger=RetrainingTrigger.DRIFT_DETECTED, decision_id=named)
    assert await handle(registry_world, event) == "forged"
    assert await job_statuses(registry_world) == []


async def test_a_record_of_another_kind_of_event_is_invalid(registry_world: World) -> None:
    value = b'{"occurred_at":"1990-01-01T00:00:00Z","prediction_id":"a","actual":1.0,"values":{}}'
    topic = registry_world.context.topics.outcomes
    strange = LogRecord(topic, 0, 0, 0, b"a", value, (), 10**12)
    async with registry_world.store.write() as session:
        assert await registry_world.handlers.handle(session, strange) == "invalid"


@pytest.mark.parametrize("occurred_ms", [253_402_300_799_000, -2_208_988_800_000, 8_999])
async def test_a_request_without_a_decision_may_not_claim_another_time_than_its_record(
    registry_world: World, occurred_ms: int
) -> None:
    await registry_world.with_production()
    lying = request(occurred_at=from_ms(occurred_ms))
    honest = record(registry_world, lying)
    stamped = honest._replace(timestamp_ms=9_000)
    async with registry_world.store.write() as session:
        assert await registry_world.handlers.handle(session, stamped) == "invalid"
    assert await job_statuses(registry_world) == []
    (letter,) = await dead_letters(registry_world)
    assert "occurred_at" in letter["reason"]


async def test_an_id_used_on_one_topic_shuts_out_no_event_of_another(registry_world: World) -> None:
    await registry_world.with_production()
    await registry_world.running_experiment()
    event = await promotion(registry_world)
    assert "SUPPRESSED" in await handle(registry_world, request(event.event_id))
    assert await handle(registry_world, event) == "promoted version 2, epoch 2"
