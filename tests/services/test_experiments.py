"""Experiments over a real store: one running per model, offered to routers, ended once."""

from dataclasses import replace

import pytest

from consumers.services.experiments import NotComparable, plan_from_template
from consumers.store.errors import ExperimentAlreadyRunning, ImmutableConflict
from consumers.store.repositories.experiments import ExperimentRecord, ExperimentRepository
from consumers.store.repositories.judgements import Judgement, JudgementRepository
from consumers.store.repositories.models import ModelRepository
from domain.errors import InvalidField
from schemas.events import ExperimentChanged, ExperimentStatus, ModelStage
from tests.services.world import MODEL, TEMPLATE, World


async def experiment(world: World, name: str = "e1") -> ExperimentRecord:
    async with world.store.read() as session:
        record = await ExperimentRepository(session).get(name)
    assert record is not None
    return record


async def stage_of(world: World, version: str) -> ModelStage:
    async with world.store.read() as session:
        record = await ModelRepository(session).get_version(MODEL, version)
    assert record is not None
    return record.stage


async def announced(world: World) -> list[ExperimentChanged]:
    events = await world.events(world.context.topics.experiment_changed)
    return [event for event in events if isinstance(event, ExperimentChanged)]


async def test_a_started_experiment_offers_both_arms_with_their_artifacts(registry_world: World) -> None:
    await registry_world.with_production()
    await registry_world.running_experiment()
    record = await experiment(registry_world)
    assert (record.status, record.epoch, record.started_at_ms) == (ExperimentStatus.RUNNING, 1, 3_000)
    (event,) = await announced(registry_world)
    assert (event.status, event.epoch, event.salt, event.config_hash) == (
        ExperimentStatus.RUNNING,
        1,
        "e1",
        record.config_hash,
    )
    offers = [(offer.name, offer.version, offer.champion, offer.artifact_uri) for offer in event.variants]
    assert offers == [
        ("champion", "1", True, "file:///models/x"),
        ("challenger", "2", False, "file:///models/x"),
    ]
    assert await registry_world.running_experiment() == "e1", "starting again is harmless"
    assert len(await announced(registry_world)) == 1


async def test_a_model_runs_one_experiment_at_a_time(registry_world: World) -> None:
    await registry_world.with_production()
    await registry_world.running_experiment()
    with pytest.raises(ExperimentAlreadyRunning):
        await registry_world.running_experiment("e2")


async def test_a_plan_is_frozen_once_it_is_recorded(registry_world: World) -> None:
    await registry_world.with_production()
    await registry_world.running_experiment()
    other = plan_from_template(
        {**TEMPLATE, "alpha": 0.01}, experiment="e1", model=MODEL, champion="1", challenger="2"
    )
    async with registry_world.store.write() as session:
        with pytest.raises(ImmutableConflict):
            await registry_world.experiments.create(session, other)


@pytest.mark.parametrize("champion,challenger,version", [("2", "1", "2"), ("1", "9", "9")])
async def test_versions_must_be_where_an_experiment_needs_them(
    registry_world: World, champion: str, challenger: str, version: str
) -> None:
    await registry_world.with_production()
    plan = plan_from_template(
        TEMPLATE, experiment="e1", model=MODEL, champion=champion, challenger=challenger
    )
    async with registry_world.store.write() as session:
        await registry_world.experiments.create(session, plan)
        with pytest.raises(NotComparable) as caught:
            await registry_world.experiments.start(session, "e1", at_ms=1)
    assert caught.value.version == version
    assert (await experiment(registry_world)).status is ExperimentStatus.CREATED


@pytest.mark.parametrize("verdict", ["ROLL_BACK", "INCONCLUSIVE"])
async def test_without_promotion_the_champion_stays_and_the_challenger_is_archived(
    registry_world: World, verdict: str
) -> None:
    await registry_world.with_production()
    await registry_world.running_experiment()
    async with registry_world.store.write() as session:
        assert await registry_world.experiments.conclude(
            session, "e1", verdict=verdict, decision_id="d1", at_ms=9_000
        )
    record = await experiment(registry_world)
    assert (record.status, record.closed_at_ms, record.decision_id) == (
        ExperimentStatus.COMPLETED_ROLLED_BACK,
        9_000,
        "d1",
    )
    assert await stage_of(registry_world, "1") is ModelStage.PRODUCTION
    assert await stage_of(registry_world, "2") is ModelStage.ARCHIVED
    async with registry_world.store.write() as session:
        again = await registry_world.experiments.conclude(
            session, "e1", verdict="PROMOTE", decision_id="d2", at_ms=9_500
        )
    assert not again
    assert await experiment(registry_world) == record


