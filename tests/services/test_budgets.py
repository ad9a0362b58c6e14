"""Experiments are started out of an account: over a real store, in the transaction of the start."""

import asyncio

import pytest

from consumers.services.budgets import account_of
from consumers.services.experiments import plan_from_template
from consumers.services.policies import InvalidPolicy, checked, put_in_force
from consumers.store.errors import ExperimentAlreadyRunning
from consumers.store.repositories.experiments import ExperimentRepository
from consumers.store.repositories.judgements import Judgement, JudgementRepository
from domain.experiments.budget import Account, AlphaBudgetSpent, Quarter
from domain.judgement.state import ModelState, Trial
from schemas.events import ExperimentStatus
from tests.services.world import MODEL, TEMPLATE, World

Q1 = Quarter(1970, 1)
Q2_MS = Q1.end_ms + 5


async def start(world: World, name: str, *, at_ms: int = 3_000, alpha: float = 0.05) -> None:
    template = {**TEMPLATE, "alpha": alpha}
    plan = plan_from_template(template, experiment=name, model=MODEL, champion="1", challenger="2")
    async with world.store.write() as session:
        await world.experiments.create(session, plan)
        await world.experiments.start(session, name, at_ms=at_ms)


async def cancel(world: World, name: str, *, at_ms: int = 0) -> None:
    async with world.store.write() as session:
        assert await world.experiments.cancel(session, name, at_ms=at_ms)


async def account(world: World, quarter: Quarter = Q1) -> Account:
    async with world.store.read() as session:
        return await account_of(session, MODEL, quarter)


async def judged(world: World, through_ms: int, **trials: Trial) -> None:
    async with world.store.write() as session:
        before = await JudgementRepository(session).load(MODEL)
        state = ModelState() if before is None else ModelState.from_json(before.state)
        state.trials |= trials
        await JudgementRepository(session).save(
            Judgement(model=MODEL, judged_through_ms=through_ms, state=state.to_json(), tallies_digest="")
        )


async def spent(world: World, *names: str) -> None:
    """Experiments that had looks and were ended by a person."""
    for name in names:
        await start(world, name)
        await judged(world, 4_000, **{name: Trial(evidence={"batches": 1}, looked=True)})
        await cancel(world, name)


async def test_a_start_that_does_not_fit_is_refused_and_leaves_no_trace(registry_world: World) -> None:
    await registry_world.with_production()
    await spent(registry_world, "e1", "e2")
    before = await registry_world.promised()
    with pytest.raises(AlphaBudgetSpent) as refused:
        await start(registry_world, "e3")
    assert "0 is left; spent by e1 (0.05), e2 (0.05)" in str(refused.value)
    async with registry_world.store.read() as session:
        assert await ExperimentRepository(session).get("e3") is None
    assert await registry_world.promised() == before
    assert (await account(registry_world)).spent == 0.1


async def test_the_next_quarter_has_an_account_of_its_own(registry_world: World) -> None:
    await registry_world.with_production()
    await spent(registry_world, "e1", "e2")
    await start(registry_world, "e3", at_ms=Q2_MS)
    assert (await account(registry_world, Quarter.of(Q2_MS))).spent == 0.05
    assert (await account(registry_world)).spent == 0.1


async def test_the_quarter_is_that_of_the_time_from_which_rows_count(registry_world: World) -> None:
    await registry_world.with_production()
    await judged(registry_world, Q2_MS)
    await start(registry_world, "e1", at_ms=3_000)
    assert (await account(registry_world)).entries == ()
    assert [each.experiment for each in (await account(registry_world, Quarter.of(Q2_MS))).entries] == ["e1"]


async def test_cancelled_before_any_look_gives_its_alpha_back(registry_world: World) -> None:
    await registry_world.with_production()
    for name in ("e1", "e2", "e3"):
        await start(registry_world, name)
        await cancel(registry_world, name)
    assert [each.returned for each in (await account(registry_world)).entries] == [True, True, True]
    await start(registry_world, "e4", alpha=0.1)
    assert (await account(registry_world)).left == 0.0


