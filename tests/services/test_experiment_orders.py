"""Orders of people over a real store: ramp, pause, resume, stop, complete. A refusal changes nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from consumers.services.budgets import account_of
from consumers.services.dated_plans import dated_plan
from consumers.services.experiment_moves import standing_of
from consumers.services.experiments import NoVerdict, plan_from_template
from consumers.services.registry import StalePromotion
from consumers.store.errors import ImmutableConflict, Refused
from consumers.store.repositories.decisions import DecisionRepository
from consumers.store.repositories.experiments import ExperimentRecord, ExperimentRepository
from consumers.store.repositories.judgements import Judgement, JudgementRepository
from consumers.store.repositories.models import ModelRepository
from consumers.store.session import WriteSession
from consumers.store.tables import experiment_moves
from domain.errors import DomainError
from domain.experiments.budget import Quarter
from domain.experiments.ramps import InvalidRamp
from domain.experiments.status import (
    EXPERIMENTS,
    Cancel,
    ConcludePromoted,
    ConcludeRolledBack,
    ExperimentStatus,
    Pause,
    Ramp,
    Resume,
    Start,
    Stop,
)
from domain.transitions import IllegalTransition
from schemas.events import ExperimentChanged, ModelStage
from tests.services.world import MODEL, TEMPLATE, World, world

SPLIT = {**TEMPLATE, "strategy": "PERCENTAGE_SPLIT", "challenger_share": 0.1}
BY: dict[str, Any] = {"actor": "ada", "reason": "a test"}
Order = Callable[[World, WriteSession], Awaitable[object]]

ORDERS: dict[type[object], Order] = {
    Start: lambda world, session: world.experiments.start(session, "e1", at_ms=5_000),
    Ramp: lambda world, session: world.experiments.ramp(session, "e1", {"challenger": 0.3}, **BY),
    Pause: lambda world, session: world.experiments.pause(session, "e1", **BY),
    Resume: lambda world, session: world.experiments.resume(session, "e1", **BY),
    Stop: lambda world, session: world.experiments.stop(session, "e1", **BY),
    Cancel: lambda world, session: world.experiments.cancel(session, "e1", **BY),
    ConcludePromoted: lambda world, session: world.experiments.complete(session, "e1", **BY),
}


async def given(world: World, template: dict[str, object] = SPLIT) -> None:
    """CREATED, of version 2 against version 1."""
    await world.with_production()
    plan = plan_from_template(template, experiment="e1", model=MODEL, champion="1", challenger="2")
    async with world.store.write() as session:
        await world.experiments.create(session, plan)


async def order(world: World, *moves: type[object]) -> None:
    for move in moves:
        async with world.store.write() as session:
            await ORDERS[move](world, session)


async def verdict(world: World, kind: str, version: str) -> str:
    async with world.store.write() as session:
        decision = await world.decided(session, verdict=kind, version=version, champion_version="1")
    return decision.digest


async def judged_through(world: World, through_ms: int) -> None:
    async with world.store.write() as session:
        await JudgementRepository(session).save(
            Judgement(model=MODEL, judged_through_ms=through_ms, state={}, tallies_digest="")
        )


async def record_of(world: World) -> ExperimentRecord:
    async with world.store.read() as session:
        record = await ExperimentRepository(session).get("e1")
    assert record is not None
    return record


async def everything(world: World) -> tuple[object, ...]:
    """All that an order may change."""
    async with world.store.read() as session:
        experiments, models = ExperimentRepository(session), ModelRepository(session)
        return (
            await experiments.list(),
            await experiments.moves("e1"),
            await models.versions(MODEL),
            await models.transitions(MODEL),
            await models.get_model(MODEL),
            await DecisionRepository(session).list(model=MODEL),
            await JudgementRepository(session).all(),
            await world.promised(),
        )


async def newest(world: World) -> ExperimentChanged:
    event = (await world.events(world.context.topics.experiment_changed))[-1]
    assert isinstance(event, ExperimentChanged)
    return event


def offered(event: ExperimentChanged) -> dict[str, float]:
    return {offer.name: offer.share for offer in event.variants}


def completes(world: World, session: WriteSession) -> Awaitable[object]:
    return world.experiments.complete(session, "e1", **BY)


def concludes(kind: str) -> Order:
    """As the judge does."""
    return lambda world, session: world.experiments.conclude(
        session, "e1", verdict=kind, decision_id="d1", at_ms=9_000, winner="2" if kind == "PROMOTE" else None
    )


REACHED: dict[ExperimentStatus, tuple[type[object], ...]] = {
    ExperimentStatus.CREATED: (),
    ExperimentStatus.RUNNING: (Start,),
    ExperimentStatus.PAUSED: (Start, Pause),
    ExperimentStatus.COMPLETED_PROMOTED: (Start, ConcludePromoted),
    ExperimentStatus.COMPLETED_ROLLED_BACK: (Start, Stop),
    ExperimentStatus.CANCELLED: (Start, Cancel),
}
EVERY: dict[str, tuple[type[object], Order]] = {
    **{move.__name__: (move, order) for move, order in ORDERS.items() if move is not ConcludePromoted},
    "a person completes a promotion": (ConcludePromoted, completes),
    "a person completes a roll-back": (ConcludeRolledBack, completes),
    "the registry concludes a promotion": (ConcludePromoted, concludes("PROMOTE")),
    "the judge concludes a roll-back": (ConcludeRolledBack, concludes("ROLL_BACK")),
    "the judge concludes without a decision": (ConcludeRolledBack, concludes("INCONCLUSIVE")),
}
SILENT = {"Cancel", *(name for name in EVERY if "concludes" in name)}
"""Orders of automation, and one that a person may give twice: where they are too late they say False."""


def test_every_move_of_the_table_has_an_order_here() -> None:
    assert {move for moves in EXPERIMENTS.values() for move in moves} == {move for move, _ in EVERY.values()}
    assert REACHED.keys() == EXPERIMENTS.keys()


async def reached(world: World, status: ExperimentStatus, *, decided: str) -> None:
    """With a verdict of that kind waiting."""
    await given(world)
    await verdict(world, decided, "2")
    await order(world, *REACHED[status])


@pytest.mark.parametrize(
    "status,name",
    [(status, name) for status in REACHED for name in EVERY if EVERY[name][0] in EXPERIMENTS[status]],
)
async def test_an_order_is_carried_out_where_the_table_says_so(
    registry_world: World, status: ExperimentStatus, name: str
) -> None:
    world, (move, carry_out) = registry_world, EVERY[name]
    await reached(world, status, decided="ROLL_BACK" if move is ConcludeRolledBack else "PROMOTE")
    before = await world.promised()
    async with world.store.write() as session:
        assert await carry_out(world, session) is not False
    async with world.store.read() as session:
        found = await standing_of(session, await record_of(world))
        last = (await ExperimentRepository(session).moves("e1"))[-1]
    assert found is EXPERIMENTS[status][move]
    assert last.move == move.__name__
    assert await world.promised() != before, "it is announced"


@pytest.mark.parametrize("status", REACHED)
async def test_every_order_that_the_table_does_not_have_changes_nothing(
    registry_world: World, status: ExperimentStatus
) -> None:
    world = registry_world
    await reached(world, status, decided="PROMOTE")
    before = await everything(world)
    refused = [name for name in EVERY if EVERY[name][0] not in EXPERIMENTS[status]]
    assert refused
    for name in refused:
        move, carry_out = EVERY[name]
        async with world.store.write() as session:
            if (status, move) == (ExperimentStatus.RUNNING, Start):
                await carry_out(world, session)  # starting again is harmless
            elif name in SILENT:
                assert await carry_out(world, session) is False
            else:
                with pytest.raises(IllegalTransition, match=f"is not allowed from {status}"):
                    await carry_out(world, session)
        assert await everything(world) == before, f"{name}: history, stages, outbox and all"


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


async def at_once(world: World, *orders: Order) -> list[object]:
    """Each by a manager of its own, in a transaction of its own."""

    async def one(wanted: Order) -> object:
        async with world.store.write() as session:
            return await wanted(world, session)

    found = await asyncio.gather(*(one(wanted) for wanted in orders), return_exceptions=True)
    return [each for each in found if isinstance(each, BaseException)]


async def test_two_managers_at_once_start_an_experiment_once(registry_world: World) -> None:
    await given(registry_world)
    refused = await at_once(registry_world, *[ORDERS[Start]] * 5)
    assert refused == [], "starting again is harmless"
    record = await record_of(registry_world)
    assert (record.status, record.epoch) == ("RUNNING", 1)
    events = await registry_world.events(registry_world.context.topics.experiment_changed)
    assert len(events) == 1


async def test_two_managers_at_once_end_an_experiment_once(registry_world: World) -> None:
    await given(registry_world)
    await order(registry_world, Start)
    await verdict(registry_world, "PROMOTE", "2")

    async def complete(world: World, session: WriteSession) -> object:
        return await world.experiments.complete(session, "e1", **BY)

    async def cancel(world: World, session: WriteSession) -> object:
        return await world.experiments.cancel(session, "e1")

    refused = await at_once(registry_world, complete, ORDERS[Stop], complete, cancel, ORDERS[Stop])
    assert all(isinstance(each, DomainError | Refused) for each in refused)
    async with registry_world.store.read() as session:
        moves = [move.move for move in await ExperimentRepository(session).moves("e1")]
    assert len(moves) == 2
    assert moves[0] == "Start"
    events = await registry_world.events(registry_world.context.topics.experiment_changed)
    assert len(events) == 2


async def test_two_processes_at_once_start_and_end_an_experiment_once(
    url: str, registry_world: World
) -> None:
    """Each has its own connections, as two machines have: what keeps them apart is in the store."""
    async with world(url) as other:
        await given(registry_world)
        both = [registry_world, other] * 3
        started = await asyncio.gather(*(in_turn(each, ORDERS[Start]) for each in both))
        assert started == [None] * 6
        await verdict(registry_world, "PROMOTE", "2")
        ends = [completes, concludes("ROLL_BACK"), ORDERS[Stop], ORDERS[Cancel], completes, ORDERS[Stop]]
        ended = await asyncio.gather(*(in_turn(*each) for each in zip(both, ends, strict=True)))
    assert all(each is None or isinstance(each, DomainError | Refused) for each in ended)
    async with registry_world.store.read() as session:
        moves = [move.move for move in await ExperimentRepository(session).moves("e1")]
        stages = [move.to_stage for move in await ModelRepository(session).transitions(MODEL)]
    assert len(moves) == 2
    assert moves[0] == "Start"
    assert stages.count(ModelStage.PRODUCTION) == (2 if moves[1] == "ConcludePromoted" else 1)
    assert len(await registry_world.events(registry_world.context.topics.experiment_changed)) == 2


async def in_turn(mine: World, wanted: Order) -> BaseException | None:
    try:
        async with mine.store.write() as session:
            await wanted(mine, session)
    except (DomainError, Refused) as refused:
        return refused
    return None


async def test_two_ramps_at_once_are_two_epochs(registry_world: World) -> None:
    await given(registry_world)
    await order(registry_world, Start)

    async def other(world: World, session: WriteSession) -> object:
        return await world.experiments.ramp(session, "e1", {"challenger": 0.5}, **BY)

    assert await at_once(registry_world, ORDERS[Ramp], other) == []
    async with registry_world.store.read() as session:
        moves = await ExperimentRepository(session).moves("e1")
    assert [move.epoch for move in moves] == [1, 2, 3]
    assert offered(await newest(registry_world)) == moves[-1].shares


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
