"""Versions, stages and the PRODUCTION pointer over a real store."""

import asyncio

import orjson
import pytest

from consumers.services.registry import ExperimentInTheWay, StalePromotion, WrongStage
from consumers.store.errors import NotFound
from consumers.store.repositories.models import ModelRepository, Transition
from consumers.store.repositories.profiles import ProfileRepository
from domain.transitions import IllegalTransition
from schemas.events import ModelStage, ModelStageChanged
from tests.services.world import MODEL, World


async def promote(
    world: World, version: str, expected: str | None, at_ms: int = 5_000, actor: str = "ada"
) -> int:
    async with world.store.write() as session:
        return await world.registry.promote(
            session, MODEL, version, expected_production=expected, actor=actor, reason="better", at_ms=at_ms
        )


async def stages(world: World) -> dict[str, ModelStage]:
    async with world.store.read() as session:
        return {record.version: record.stage for record in await ModelRepository(session).versions(MODEL)}


async def history(world: World) -> list[Transition]:
    async with world.store.read() as session:
        return await ModelRepository(session).transitions(MODEL)


async def test_versions_are_numbered_per_model_and_a_job_registers_once(registry_world: World) -> None:
    async with registry_world.store.write() as session:
        first = await registry_world.register(session, job_id="j1", staged=False)
        second = await registry_world.register(session, job_id="j2", staged=False)
        again = await registry_world.register(session, job_id="j1", staged=False)
    assert (first.version, second.version, again.version) == ("1", "2", "1")
    assert len(await history(registry_world)) == 2


async def test_a_promotion_archives_the_old_raises_the_epoch_and_tells_who_did_it(
    registry_world: World,
) -> None:
    await registry_world.with_production()
    assert await promote(registry_world, "2", "1") == 2
    assert await stages(registry_world) == {"1": ModelStage.ARCHIVED, "2": ModelStage.PRODUCTION}
    archived, promoted = (await history(registry_world))[-2:]
    assert (archived.version, archived.to_stage, archived.reason) == (
        "1",
        ModelStage.ARCHIVED,
        "replaced by version 2",
    )
    assert (promoted.version, promoted.actor, promoted.reason, promoted.epoch) == ("2", "ada", "better", 2)
    async with registry_world.store.read() as session:
        versions = await ModelRepository(session).versions(MODEL)
    assert {record.version: record.status for record in versions} == {
        "1": "REGISTERED",
        "2": "DEPLOYMENT_ACTIVE",
    }


async def test_every_announcement_carries_the_resulting_pointer(registry_world: World) -> None:
    await registry_world.with_production()
    await promote(registry_world, "2", "1")
    events = await registry_world.events(registry_world.context.topics.model_stage_changed)
    pointers = []
    for event in events:
        assert isinstance(event, ModelStageChanged)
        pointers.append((event.version, event.to_stage.value, event.production and event.production.version))
    assert pointers == [
        ("1", "DEVELOPMENT", None),
        ("1", "STAGING", None),
        ("2", "DEVELOPMENT", None),
        ("2", "STAGING", None),
        ("1", "PRODUCTION", "1"),
        ("1", "ARCHIVED", "2"),
        ("2", "PRODUCTION", "2"),
    ]
    last = events[-1]
    assert isinstance(last, ModelStageChanged)
    assert last.production is not None
    assert (last.production.epoch, last.production.artifact_sha256) == (2, "a" * 64)


async def test_a_stale_promotion_changes_nothing(registry_world: World) -> None:
    await registry_world.with_production()
    before = (await stages(registry_world), await history(registry_world), await registry_world.promised())
    for expected in (None, "7"):
        with pytest.raises(StalePromotion) as caught:
            await promote(registry_world, "2", expected)
        assert (caught.value.expected, caught.value.found) == (expected, "1")
    assert (
        await stages(registry_world),
        await history(registry_world),
        await registry_world.promised(),
    ) == before


async def test_a_refused_move_leaves_the_transaction_usable_and_the_state_unchanged(
    registry_world: World,
) -> None:
    await registry_world.with_production()
    before = (await stages(registry_world), await history(registry_world), await registry_world.promised())
    async with registry_world.store.write() as session:
        registry = registry_world.registry
        with pytest.raises(IllegalTransition, match="Archive is not allowed from PRODUCTION"):
            await registry.archive(session, MODEL, "1", actor="ada", reason="", at_ms=1)
        with pytest.raises(IllegalTransition, match="Stage is not allowed from STAGING"):
            await registry.stage(session, MODEL, "2", actor="ada", reason="", at_ms=1)
        with pytest.raises(IllegalTransition, match="only an ARCHIVED version can be restored"):
            await registry.restore(
                session, MODEL, "2", expected_production="1", actor="ada", reason="", at_ms=1
            )
        with pytest.raises(NotFound, match="version 9"):
            await registry.stage(session, MODEL, "9", actor="ada", reason="", at_ms=1)
        with pytest.raises(NotFound, match="model other"):
            await registry.stage(session, "other", "1", actor="ada", reason="", at_ms=1)
    assert (
        await stages(registry_world),
        await history(registry_world),
        await registry_world.promised(),
    ) == before


