"""Orders of people over a real store: ramp, pause, resume, stop, complete. A refusal changes nothing."""

import pytest

from consumers.services.budgets import account_of
from consumers.services.dated_plans import dated_plan
from consumers.services.experiment_moves import standing_of
from consumers.services.experiments import NoVerdict, plan_from_template
from consumers.services.registry import StalePromotion
from consumers.store.errors import ImmutableConflict
from consumers.store.repositories.experiments import ExperimentRecord, ExperimentRepository
from consumers.store.repositories.models import ModelRepository
from consumers.store.tables import experiment_moves
from domain.experiments.budget import Quarter
from domain.experiments.ramps import InvalidRamp
from domain.experiments.status import (
    ExperimentStatus,
    Pause,
    Ramp,
    Resume,
    Start,
    Stop,
)
from domain.transitions import IllegalTransition
from tests.services.orders import (
    BY,
    SPLIT,
    everything,
    given,
    judged_through,
    newest,
    offered,
    order,
    record_of,
    verdict,
)
from tests.services.world import MODEL, TEMPLATE, World


async def test_a_ramp_is_a_new_epoch_with_other_shares_of_the_same_plan(registry_world: World) -> None:
    await given(registry_world)
    await order(registry_world, Start)
    before = await record_of(registry_world)
    await judged_through(registry_world, 7_000)
    await order(registry_world, Ramp)
    record, event = await record_of(registry_world), await newest(registry_world)
    assert (record.config, record.config_hash) == (before.config, before.config_hash)
    assert (event.epoch, event.config_hash) == (2, before.config_hash)
    assert offered(event) == {"champion": 0.7, "challenger": 0.3}
    async with registry_world.store.read() as session:
        allocations = await ExperimentRepository(session).allocations(MODEL)
    dated = dated_plan(record, 5_000, allocations["e1"])
    assert [dated.shares(*at) for at in ((1, 8_000), (2, 7_000), (2, 7_001))] == [{}, {}, offered(event)]


async def test_a_ramp_that_cannot_be_changes_nothing(registry_world: World) -> None:
    await given(registry_world, TEMPLATE)
    await order(registry_world, Start)
    before = await everything(registry_world)
    async with registry_world.store.write() as session:
        with pytest.raises(InvalidRamp, match="shadow mode"):
            await registry_world.experiments.ramp(session, "e1", {"challenger": 0.3}, **BY)
    assert await everything(registry_world) == before


@pytest.mark.parametrize("template", [SPLIT, TEMPLATE], ids=["split", "shadow"])
async def test_a_pause_gives_all_to_the_champion_and_ends_with_the_shares_that_were(
    registry_world: World, template: dict[str, object]
) -> None:
    await given(registry_world, template)
    ramps: tuple[type[object], ...] = (Ramp,) if template is SPLIT else ()
    await order(registry_world, Start, *ramps)
    before = offered(await newest(registry_world))
    await order(registry_world, Pause)
    paused = await newest(registry_world)
    assert (paused.status, offered(paused)) == ("RUNNING", {"champion": 1.0}), "old routers obey it too"
    await order(registry_world, Resume)
    resumed = await newest(registry_world)
    assert offered(resumed) == before
    assert resumed.epoch == paused.epoch + 1


async def test_a_person_stops_an_experiment_and_the_history_says_who_and_why(registry_world: World) -> None:
    await given(registry_world)
    await order(registry_world, Start)
    await judged_through(registry_world, 9_000)
    await order(registry_world, Stop)
    record = await record_of(registry_world)
    assert (record.status, record.decision_id, record.closed_at_ms) == ("COMPLETED_ROLLED_BACK", None, 9_000)
    async with registry_world.store.read() as session:
        last = (await ExperimentRepository(session).moves("e1"))[-1]
        loser = (await ModelRepository(session).transitions(MODEL))[-1]
    assert (last.move, last.actor, last.reason, last.at_ms) == ("Stop", "ada", "a test", 9_000)
    assert (loser.version, loser.to_stage, loser.actor) == ("2", "ARCHIVED", "ada")
    dated = dated_plan(record, 5_000, ())
    assert (dated.counts(9_000), dated.counts(9_001)) == (True, False), "later rows are no evidence"


