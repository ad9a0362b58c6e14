"""Collects the story of a demo from the store and the log; writes nothing."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from consumers.demo.story import DemoStory, Episode, Job, Promotion, Series, Trial, facts
from consumers.services.history import HistoricalDataService
from consumers.services.reconciling import Account
from consumers.services.retraining import fully_closed_ms
from consumers.store.engine import Store
from consumers.store.repositories.decisions import DecisionRepository
from consumers.store.repositories.episodes import EpisodeRepository
from consumers.store.repositories.experiments import ExperimentRecord, ExperimentRepository
from consumers.store.repositories.models import ModelRepository, Transition
from consumers.store.repositories.retraining import JobRecord, RetrainingRepository
from consumers.store.repositories.tallies import TallyRepository
from consumers.store.session import ReadSession
from domain.experiments.plan import ExperimentPlan
from domain.retraining.history import HistoryRow
from schemas.events import ModelStage

PredictV1 = Callable[[Sequence[HistoryRow]], Sequence[float]]
"""What version 1 answers to the rows' features, in their order."""

Bodies = Mapping[str, Mapping[str, Any]]
"""Decision id -> the decision's canonical body, parsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What the store alone tells."""

    episodes: tuple[Episode, ...]
    jobs: tuple[Job, ...]
    experiments: tuple[Trial, ...]
    promotions: tuple[Promotion, ...]
    windows: int
    divergences: int
    closed_through_ms: int


async def collect(
    *,
    store: Store,
    history: HistoricalDataService,
    model: str,
    predict_v1: PredictV1,
    accounts: Sequence[Account],
    change_points_ms: Sequence[int],
    report: Path,
    price_feature: str = "price",
    as_of_ms: int | None = None,
) -> DemoStory:
    """The story of `model` from everything whose outcome is closed by `as_of_ms` (default: all that is).

    `accounts` are those of `Reconciling.accounts()`. Raises HistoryNotClosed when the log has not passed
    `as_of_ms`, ValueError when `predict_v1` does not answer every row.
    """
    async with store.read() as session:
        told = await _read(session, model)
    rows = await history.fetch(model, told.closed_through_ms if as_of_ms is None else as_of_ms)
    return DemoStory(
        model=model,
        predictions=_records(accounts, "predictions"),
        outcomes=_records(accounts, "outcomes"),
        windows=told.windows,
        drift_episodes=told.episodes,
        retraining_jobs=told.jobs,
        experiments=told.experiments,
        promotions=told.promotions,
        divergences=told.divergences,
        conservation_ok=bool(accounts) and all(account.balanced for account in accounts),
        report=str(report),
        series=_series(rows, predict_v1, price_feature),
        change_points_ms=tuple(sorted(change_points_ms)),
    )


async def _read(session: ReadSession, model: str) -> _Told:
    decisions = await DecisionRepository(session).list(model=model)
    bodies = {decision.decision_id: orjson.loads(decision.body) for decision in decisions}
    models, tallies = ModelRepository(session), TallyRepository(session)
    train_rows = {
        version.version: version.lineage.get("train_rows") for version in await models.versions(model)
    }
    windows = set()
    async for row in tallies.all_rows():
        if row.key.kind == "input" and row.key.model == model:
            windows.add(row.key.window_start_ms)
    return _Told(
        episodes=await _episodes(session, model, bodies),
        jobs=tuple(_job(job, train_rows) for job in await RetrainingRepository(session).list(model=model)),
        experiments=tuple(
            _trial(record, record.started_at_ms, bodies)
            for record in await ExperimentRepository(session).list(model)
            if record.started_at_ms is not None
        ),
        promotions=tuple(_promotions(await models.transitions(model), bodies)),
        windows=len(windows),
        divergences=await tallies.divergence_count(),
        closed_through_ms=await fully_closed_ms(session),
    )


async def _episodes(session: ReadSession, model: str, bodies: Bodies) -> tuple[Episode, ...]:
    return tuple(
        Episode(
            id=episode.episode_id,
            version=episode.version,
            drift_type=episode.drift_type.value,
            severity=episode.severity,
            opened_at_ms=episode.opened_at_ms,
            closed_at_ms=episode.closed_at_ms,
            evidence=bodies.get(episode.opened_by or "", {}),
        )
        for episode in await EpisodeRepository(session).list(model)
    )


def _job(job: JobRecord, train_rows: Mapping[str, int | None]) -> Job:
    result = job.result or {}
    return Job(
        id=job.job_id,
        status=job.status.value,
        opened_at_ms=job.opened_at_ms,
        reason=job.reason,
        detail=str(result.get("detail", "")),
        version=job.version,
        train_rows=train_rows.get(job.version) if job.version is not None else None,
        validation=result.get("validation", {}),
        metrics=result.get("metrics", {}),
    )


def _trial(record: ExperimentRecord, started_at_ms: int, bodies: Bodies) -> Trial:
    plan = ExperimentPlan.of_record(record.config)
    body = bodies.get(record.decision_id or "")
    return Trial(
        id=record.experiment_id,
        champion_version=plan.champion.version,
        challenger_version=plan.treatments[0].version,
        strategy=plan.strategy,
        metric=plan.primary.metric,
        status=record.status.value,
        started_at_ms=started_at_ms,
        ended_at_ms=record.closed_at_ms,
        verdict=facts(body).get("verdict"),
        decision_id=record.decision_id,
        evidence=body,
    )


def _promotions(transitions: Sequence[Transition], bodies: Bodies) -> list[Promotion]:
    """Arrivals in PRODUCTION after the first. The two moves of a promotion may stand in either order."""
    found: list[Promotion] = []
    serving: str | None = None
    for move in transitions:
        if move.to_stage is not ModelStage.PRODUCTION:
            continue
        if serving is not None:
            found.append(
                Promotion(
                    at_ms=move.at_ms,
                    version=move.version,
                    previous_version=serving,
                    actor=move.actor,
                    decision_id=move.decision_id,
                    evidence=bodies.get(move.decision_id or ""),
                )
            )
        serving = move.version
    return found


def _records(accounts: Sequence[Account], side: str) -> int:
    mine = [account for account in accounts if account.side == side]
    return sum(account.records - account.fates.get("heartbeat", 0) for account in mine)


def _series(rows: Sequence[HistoryRow], predict_v1: PredictV1, price_feature: str) -> Series:
    return Series(
        at_ms=tuple(row.occurred_at_ms for row in rows),
        price=tuple(_number(row.features.get(price_feature)) for row in rows),
        actual=tuple(float(row.actual) for row in rows),
        served=tuple(float(row.prediction) for row in rows),
        served_version=tuple(row.version for row in rows),
        frozen_v1=tuple(float(value) for value in predict_v1(rows)) if rows else (),
    )


def _number(value: float | str | bool | None) -> float:
    return math.nan if value is None else float(value)
