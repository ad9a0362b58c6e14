"""Judges beside each other on PostgreSQL: each decision once, with the bytes of one judge on SQLite."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consumers.services.replaying import Replaying
from consumers.store.engine import Store, open_store
from consumers.store.repositories.decisions import DecisionRepository
from consumers.store.repositories.deployment import DeploymentRepository
from consumers.store.repositories.judgements import JudgementRepository
from consumers.store.repositories.outbox import OutboxRepository
from consumers.store.repositories.tallies import TallyRepository
from consumers.workers.judge import JudgeWorker
from domain.windows.progress import Progress
from domain.windows.rows import WindowRow
from schemas.clock import from_ms
from schemas.events import Event, OutcomeObserved, PredictionMade
from tests.services.deployment import LENGTH, WALL_MS, Deployment, deployment, profile, served

MODELS = [f"m{number:02}" for number in range(20)]
WINDOWS = 9


@pytest.fixture
async def where(tmp_path: Path, migrated_file: Path) -> AsyncIterator[Deployment]:
    """Twenty models that drift, each at its own time; tallied, and not judged."""
    async with deployment(tmp_path, migrated_file) as made:
        await made.register(*(profile(model=model) for model in MODELS))
        events: list[Event] = []
        for number, model in enumerate(MODELS):
            drift_from = 5 + number % 3
            life = [*served(0, drift_from), *served(drift_from, WINDOWS, low=9, actual=0.9)]
            events += [of_model(event, model) for event in life]
        await made.append(*sorted(events, key=lambda event: event.occurred_at))
        await made.beat(LENGTH * WINDOWS + 10_000)
        await made.tallied()
        yield made


@pytest.fixture
async def copied(where: Deployment, pg_store: Store) -> Store:
    """The same on PostgreSQL."""
    there = Deployment(folder=where.folder, log=where.log, store=pg_store, policy=where.policy, partitions=1)
    await there.register(*(profile(model=model) for model in MODELS))
    async with where.store.read() as session:
        tallies = TallyRepository(session)
        rows = [WindowRow(row.key, row.due_ms, row.body) async for row in tallies.all_rows()]
        progress: list[Progress] = await tallies.all_progress()
        facts = await DeploymentRepository(session).all()
    async with pg_store.write() as writing:
        await TallyRepository(writing).insert_closed(rows, [], progress[0], now=from_ms(WALL_MS))
        for key, value in facts.items():
            await DeploymentRepository(writing).put_once(key, value)
    return pg_store


def of_model(event: Event, model: str) -> Event:
    assert isinstance(event, PredictionMade | OutcomeObserved)
    changes = {"prediction_id": f"{model}-{event.prediction_id}"}
    if isinstance(event, PredictionMade):
        changes["model"] = model
    return event.model_copy(update=changes)


async def until_all_is_judged(judge: JudgeWorker) -> None:
    """A judge that finds all that is left in other hands comes again, as its shell would have it."""
    through: list[int] = []
    while len(through) < len(MODELS) or len(set(through)) > 1:
        await judge.step()
        async with judge.store.read() as session:
            through = [each.judged_through_ms for each in await JudgementRepository(session).all()]


async def test_two_judges_share_twenty_models_and_decide_what_one_judge_decides(
    where: Deployment, copied: Store, postgresql_url: str
) -> None:
    await where.judged()
    expected = await where.decisions()
    stores = [copied, await open_store(postgresql_url)]
    judges = [where.judge(store, slice_rows=3) for store in stores]
    async with asyncio.timeout(60):
        await asyncio.gather(*(until_all_is_judged(judge) for judge in judges))
    async with copied.read() as session:
        decisions = await DecisionRepository(session).list()
        promised = await OutboxRepository(session).unsent(1_000)
    assert decisions == expected
    assert len(decisions) > 2 * len(MODELS)
    assert sum(judge.counts.decisions for judge in judges) == len(decisions)
    assert all(judge.counts.rows > 0 for judge in judges), "both had their share"
    assert sum(judge.counts.passed_over for judge in judges) > 0, "and neither waited for the other"
    announced = [each.decision_id for each in decisions if each.kind in ("drift", "retrain")]
    assert len(promised) == len({record.event_id for record in promised}) == len(announced)
    assert (await Replaying(store=copied, refolding=where.refolding).replay()).equal
    await stores[1].dispose()


async def test_a_model_in_other_hands_is_left_for_the_next_step(where: Deployment, copied: Store) -> None:
    judge = where.judge(copied)
    async with copied.write() as session:
        assert await JudgementRepository(session).claim(MODELS[3])
        async with asyncio.timeout(30):
            assert await asyncio.create_task(judge.step()) > 0
    async with copied.read() as reading:
        judged = {each.model for each in await JudgementRepository(reading).all()}
    assert judged == {*MODELS} - {MODELS[3]}
    assert await judge.step() > 0
    assert await judge.step() == 0