async def test_a_person_rolls_back_to_an_archived_version(registry_world: World) -> None:
    await registry_world.with_production()
    await promote(registry_world, "2", "1")
    async with registry_world.store.write() as session:
        epoch = await registry_world.registry.restore(
            session, MODEL, "1", expected_production="2", actor="ada", reason="worse", at_ms=8_000
        )
    assert epoch == 3
    assert await stages(registry_world) == {"1": ModelStage.PRODUCTION, "2": ModelStage.ARCHIVED}


async def test_history_answers_what_was_production_at_any_time(registry_world: World) -> None:
    await registry_world.with_production()
    await promote(registry_world, "2", "1", at_ms=5_000)
    found = []
    async with registry_world.store.read() as session:
        for at_ms in (1_999, 2_000, 4_999, 5_000, 10**12):
            record = await registry_world.registry.at(session, MODEL, at_ms)
            found.append(record and record.version)
    assert found == [None, "1", "1", "2", "2"]


async def test_of_many_promotions_at_once_exactly_one_wins(registry_world: World) -> None:
    await registry_world.with_production()
    async with registry_world.store.write() as session:
        for _ in range(8):
            await registry_world.register(session)
    results = await asyncio.gather(
        *(promote(registry_world, str(version), "1", actor=f"a{version}") for version in range(2, 11)),
        return_exceptions=True,
    )
    assert [type(result) for result in results].count(int) == 1
    assert [type(result) for result in results].count(StalePromotion) == 8
    found = await stages(registry_world)
    assert list(found.values()).count(ModelStage.PRODUCTION) == 1
    assert found["1"] is ModelStage.ARCHIVED


async def test_nothing_is_promoted_under_a_running_experiment(registry_world: World) -> None:
    await registry_world.with_production()
    await registry_world.running_experiment()
    with pytest.raises(ExperimentInTheWay, match="cancel it first"):
        await promote(registry_world, "2", "1")


async def test_a_profile_takes_effect_from_the_first_window_that_nobody_closed(registry_world: World) -> None:
    async with registry_world.store.write() as session:
        await registry_world.register(session)
    await registry_world.closed_through(3_400, partition=0, partitions=2)
    await registry_world.closed_through(5_999, partition=1, partitions=2)
    async with registry_world.store.write() as session:
        await registry_world.register(session)
    async with registry_world.store.read() as session:
        profiles = await ProfileRepository(session).get_many([(MODEL, "1"), (MODEL, "2")])
    assert profiles[MODEL, "1"].effective_from_ms == 0
    assert profiles[MODEL, "2"].effective_from_ms == 5_000
    body = orjson.loads(profiles[MODEL, "2"].body)
    assert (body["model"], body["version"], body["effective_from_ms"]) == (MODEL, "2", 5_000)


async def test_freezing_is_a_switch_on_the_model(registry_world: World) -> None:
    await registry_world.with_production()
    seen = []
    for switch in (registry_world.registry.freeze, registry_world.registry.unfreeze):
        async with registry_world.store.write() as session:
            await switch(session, MODEL)
            model = await ModelRepository(session).get_model(MODEL)
            seen.append(model and model.frozen)
    assert seen == [True, False]


async def test_an_order_on_the_wrong_stage_says_so_before_anything_else(registry_world: World) -> None:
    await registry_world.with_production()
    async with registry_world.store.write() as session:
        restored = registry_world.registry.restore(
            session, MODEL, "2", expected_production="7", actor="ada", reason="pnl", at_ms=5
        )
        with pytest.raises(
            WrongStage, match=r"^version 2 is in STAGING; only an ARCHIVED version can be rest"
        ):
            await restored
        promoted = registry_world.registry.promote(
            session, MODEL, "1", expected_production=None, actor="ada", reason="pnl", at_ms=5
        )
        with pytest.raises(
            WrongStage, match=r"^version 1 is in PRODUCTION; only a STAGING version can be prom"
        ):
            await promoted