@pytest.mark.parametrize(
    "trial,returned",
    [
        (Trial(evidence={"batches": 0}), True),
        (Trial(evidence={"batches": 3}, looked=True), False),
        (Trial(evidence=None, verdict="CANCELLED"), True),
        (Trial(evidence=None, verdict="CANCELLED", looked=True), False),
    ],
)
async def test_only_what_the_judge_never_looked_at_is_given_back(
    registry_world: World, trial: Trial, returned: bool
) -> None:
    await registry_world.with_production()
    await start(registry_world, "e1")
    await judged(registry_world, 4_000, e1=trial)
    await cancel(registry_world, "e1")
    (entry,) = (await account(registry_world)).entries
    assert entry.returned is returned


async def test_states_of_older_releases_are_taken_to_have_looked(registry_world: World) -> None:
    await registry_world.with_production()
    await start(registry_world, "e1")
    await cancel(registry_world, "e1")
    state = ModelState(trials={"e1": Trial(evidence=None, verdict="CANCELLED")}).to_json()
    del state["trials"]["e1"]["looked"]
    async with registry_world.store.write() as session:
        await JudgementRepository(session).save(
            Judgement(model=MODEL, judged_through_ms=4_000, state=state, tallies_digest="")
        )
    assert not (await account(registry_world)).entries[0].returned


async def test_a_cancellation_dated_ahead_keeps_its_alpha_until_no_look_can_come(
    registry_world: World,
) -> None:
    await registry_world.with_production()
    await start(registry_world, "e1")
    await cancel(registry_world, "e1", at_ms=9_000)
    assert not (await account(registry_world)).entries[0].returned
    await judged(registry_world, 9_000)
    assert (await account(registry_world)).entries[0].returned


@pytest.mark.parametrize("verdict", ["INCONCLUSIVE", "ROLL_BACK", "PROMOTE"])
async def test_a_verdict_of_any_kind_has_used_its_alpha(registry_world: World, verdict: str) -> None:
    await registry_world.with_production()
    await start(registry_world, "e1")
    async with registry_world.store.write() as session:
        await registry_world.experiments.conclude(
            session, "e1", verdict=verdict, decision_id="d", at_ms=9_000, winner="2"
        )
    assert (await account(registry_world)).spent == 0.05


async def test_policy_says_how_much_and_its_last_word_in_the_quarter_counts(registry_world: World) -> None:
    await registry_world.with_production()
    for budget in (0.02, 0.05):
        async with registry_world.store.write() as session:
            await put_in_force(session, MODEL, checked({"alpha_budget": {"per_quarter": budget}}))
    with pytest.raises(AlphaBudgetSpent, match=r"of the 0\.05"):
        await start(registry_world, "e1", alpha=0.06)
    await start(registry_world, "e2")


async def test_two_starts_at_once_cannot_overdraw(registry_world: World) -> None:
    await registry_world.with_production()
    await spent(registry_world, "e1")
    outcomes = await asyncio.gather(
        *(start(registry_world, name) for name in ("e2", "e3", "e4")), return_exceptions=True
    )
    refused = [outcome for outcome in outcomes if outcome is not None]
    assert len(refused) == 2
    assert all(isinstance(each, AlphaBudgetSpent | ExperimentAlreadyRunning) for each in refused)
    assert (await account(registry_world)).spent == 0.1
    async with registry_world.store.read() as session:
        running = [each.status for each in await ExperimentRepository(session).list(MODEL)]
    assert running.count(ExperimentStatus.RUNNING) == 1


def test_a_policy_whose_experiments_never_fit_is_refused() -> None:
    experiment = {**TEMPLATE, "alpha": 0.2}
    with pytest.raises(InvalidPolicy, match=r"policy\.experiment\.alpha must be at most 0\.1"):
        checked({"experiment": experiment})
    assert checked({"experiment": experiment, "alpha_budget": {"per_quarter": None}})
    with pytest.raises(InvalidPolicy, match=r"policy\.alpha_budget\.per_quarter"):
        checked({"alpha_budget": {"per_quarter": 0}})