async def test_of_several_challengers_only_the_winner_is_kept_for_promotion(registry_world: World) -> None:
    await registry_world.with_production()
    plan = plan_from_template(TEMPLATE, experiment="e1", model=MODEL, champion="1", challenger="2")
    third = replace(plan.variants[1], name="other", version="3")
    async with registry_world.store.write() as session:
        await registry_world.register(session)
        await registry_world.experiments.create(session, replace(plan, variants=(*plan.variants, third)))
        await registry_world.experiments.start(session, "e1", at_ms=3_000)
        await registry_world.experiments.conclude(
            session, "e1", verdict="PROMOTE", decision_id="d1", at_ms=9_000, winner="3"
        )
    assert (await experiment(registry_world)).status is ExperimentStatus.COMPLETED_PROMOTED
    assert await stage_of(registry_world, "2") is ModelStage.ARCHIVED
    assert await stage_of(registry_world, "3") is ModelStage.STAGING


async def test_a_cancelled_experiment_leaves_the_challenger_in_staging(registry_world: World) -> None:
    await registry_world.with_production()
    await registry_world.running_experiment()
    async with registry_world.store.write() as session:
        assert await registry_world.experiments.cancel(session, "e1", at_ms=4_000)
        assert not await registry_world.experiments.cancel(session, "e1", at_ms=4_000)
    assert (await experiment(registry_world)).status is ExperimentStatus.CANCELLED
    assert await stage_of(registry_world, "2") is ModelStage.STAGING
    assert [event.status.value for event in await announced(registry_world)] == ["RUNNING", "CANCELLED"]


async def test_an_experiment_is_not_cancelled_in_the_judged_past(registry_world: World) -> None:
    await registry_world.with_production()
    await registry_world.running_experiment()
    async with registry_world.store.write() as session:
        await JudgementRepository(session).save(
            Judgement(model=MODEL, judged_through_ms=7_000, state={}, tallies_digest="")
        )
        await registry_world.experiments.cancel(session, "e1", at_ms=4_000)
    assert (await experiment(registry_world)).closed_at_ms == 7_000


@pytest.mark.parametrize("judged_ms,closed_ms", [(None, 3_000), (2_000, 3_000), (7_000, 7_000)])
async def test_a_person_cancels_from_what_is_judged_now_on(
    registry_world: World, judged_ms: int | None, closed_ms: int
) -> None:
    await registry_world.with_production()
    await registry_world.running_experiment()
    async with registry_world.store.write() as session:
        if judged_ms is not None:
            await JudgementRepository(session).save(
                Judgement(model=MODEL, judged_through_ms=judged_ms, state={}, tallies_digest="")
            )
        await registry_world.experiments.cancel(session, "e1")
    assert (await experiment(registry_world)).closed_at_ms == closed_ms, "never the wall clock"


@pytest.mark.parametrize(
    "template,field",
    [
        (3, "experiment"),
        ({**TEMPLATE, "variants": []}, "variants"),
        ({**TEMPLATE, "challenger_share": 1.0}, "challenger_share"),
        ({**TEMPLATE, "alpha": 2.0}, "alpha"),
        ({**TEMPLATE, "alhpa": 0.1}, "alhpa"),
    ],
)
def test_a_wrong_template_field_is_named(template: object, field: str) -> None:
    with pytest.raises(InvalidField) as caught:
        plan_from_template(template, experiment="e", model="m", champion="1", challenger="2")
    assert caught.value.field == field


@pytest.mark.parametrize("strategy", ["PERCENTAGE_SPLIT", "USER_SEGMENT"])
def test_a_split_template_shares_the_traffic(strategy: str) -> None:
    plan = plan_from_template(
        {**TEMPLATE, "strategy": strategy, "challenger_share": 0.2},
        experiment="e",
        model="m",
        champion="1",
        challenger="2",
    )
    assert [(variant.name, variant.share) for variant in plan.variants] == [
        ("champion", 0.8),
        ("challenger", 0.2),
    ]


async def test_routers_are_told_of_named_segments_by_a_strategy_that_older_ones_do_not_obey(
    registry_world: World,
) -> None:
    await registry_world.with_production()
    template = {**TEMPLATE, "strategy": "USER_SEGMENT", "segments": ["vip"]}
    plan = plan_from_template(template, experiment="e1", model=MODEL, champion="1", challenger="2")
    async with registry_world.store.write() as session:
        await registry_world.experiments.create(session, plan)
        await registry_world.experiments.start(session, "e1", at_ms=3_000)
    (event,) = await announced(registry_world)
    assert (event.strategy.value, event.segments) == ("NAMED_SEGMENTS", ("vip",))
