"""The state of a deployment in one document: what serves, what is open, what is wrong."""

from collections.abc import Mapping
from typing import Any

from consumers.log.port import EventLog
from consumers.services.watching import silent_detectors
from consumers.store.engine import Store
from consumers.store.repositories.episodes import EpisodeRepository
from consumers.store.repositories.experiments import ExperimentRepository
from consumers.store.repositories.judgements import Judgement, JudgementRepository
from consumers.store.repositories.models import ModelRecord, ModelRepository
from consumers.store.repositories.outbox import OutboxRepository
from consumers.store.repositories.profiles import ProfileRepository
from consumers.store.repositories.retraining import RetrainingRepository
from consumers.store.repositories.tallies import TallyRepository
from consumers.store.session import ReadSession
from domain.drift.adwin import AdwinState
from schemas.topics import Topics

Document = dict[str, Any]


async def status(store: Store, log: EventLog, topics: Topics) -> Document:
    """Models, partitions and health, from one snapshot of the store and the log's ends after it."""
    async with store.read() as session:
        tallies = TallyRepository(session)
        progress = {each.partition: each for each in await tallies.all_progress()}
        counts = await tallies.counts()
        fates = await tallies.fates()
        unknown = await tallies.unknown_versions()
        divergences = await tallies.divergence_count()
        waiting = await OutboxRepository(session).unsent_count()
        models = [await _model(session, model) for model in await ModelRepository(session).list_models()]
    known = await log.topics()
    partitions = known[topics.predictions].partitions if topics.predictions in known else 0
    return {
        "models": models,
        "partitions": [
            {
                "partition": partition,
                "predictions": await log.end(topics.predictions, partition),
                "outcomes": await log.end(topics.outcomes, partition),
                "inputs_through_ms": progress[partition].inputs_through_ms if partition in progress else None,
                "outcomes_through_ms": progress[partition].outcomes_through_ms
                if partition in progress
                else None,
            }
            for partition in range(partitions)
        ],
        "rows": {"input": counts.inputs, "score": counts.scores},
        "records": {side: _fates(fates, side) for side in ("predictions", "outcomes")},
        "divergences": divergences,
        "outbox_waiting": waiting,
        "dead_letters": await _records(log, topics.dead_letter, known),
        "unknown_versions": [
            {
                "model": each.model,
                "version": each.version,
                "first_window_ms": each.first_window_ms,
                "last_window_ms": each.last_window_ms,
            }
            for each in unknown
        ],
    }


def _fates(fates: Mapping[tuple[str, str], int], side: str) -> Document:
    """Records of one side by what became of them, as far as windows are closed."""
    return {name: number for (of, name), number in sorted(fates.items()) if of == side and name != "read"}


async def _model(session: ReadSession, model: ModelRecord) -> Document:
    production = await ModelRepository(session).production(model.name)
    judgement = await JudgementRepository(session).load(model.name, for_update=False)
    episodes = await EpisodeRepository(session).open_episodes(model.name)
    experiment = await ExperimentRepository(session).running(model.name)
    job = await RetrainingRepository(session).open_job(model.name)
    version = None if production is None else production.version
    profiles = await ProfileRepository(session).get_many([(model.name, version)] if version else [])
    silent = await silent_detectors(session, model.name)
    return {
        "model": model.name,
        "production": version,
        "epoch": model.epoch,
        "frozen": model.frozen,
        "features_tested": bool(profiles),
        "errors_tested": _errors_seen(judgement, version),
        "silent_detectors": [{"detector": each.detector, "why": each.why} for each in silent],
        "judged_through_ms": judgement.judged_through_ms if judgement else None,
        "open_episodes": [f"{e.version}/{e.drift_type.value} ({e.severity})" for e in episodes],
        "experiment": experiment.experiment_id if experiment else None,
        "job": f"{job.job_id} {job.status.value}" if job else None,
    }


def _errors_seen(judgement: Judgement | None, version: str | None) -> bool:
    """Whether the concept detector has taken any window of `version` under the present policy."""
    watch = judgement.state["watches"].get(version) if judgement and version else None
    return watch is not None and watch["errors"] != AdwinState().to_json()


async def _records(log: EventLog, topic: str, known: Mapping[str, Any]) -> int:
    if topic not in known:
        return 0
    return sum([await log.end(topic, partition) for partition in range(known[topic].partitions)])
