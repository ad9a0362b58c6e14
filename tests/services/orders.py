"""Orders for one experiment of version 2 against version 1, and all that an order may change."""

from collections.abc import Awaitable, Callable
from typing import Any

from consumers.services.experiments import plan_from_template
from consumers.store.repositories.decisions import DecisionRepository
from consumers.store.repositories.experiments import ExperimentRecord, ExperimentRepository
from consumers.store.repositories.judgements import Judgement, JudgementRepository
from consumers.store.repositories.models import ModelRepository
from consumers.store.session import WriteSession
from domain.experiments.status import (
    Cancel,
    ConcludePromoted,
    Pause,
    Ramp,
    Resume,
    Start,
    Stop,
)
from schemas.events import ExperimentChanged
from tests.services.world import MODEL, TEMPLATE, World

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
