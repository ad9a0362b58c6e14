"""Many experiments together: every hypothesis that was looked at counts, also the disappointing ones."""

import math
from dataclasses import replace

import pytest

from consumers.services.budgets import account_of
from consumers.services.fleet import Fleet, fleet, present_quarter
from consumers.services.judging import Judging
from consumers.services.policies import checked, put_in_force
from consumers.services.trial_paths import judged_numbers
from consumers.store.repositories.experiments import ExperimentRepository
from domain.experiments.budget import Quarter
from domain.experiments.plan import ExperimentPlan, Minimums
from domain.experiments.rules import Goal
from tests.report.trials import LENGTH_MS, Stream, a_plan, judge, rows, start
from tests.services.world import MODEL, World

Q1 = Quarter(1970, 1)


def the_plan(name: str) -> ExperimentPlan:
    """Version 2 against version 1."""
    made = a_plan(name)
    champion, challenger = made.variants
    return replace(made, variants=(replace(champion, version="1"), replace(challenger, version="2")))


async def judged(world: World, name: str, first: int, last: int, gain: float) -> None:
    judging = Judging(context=world.context, experiments=world.experiments)
    closed = list(rows(the_plan(name), Stream(gain=gain, seed=first), first, last))
    await judge(world.store, judging, MODEL, closed)


async def seen(world: World, *, model: str | None = None, q: float = 0.05) -> Fleet:
    async with world.store.read() as session:
        return await fleet(session, model=model, quarters=[Q1], q=q)


@pytest.fixture
async def lived(registry_world: World) -> World:
    """Experiments: e1 never had a row; e2 was cancelled after looks; e3 is better, and decided."""
    world = registry_world
    # the judge cuts windows of a minute here
    world = replace(
        world, context=replace(world.context, windows=replace(world.context.windows, length_ms=LENGTH_MS))
    )
    await world.with_production()
    async with world.store.write() as session:
        await put_in_force(session, MODEL, checked({"alpha_budget": {"per_quarter": 0.2}}))
    await start(world.store, world.experiments, the_plan("e1"))
    async with world.store.write() as session:
        await world.experiments.cancel(session, "e1")
    await start(world.store, world.experiments, the_plan("e2"))
    await judged(world, "e2", 0, 4, gain=0.3)
    async with world.store.write() as session:
        await world.experiments.cancel(session, "e2")
    await start(world.store, world.experiments, the_plan("e3"))
    await judged(world, "e3", 10, 22, gain=0.3)
    return world


async def test_spent_alpha_and_hypotheses_are_those_that_were_looked_at(lived: World) -> None:
    found = await seen(lived)
    (account,) = found.accounts
    assert [(each.experiment, each.returned) for each in account.entries] == [
        ("e1", True),
        ("e2", False),
        ("e3", False),
    ]
    assert (account.budget, account.spent, account.left) == (0.2, 0.1, 0.1)
    assert [(each.experiment, each.version) for each in found.tried] == [("e2", "2"), ("e3", "2")]
    cancelled, promising = found.tried
    assert cancelled.log_e == -math.inf, "its evidence is gone, and so it has none"
    assert not cancelled.promoted
    assert promising.log_e >= math.log(20)
    assert promising.promoted
    async with lived.store.read() as session:
        assert account == await account_of(session, MODEL, Q1)


@pytest.mark.parametrize("windows,promoted", [(3, False), (15, True)])
async def test_several_primaries_are_one_hypothesis_by_their_mean_e_value(
    registry_world: World, windows: int, promoted: bool
) -> None:
    windowed = replace(registry_world.context.windows, length_ms=LENGTH_MS)
    world = replace(registry_world, context=replace(registry_world.context, windows=windowed))
    await world.with_production()
    squared = Goal(metric="squared_error", direction="decrease")
    plan = replace(the_plan("e1"), more_primaries=(squared,), minimums=Minimums(batches=3))
    await start(world.store, world.experiments, plan)
    judging = Judging(context=world.context, experiments=world.experiments)
    closed = list(rows(plan, Stream(gain=0.0, other=0.5), 0, windows))
    await judge(world.store, judging, MODEL, closed)
    (tried,) = (await seen(world)).tried
    async with world.store.read() as session:
        record = await ExperimentRepository(session).get("e1")
        assert record is not None
        numbers = await judged_numbers(session, record, plan)
    assert numbers is not None
    (measures,) = numbers["treatments"].values()
    mean = (math.exp(measures["primary"]["log_e"]) + math.exp(measures["more_primaries"][0]["log_e"])) / 2
    assert tried.promoted == promoted
    assert tried.log_e == pytest.approx(math.log(mean))
    # 2 / alpha on one of two primaries is at least 1 / alpha on their mean
    assert (mean >= 20) == promoted


async def test_what_was_cancelled_makes_the_others_need_more(lived: World) -> None:
    found = await seen(lived)
    log_e = found.tried[1].log_e
    assert found.discoveries.threshold == pytest.approx(math.log(2 / 0.05))
    assert found.discoveries.rejected == (False, log_e >= math.log(2 / 0.05))
    assert (found.promoted, found.standing) == (1, int(log_e >= math.log(2 / 0.05)))
    strict = await seen(lived, q=0.99 * 2 / math.exp(log_e))
    assert strict.standing == 0


async def test_a_model_and_a_quarter_can_be_looked_at_alone(lived: World) -> None:
    assert await seen(lived, model=MODEL) == await seen(lived)
    async with lived.store.read() as session:
        assert await present_quarter(session, 0) == Q1
        other = await fleet(session, model=None, quarters=[Quarter(1970, 2)], q=0.05)
        every = await fleet(session, model=None, quarters=None, q=0.05)
    assert [(each.quarter, each.entries) for each in other.accounts] == [(Quarter(1970, 2), ())]
    assert (other.tried, other.discoveries.rejected) == ((), ())
    assert [each.quarter for each in every.accounts] == [Q1]


async def test_a_running_experiment_counts_with_what_it_has_now(registry_world: World) -> None:
    world = registry_world
    await world.with_production()
    await start(world.store, world.experiments, the_plan("e1"))
    assert (await seen(world)).tried == ()
    await judged(world, "e1", 0, 2, gain=0.0)
    (early,) = (await seen(world)).tried
    assert (early.log_e, early.promoted) == (0.0, False), "before rho is tuned there is no bet"
    await judged(world, "e1", 2, 9, gain=0.0)
    (later,) = (await seen(world)).tried
    assert math.isfinite(later.log_e)
    assert later.log_e != 0.0


async def test_without_anything_the_present_is_the_wall_clock(registry_world: World) -> None:
    async with registry_world.store.read() as session:
        assert await present_quarter(session, Q1.end_ms) == Quarter(1970, 2)
        assert (await fleet(session, model=None, quarters=[Q1], q=0.05)).accounts == ()