@pytest.mark.parametrize("moves", [(Start,), (Start, Pause)], ids=["running", "paused"])
@pytest.mark.parametrize(
    "kind,version,production,status",
    [("PROMOTE", "2", "2", "COMPLETED_PROMOTED"), ("ROLL_BACK", "2", "1", "COMPLETED_ROLLED_BACK")],
)
async def test_a_person_carries_a_verdict_out(
    registry_world: World,
    moves: tuple[type[object], ...],
    kind: str,
    version: str,
    production: str,
    status: str,
) -> None:
    await given(registry_world)
    await order(registry_world, *moves)
    await verdict(registry_world, kind, version)
    async with registry_world.store.write() as session:
        assert await registry_world.experiments.complete(session, "e1", **BY) == kind
    record = await record_of(registry_world)
    assert record.status == status
    assert record.decision_id is not None
    async with registry_world.store.read() as session:
        serving = await ModelRepository(session).production(MODEL)
        last = (await ModelRepository(session).transitions(MODEL))[-1]
    assert serving is not None
    assert serving.version == production
    assert (last.actor, last.decision_id) == ("ada", record.decision_id)
    before = await everything(registry_world)
    async with registry_world.store.write() as session:
        with pytest.raises(IllegalTransition, match="it is final"):
            await registry_world.experiments.complete(session, "e1", **BY)
    assert await everything(registry_world) == before


async def test_without_a_verdict_there_is_nothing_to_complete(registry_world: World) -> None:
    await given(registry_world)
    async with registry_world.store.write() as session:
        with pytest.raises(IllegalTransition):
            await registry_world.experiments.complete(session, "e1", **BY)
    await order(registry_world, Start)
    before = await everything(registry_world)
    async with registry_world.store.write() as session:
        with pytest.raises(NoVerdict, match="no verdict yet"):
            await registry_world.experiments.complete(session, "e1", **BY)
    assert await everything(registry_world) == before


async def test_a_verdict_against_another_champion_is_refused_whole(registry_world: World) -> None:
    await given(registry_world)
    await order(registry_world, Start)
    async with registry_world.store.write() as session:
        await registry_world.decided(session, verdict="PROMOTE", version="2", champion_version="9")
    before = await everything(registry_world)
    async with registry_world.store.write() as session:
        with pytest.raises(StalePromotion):
            await registry_world.experiments.complete(session, "e1", **BY)
    assert await everything(registry_world) == before


async def test_an_experiment_of_an_older_release_has_no_history_and_obeys(registry_world: World) -> None:
    await given(registry_world)
    await order(registry_world, Start)
    async with registry_world.store.write() as session:
        await session.execute(experiment_moves.delete())
    async with registry_world.store.read() as session:
        assert await ExperimentRepository(session).allocations(MODEL) == {}
        assert await standing_of(session, await record_of(registry_world)) is ExperimentStatus.RUNNING
    await order(registry_world, Ramp, Pause, Resume)
    assert offered(await newest(registry_world)) == {"champion": 0.7, "challenger": 0.3}


HELD = {**SPLIT, "hold_back": {"share": 0.1, "duration_ms": 60_000}}


async def held_back(world: World) -> ExperimentRecord | None:
    async with world.store.read() as session:
        return await ExperimentRepository(session).get("e1-hold-back")


async def test_a_promotion_begins_its_hold_back_with_roles_reversed_and_no_alpha(
    registry_world: World,
) -> None:
    await given(registry_world, HELD)
    await order(registry_world, Start)
    await verdict(registry_world, "PROMOTE", "2")
    async with registry_world.store.write() as session:
        await registry_world.experiments.complete(session, "e1", **BY)
        account = await account_of(session, MODEL, Quarter.of(9_000))
    record = await held_back(registry_world)
    assert record is not None
    assert (record.status, record.started_at_ms) == ("RUNNING", 9_000)
    event = await newest(registry_world)
    assert offered(event) == {"champion": 0.9, "held_back": 0.1}
    assert [offer.version for offer in event.variants] == ["2", "1"]
    assert [each.experiment for each in account.entries] == ["e1"]


async def test_what_was_held_back_is_restored_by_its_verdict(registry_world: World) -> None:
    await test_a_promotion_begins_its_hold_back_with_roles_reversed_and_no_alpha(registry_world)
    async with registry_world.store.write() as session:
        await registry_world.decided(
            session,
            subject="e1-hold-back",
            at_ms=12_000,
            verdict="PROMOTE",
            version="1",
            champion_version="2",
        )
        assert await registry_world.experiments.complete(session, "e1-hold-back", **BY) == "PROMOTE"
    async with registry_world.store.read() as session:
        versions = {each.version: each.stage for each in await ModelRepository(session).versions(MODEL)}
        assert await ExperimentRepository(session).get("e1-hold-back-hold-back") is None
    assert versions == {"1": "PRODUCTION", "2": "ARCHIVED"}


async def test_a_promotion_whose_hold_back_cannot_begin_is_refused_whole(registry_world: World) -> None:
    await given(registry_world, HELD)
    await order(registry_world, Start)
    other = plan_from_template(TEMPLATE, experiment="e1-hold-back", model=MODEL, champion="1", challenger="2")
    async with registry_world.store.write() as session:
        await registry_world.experiments.create(session, other)
    await verdict(registry_world, "PROMOTE", "2")
    before = await everything(registry_world)
    async with registry_world.store.write() as session:
        with pytest.raises(ImmutableConflict):
            await registry_world.experiments.complete(session, "e1", **BY)
    assert await everything(registry_world) == before
