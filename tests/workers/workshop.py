"""A model with history in the log, and everything that a trainer needs around it."""

from dataclasses import dataclass
from pathlib import Path

from consumers.artifacts.local import LocalBackend
from consumers.log.decode import Limits
from consumers.log.memory import InMemoryLog
from consumers.services.history import HistoricalDataService
from consumers.services.processes import this_process
from consumers.store.repositories.models import ModelRepository, VersionRecord
from consumers.store.repositories.policies import PolicyRepository
from consumers.store.repositories.retraining import JobRecord, RetrainingRepository
from consumers.workers.trainer import Trainer
from schemas.clock import from_ms
from schemas.events import (
    Event,
    OutcomeObserved,
    PredictionMade,
    RetrainingChanged,
    RetrainingTrigger,
    RetrainRequested,
)
from schemas.outgoing import heartbeat, record_of
from tests.services.world import MODEL, WALL, World

# Predicts the mean of what it was trained on; enough to see every file and number go its way.
MEAN = """
import json, pathlib, sys
import pyarrow as pa, pyarrow.parquet as pq
folder = pathlib.Path(sys.argv[1])
job = json.loads((folder / "job.json").read_text())
train = pq.read_table(folder / "train.parquet").to_pydict()
ids = pq.read_table(folder / "holdout.parquet")["prediction_id"].to_pylist()
mean = sum(train["actual"]) / len(train["actual"]) + job["params"].get("shift", 0)
output = folder / job["output"]
(output / "model" / "mean.json").write_text(json.dumps({"mean": mean}))
(output / "metrics.json").write_text(json.dumps({"train_mean": mean}))
table = pa.table({"prediction_id": ids, "prediction": [mean] * len(ids)})
pq.write_table(table, output / "holdout_predictions.parquet")
"""
AS_OF_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    world: World
    log: InMemoryLog
    home: Path

    def trainer(self, owner: str = "", **settings: float) -> Trainer:
        topics = self.world.context.topics
        history = HistoricalDataService(
            self.log, topics.predictions, topics.outcomes, self.world.context.windows, Limits()
        )
        made = Trainer(
            store=self.world.store,
            history=history,
            artifacts=LocalBackend(self.home / "artifacts"),
            pipeline=self.world.retraining,
            jobs_path=self.home / "jobs",
            now=lambda: WALL,
            owner=owner or this_process(),
        )
        for name, value in settings.items():
            setattr(made, name, value)
        return made

    def policy(self, **sections: dict[str, object]) -> dict[str, object]:
        script = self.home / "mean.py"
        script.write_text(MEAN)
        training: dict[str, object] = {
            "command": ["{python}", str(script), "{job_dir}"],
            "history_ms": 10**9,
            "min_rows": 10,
            "holdout_rows": 10,
        }
        body: dict[str, object] = {
            "training": training | sections.get("training", {}),
            "validation": {"min_rows": 5} | sections.get("validation", {}),
        }
        if "experiment" in sections:
            body["experiment"] = sections["experiment"]
        return body

    async def use(self, policy: dict[str, object]) -> None:
        async with self.world.store.write() as session:
            await PolicyRepository(session).add(model=MODEL, effective_from_ms=0, body=policy)

    async def ask(
        self, event_id: str = "r1", trigger: RetrainingTrigger = RetrainingTrigger.MANUAL
    ) -> JobRecord:
        """A person asks for a new model on history up to AS_OF_MS."""
        request = RetrainRequested(
            event_id=event_id,
            occurred_at=from_ms(AS_OF_MS),
            model=MODEL,
            version="1",
            trigger=trigger,
            reason="a person asked",
            as_of=from_ms(AS_OF_MS),
        )
        async with self.world.store.write() as session:
            return await self.world.retraining.open(session, request)

    async def job(self) -> JobRecord:
        async with self.world.store.read() as session:
            (found,) = await RetrainingRepository(session).list()
        return found

    async def versions(self) -> list[VersionRecord]:
        async with self.world.store.read() as session:
            return await ModelRepository(session).versions(MODEL)

    async def statuses(self) -> list[str]:
        events = await self.world.events(self.world.context.topics.retraining_changed)
        return [event.status.value for event in events if isinstance(event, RetrainingChanged)]


async def workshop_in(registry_world: World, tmp_path: Path) -> Workshop:
    """Version 1 in PRODUCTION, forty of its predictions with outcomes, everything closed up to AS_OF_MS."""
    log = InMemoryLog(now_ms=lambda: 10**12)
    topics = registry_world.context.topics
    await log.create_topics(topics.specs(1))
    events: list[Event] = []
    for i in range(40):
        made_ms = 1_000 * i
        events.append(
            PredictionMade(
                occurred_at=from_ms(made_ms),
                prediction_id=f"p{i}",
                model=MODEL,
                version="1",
                prediction=0.0,
                features={"x": float(i), "side": "buy" if i % 2 else "sell"},
                horizon_s=1,
            )
        )
        events.append(
            OutcomeObserved(
                occurred_at=from_ms(made_ms + 1_000),
                prediction_id=f"p{i}",
                actual=5.0 + i % 3,
                values={},
            )
        )
    await log.append([record_of(event, topics, source="test") for event in events])
    for topic in (topics.predictions, topics.outcomes):
        await log.append([heartbeat(topic, 0, AS_OF_MS + 1_000)])
    async with registry_world.store.write() as session:
        await registry_world.register(session)
        await registry_world.registry.promote(
            session, MODEL, "1", expected_production=None, actor="ada", reason="first", at_ms=2_000
        )
    await registry_world.closed_through(AS_OF_MS)
    return Workshop(world=registry_world, log=log, home=tmp_path)
