"""Values to store, with everything that a test does not care about filled in."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from consumers.store.repositories.decisions import Decision
from consumers.store.repositories.episodes import Episode
from consumers.store.repositories.experiments import ExperimentRecord
from consumers.store.repositories.models import ModelRepository, Transition, VersionRecord
from consumers.store.repositories.retraining import NewJob
from consumers.store.session import WriteSession
from consumers.store.types import digest_of
from domain.windows.progress import Progress
from domain.windows.rows import ArrivalRow, RowKey, WindowRow
from schemas.events import DriftType, ExperimentStatus, ModelStage, RetrainingTrigger

NOW = datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)
MINUTE = 60_000


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def window_row(start_ms: int = 0, *, n: int = 1, due_ms: int | None = None, **key: Any) -> WindowRow:
    names = {
        "kind": "input",
        "partition": 0,
        "model": "brent",
        "version": "1",
        "variant": "",
        "experiment": "",
        "epoch": 0,
        "horizon_s": 0,
        **key,
    }
    due = start_ms + MINUTE if due_ms is None else due_ms
    return WindowRow(RowKey(window_start_ms=start_ms, **names), due, orjson.dumps({"n": n}))


def arrival_row(start_ms: int = 0, *, read: int = 1, partition: int = 0) -> ArrivalRow:
    return ArrivalRow("predictions", partition, start_ms, orjson.dumps({"read": read}))


def progress(inputs_ms: int, outcomes_ms: int, *, partition: int = 0, offset: int = 0) -> Progress:
    return Progress(partition, offset, 5, offset, 6, inputs_ms, outcomes_ms, inputs_ms, outcomes_ms)


def decision(decision_id: str = "d-1", *, at_ms: int = 1, model: str = "brent", **other: Any) -> Decision:
    body = other.pop("body", b'{"statistic":1.5}')
    values = {
        "kind": "drift",
        "subject": "1/chi2",
        "window_start_ms": 0,
        "window_end_ms": at_ms,
        "config_hash": "c" * 64,
        "code_version": "0.1.0",
        **other,
    }
    return Decision(
        decision_id=decision_id, at_ms=at_ms, model=model, body=body, digest=digest_of(body), **values
    )


def version(number: str = "1", stage: ModelStage = ModelStage.STAGING, **other: Any) -> VersionRecord:
    values = {
        "model": "brent",
        "status": "REGISTERED",
        "artifact_uri": f"file:///models/{number}",
        "artifact_sha256": "a" * 64,
        "manifest": {"files": [{"path": "model.ubj", "size": 3}]},
        "metadata": {"metrics": {"mae": 0.54}},
        "lineage": {"source": "import"},
        "registered_at_ms": 7,
        **other,
    }
    return VersionRecord(version=number, stage=stage, **values)


def transition(number: str, from_stage: ModelStage | None, to_stage: ModelStage, at_ms: int) -> Transition:
    return Transition(
        model="brent",
        version=number,
        from_stage=from_stage,
        to_stage=to_stage,
        actor="judge",
        reason="better",
        epoch=1,
        at_ms=at_ms,
    )


def experiment(
    experiment_id: str = "e-1", status: ExperimentStatus = ExperimentStatus.RUNNING, **other: Any
) -> ExperimentRecord:
    values = {"model": "brent", "config": {"alpha": 0.05}, "config_hash": "f" * 64, **other}
    return ExperimentRecord(experiment_id=experiment_id, status=status, **values)


def job(job_id: str = "j-1", *, opened_at_ms: int = 10, model: str = "brent") -> NewJob:
    return NewJob(
        job_id=job_id,
        model=model,
        trigger=RetrainingTrigger.DRIFT_DETECTED,
        reason="features moved",
        request={"drift_id": "x"},
        as_of_ms=9,
        opened_at_ms=opened_at_ms,
    )


def episode(episode_id: str = "p-1", *, opened_at_ms: int = 10, model: str = "brent") -> Episode:
    return Episode(
        episode_id=episode_id,
        model=model,
        version="1",
        drift_type=DriftType.DATA_DRIFT,
        severity="drift",
        opened_at_ms=opened_at_ms,
        opened_by="d-1",
    )


async def add_model(
    session: WriteSession, *versions: VersionRecord, name: str = "brent"
) -> ModelRepository[WriteSession]:
    """A model with these versions."""
    registry = ModelRepository(session)
    await registry.create_model(name=name, task="float", created_at_ms=1)
    for one in versions:
        await registry.add_version(one)
    return registry
