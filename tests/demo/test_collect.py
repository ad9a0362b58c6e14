"""The story is what store and log hold, with the decisions as evidence."""

import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from consumers.demo.collect import collect
from consumers.demo.story import DemoStory
from consumers.log.decode import Limits
from consumers.log.memory import InMemoryLog
from consumers.services.history import HistoricalDataService, HistoryNotClosed
from consumers.services.reconciling import Account
from consumers.store.engine import Store, open_store
from consumers.store.repositories.decisions import DecisionRepository
from consumers.store.repositories.deployment import DeploymentRepository
from consumers.store.repositories.episodes import EpisodeRepository
from consumers.store.repositories.experiments import ExperimentRepository
from consumers.store.repositories.models import Transition
from consumers.store.repositories.retraining import RetrainingRepository
from consumers.store.repositories.tallies import TallyRepository
from consumers.store.session import WriteSession
from domain.experiments.plan import ExperimentPlan, Variant
from domain.experiments.rules import Goal
from domain.retraining.history import HistoryRow
from domain.windows.policy import WindowPolicy
from schemas import Topics
from schemas.clock import from_ms
from schemas.events import ExperimentStatus, ModelStage, OutcomeObserved, PredictionMade, RetrainingStatus
from schemas.outgoing import heartbeat, record_of
from tests.store.builders import (
    NOW,
    add_model,
    decision,
    episode,
    experiment,
    job,
    progress,
    transition,
    version,
    window_row,
)

TOPICS = Topics()
POLICY = WindowPolicy(length_ms=10_000, slack_ms=0, grace_ms=5_000)
PLAN = ExperimentPlan(
    experiment="brent-2-v-1",
    model="brent",
    strategy="SHADOW_MODE",
    variants=(
        Variant(name="champion", version="1", champion=True),
        Variant(name="challenger", version="2"),
    ),
    primary=Goal(metric="abs_error", direction="decrease"),
)
PROMOTE = {"evidence": {"verdict": "PROMOTE", "outcomes": 9, "treatments": {}}, "kind": "verdict"}
DRIFT = {"evidence": {"mean_before": 0.3, "mean_after": 0.5}, "kind": "drift"}
# time, version that answers, its answer, the price and what really happened
DAYS = [(1_000, "1", 1.0, 20.0, 2.0), (12_000, "1", 1.5, None, 1.0), (23_000, "2", 3.0, 22.0, 3.25)]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(str(tmp_path / "store.db"), migrate=True)
    async with opened.write() as session:
        await _eventful(session)
    yield opened
    await opened.dispose()


async def _eventful(session: WriteSession) -> None:
    """A drift, its job, the job's experiment, the promotion; and another model, of which nothing is told."""
    decisions = DecisionRepository(session)
    await decisions.add(decision("drift-1", at_ms=10_000, body=orjson.dumps(DRIFT)), NOW)
    await decisions.add(decision("verdict-1", at_ms=20_000, kind="verdict", body=orjson.dumps(PROMOTE)), NOW)
    episodes = EpisodeRepository(session)
    for name, model in (("brent-drift", "brent"), ("other-drift", "other")):
        drift = episode(name, opened_at_ms=10_000, model=model)
        await episodes.open(replace(drift, opened_by="drift-1"))
    await episodes.close("brent-drift", closed_at_ms=15_000, closed_by=None)
    await _retrained(session)
    models = await add_model(
        session,
        version("1", ModelStage.ARCHIVED),
        version("2", ModelStage.PRODUCTION, lineage={"train_rows": 1_200}),
    )
    for move in _moves():
        await models.add_transition(move, NOW)
    await ExperimentRepository(session).add(
        experiment(
            PLAN.experiment,
            ExperimentStatus.COMPLETED_PROMOTED,
            config=PLAN.to_json(),
            started_at_ms=11_000,
            closed_at_ms=20_000,
            decision_id="verdict-1",
        )
    )
    await ExperimentRepository(session).add(
        experiment("never-started", ExperimentStatus.CREATED, config=PLAN.to_json())
    )
    rows = [window_row(0), window_row(0, partition=1), window_row(10_000), window_row(0, model="other")]
    scores = [window_row(20_000, kind="score", horizon_s=2)]
    await DeploymentRepository(session).put_once("partitions", 1)
    await TallyRepository(session).insert_closed([*rows, *scores], [], progress(40_000, 40_000), now=NOW)


async def _retrained(session: WriteSession) -> None:
    jobs = RetrainingRepository(session)
    await jobs.open(job("job-1", opened_at_ms=10_000))
    assert await jobs.claim("trainer", NOW) is not None
    result = {"detail": "within the limit", "validation": {"n": 125}, "metrics": {"mae": 0.3}}
    await jobs.finish("job-1", "trainer", RetrainingStatus.SUCCEEDED, version="2", result=result)
    await jobs.add_suppressed(job("job-2", opened_at_ms=16_000), {"detail": "experiment e runs"})
    await jobs.open(job("job-3", opened_at_ms=30_000))


def _moves() -> Sequence[Transition]:
    promoted = replace(
        transition("2", ModelStage.STAGING, ModelStage.PRODUCTION, 20_000), decision_id="verdict-1"
    )
    return [
        transition("1", None, ModelStage.DEVELOPMENT, 0),
        transition("1", ModelStage.STAGING, ModelStage.PRODUCTION, 0),
        transition("2", None, ModelStage.DEVELOPMENT, 10_000),
        promoted,
        transition("1", ModelStage.PRODUCTION, ModelStage.ARCHIVED, 20_000),
    ]


