"""Every order on every status of an experiment, and many at once. A refusal changes nothing."""

import asyncio
from collections.abc import Awaitable

import pytest

from consumers.services.experiment_moves import standing_of
from consumers.store.errors import Refused
from consumers.store.repositories.experiments import ExperimentRepository
from consumers.store.repositories.models import ModelRepository
from consumers.store.session import WriteSession
from domain.errors import DomainError
from domain.experiments.status import (
    EXPERIMENTS,
    Cancel,
    ConcludePromoted,
    ConcludeRolledBack,
    ExperimentStatus,
    Pause,
    Ramp,
    Start,
    Stop,
)
from domain.transitions import IllegalTransition
from schemas.events import ModelStage
from tests.services.orders import (
    BY,
    ORDERS,
    Order,
    everything,
    given,
    newest,
    offered,
    order,
    record_of,
    verdict,
)
from tests.services.world import MODEL, World, world


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