@pytest.fixture
async def log() -> InMemoryLog:
    """Two predictions by version 1, one by version 2 with a shadow answer; time is past all cutoffs."""
    made = InMemoryLog(now_ms=lambda: 10**12)
    await made.create_topics(TOPICS.specs(1))
    events: list[PredictionMade | OutcomeObserved] = []
    for at_ms, served_by, value, price, actual in DAYS:
        answer = PredictionMade(
            occurred_at=from_ms(at_ms),
            prediction_id=f"p-{at_ms}",
            model="brent",
            version=served_by,
            prediction=value,
            features={"price": price},
            horizon_s=2,
        )
        outcome = OutcomeObserved(
            occurred_at=from_ms(at_ms + 2_000), prediction_id=answer.prediction_id, actual=actual
        )
        events += [answer, outcome]
    await made.append([record_of(event, TOPICS, source="test") for event in events])
    for topic in (TOPICS.predictions, TOPICS.outcomes):
        await made.append([heartbeat(topic, 0, 60_000)])
    return made


def accounts(*, lost: int = 0) -> list[Account]:
    predictions = Account(
        side="predictions", partition=0, records=4 + lost, fates={"tallied": 3, "heartbeat": 1}, in_rows=3
    )
    outcomes = Account(
        side="outcomes", partition=0, records=4, fates={"matched": 3, "heartbeat": 1}, in_rows=None
    )
    return [predictions, outcomes]


def predict_v1(rows: Sequence[HistoryRow]) -> list[float]:
    return [1.0 for _ in rows]


async def told(
    store: Store, log: InMemoryLog, *, found: Sequence[Account] | None = None, as_of_ms: int | None = None
) -> DemoStory:
    return await collect(
        store=store,
        history=HistoricalDataService(log, TOPICS.predictions, TOPICS.outcomes, POLICY, Limits()),
        model="brent",
        predict_v1=predict_v1,
        accounts=accounts() if found is None else found,
        change_points_ms=[30_000, 5_000],
        report=Path("report.html"),
        as_of_ms=as_of_ms,
    )


async def test_series_are_the_served_answers_with_their_outcomes(store: Store, log: InMemoryLog) -> None:
    series = (await told(store, log)).series
    assert series.at_ms == (1_000, 12_000, 23_000)
    assert series.served == (1.0, 1.5, 3.0)
    assert series.served_version == ("1", "1", "2")
    assert series.actual == (2.0, 1.0, 3.25)
    assert series.frozen_v1 == (1.0, 1.0, 1.0)
    assert [series.price[0], math.isnan(series.price[1]), series.price[2]] == [20.0, True, 22.0]


async def test_both_errors_are_over_these_rows(store: Store, log: InMemoryLog) -> None:
    found = await told(store, log)
    assert found.champion_mae == (1.0 + 0.5 + 0.25) / 3
    assert found.frozen_v1_mae == (1.0 + 0.0 + 2.25) / 3
    assert found.change_points_ms == (5_000, 30_000)


async def test_episodes_and_jobs_of_the_model_are_told_with_their_evidence(
    store: Store, log: InMemoryLog
) -> None:
    found = await told(store, log)
    (drift,) = found.drift_episodes
    assert (drift.id, drift.opened_at_ms, drift.closed_at_ms) == ("brent-drift", 10_000, 15_000)
    assert drift.evidence == DRIFT
    done, refused, waiting = found.retraining_jobs
    assert (done.version, done.train_rows, done.validation, done.metrics) == (
        "2",
        1_200,
        {"n": 125},
        {"mae": 0.3},
    )
    assert (refused.status, refused.detail, refused.version) == ("SUPPRESSED", "experiment e runs", None)
    assert (waiting.status, waiting.detail) == ("REQUESTED", "")


async def test_experiments_that_started_are_told_with_their_verdict(store: Store, log: InMemoryLog) -> None:
    (trial,) = (await told(store, log)).experiments
    assert (trial.champion_version, trial.challenger_version, trial.metric) == ("1", "2", "abs_error")
    assert (trial.verdict, trial.started_at_ms, trial.ended_at_ms) == ("PROMOTE", 11_000, 20_000)
    assert trial.evidence == PROMOTE


async def test_the_first_version_in_production_is_no_promotion(store: Store, log: InMemoryLog) -> None:
    (promotion,) = (await told(store, log)).promotions
    assert (promotion.version, promotion.previous_version, promotion.at_ms) == ("2", "1", 20_000)
    assert promotion.evidence == PROMOTE


async def test_windows_are_counted_once_whatever_their_partitions(store: Store, log: InMemoryLog) -> None:
    found = await told(store, log)
    assert (found.windows, found.divergences) == (2, 0)


async def test_heartbeats_are_no_predictions(store: Store, log: InMemoryLog) -> None:
    found = await told(store, log)
    assert (found.predictions, found.outcomes, found.conservation_ok) == (3, 3, True)


async def test_a_lost_record_and_missing_accounts_are_not_conservation(
    store: Store, log: InMemoryLog
) -> None:
    assert not (await told(store, log, found=accounts(lost=1))).conservation_ok
    assert not (await told(store, log, found=[])).conservation_ok


async def test_only_what_is_closed_by_as_of_is_told(store: Store, log: InMemoryLog) -> None:
    # the first window ends at 10 s, its outcomes are due 2 s later, with 5 s of grace
    assert (await told(store, log, as_of_ms=17_000)).series.at_ms == (1_000,)
    with pytest.raises(HistoryNotClosed):
        await told(store, log, as_of_ms=90_000)


async def test_an_empty_store_tells_an_empty_story(tmp_path: Path) -> None:
    log = InMemoryLog(now_ms=lambda: 10**12)
    await log.create_topics(TOPICS.specs(1))
    store = await open_store(str(tmp_path / "empty.db"), migrate=True)
    found = await told(store, log)
    await store.dispose()
    assert (found.from_ms, found.windows, found.promotions, found.champion_mae) == (None, 0, (), None)
