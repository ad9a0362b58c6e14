"""The trainer end to end: history in the log, an external command, validation, registration, a trial."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from consumers.log.decode import Limits
from consumers.log.memory import InMemoryLog
from consumers.services.history import HistoricalDataService
from consumers.services.processes import this_process
from consumers.services.training import TrainingFailed
from consumers.store.repositories.experiments import ExperimentRepository
from consumers.store.repositories.models import ModelRepository, VersionRecord
from consumers.store.repositories.policies import PolicyRepository
from consumers.store.repositories.profiles import ProfileRepository
from consumers.store.repositories.retraining import JobRecord, RetrainingRepository
from consumers.workers.trainer import Trainer
from domain.retraining.history import LabelledRow
from schemas.clock import from_ms
from schemas.events import (
    Event,
    ExperimentChanged,
    ModelStage,
    OutcomeObserved,
    PredictionMade,
    RetrainingChanged,
    RetrainingTrigger,
    RetrainRequested,
)
from schemas.outgoing import heartbeat, record_of
from tests.services.world import MODEL, TEMPLATE, WALL, World

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


class FolderStore:
    """Artifacts in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def uri(self, key: str) -> str:
        return f"test:{key}"

    async def upload_artifact(
        self, local_path: Path, remote_uri: str, *, sha256: str | None = None
    ) -> object:
        target = self.root / remote_uri.removeprefix("test:")
        target.parent.mkdir(parents=True, exist_ok=True)
        return shutil.copy(local_path, target)


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
            artifacts=FolderStore(self.home / "artifacts"),
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

    async def ask(self, event_id: str = "r1") -> JobRecord:
        """A person asks for a new model on history up to AS_OF_MS."""
        request = RetrainRequested(
            event_id=event_id,
            occurred_at=from_ms(AS_OF_MS),
            model=MODEL,
            version="1",
            trigger=RetrainingTrigger.MANUAL,
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


@pytest.fixture
async def workshop(registry_world: World, tmp_path: Path) -> Workshop:
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


async def test_a_job_becomes_a_version_in_staging_with_an_experiment(workshop: Workshop) -> None:
    await workshop.use(workshop.policy(experiment=TEMPLATE))
    job = await workshop.ask()
    trainer = workshop.trainer()
    assert await trainer.step()
    assert not await trainer.step()
    ended = await workshop.job()
    assert (ended.status.value, ended.version, ended.lease_owner) == ("SUCCEEDED", "2", None)
    assert ended.result is not None
    assert "experiment brent-2-v-1 started" in ended.result["detail"]
    _, version = await workshop.versions()
    assert (version.stage, version.status, version.job_id) == (ModelStage.STAGING, "REGISTERED", job.job_id)
    lineage = version.lineage
    assert (lineage["parent_version"], lineage["as_of_ms"], lineage["holdout_rows"]) == ("1", AS_OF_MS, 10)
    # The row before the holdout is kept: its outcome is due exactly when the holdout begins.
    assert lineage["train_rows"] == 30
    assert lineage["validation"]["verdict"] == "PASSED"
    assert lineage["validation"]["champion_mae"] > lineage["validation"]["challenger_mae"]
    assert version.metadata["metrics"] == {"train_mean": 6.0}
    assert await workshop.statuses() == ["REQUESTED", "RUNNING", "SUCCEEDED"]
    async with workshop.world.store.read() as session:
        running = await ExperimentRepository(session).running(MODEL)
        profiles = await ProfileRepository(session).get_many([(MODEL, "2")])
    assert running is not None
    assert (running.experiment_id, running.started_at_ms) == ("brent-2-v-1", AS_OF_MS)
    profile = orjson.loads(profiles[MODEL, "2"].body)
    assert set(profile["features"]) == {"side", "x"}
    assert profile["error_clip"] == pytest.approx(1.0)
    assert profile["effective_from_ms"] == AS_OF_MS
    (offered,) = await workshop.world.events(workshop.world.context.topics.experiment_changed)
    assert isinstance(offered, ExperimentChanged)
    challenger = offered.variants[1]
    stored = workshop.home / "artifacts" / challenger.artifact_uri.removeprefix("test:")
    assert sorted(path.name for path in stored.iterdir()) == ["manifest.json", "mean.json"]
    assert orjson.loads((stored / "manifest.json").read_bytes()) == version.manifest


async def test_without_an_experiment_section_the_version_stays_in_staging(workshop: Workshop) -> None:
    await workshop.use(workshop.policy())
    await workshop.ask()
    assert await workshop.trainer().step()
    assert [version.stage.value for version in await workshop.versions()] == ["PRODUCTION", "STAGING"]
    async with workshop.world.store.read() as session:
        assert await ExperimentRepository(session).list() == []


@pytest.mark.parametrize(
    "sections,status,detail",
    [
        ({"training": {"min_rows": 100}}, "VALIDATION_FAILED", "40 joined rows, 110 needed"),
        ({"training": {"params": {"shift": 50}}}, "VALIDATION_FAILED", "above the limit"),
        ({"validation": {"min_rows": 11}}, "VALIDATION_FAILED", "answered 10 holdout rows, 11 needed"),
        (
            {"training": {"command": ["{python}", "-c", "raise SystemExit('no data')"]}},
            "FAILED",
            "exit code 1",
        ),
        ({"training": {"command": ["{python}", "-c", "pass"]}}, "FAILED", "output/model holds no file"),
        (
            {"training": {"command": ["{python}", "-c", "import time; time.sleep(60)"], "timeout_s": 1}},
            "FAILED",
            "1 s",
        ),
        ({"training": {"seed": -1}}, "FAILED", "training.seed must be"),
        ({"experiment": {"strategy": "SHADOW_MODE"}}, "FAILED", "primary"),
    ],
)
async def test_what_goes_wrong_ends_the_job_with_a_clear_detail_and_registers_nothing(
    workshop: Workshop, sections: dict[str, dict[str, object]], status: str, detail: str
) -> None:
    await workshop.use(workshop.policy(**sections))
    await workshop.ask()
    assert await workshop.trainer().step()
    ended = await workshop.job()
    assert ended.status.value == status
    assert ended.result is not None
    assert detail in ended.result["detail"]
    if "no data" in str(sections):
        assert ended.result["stderr"] == "no data"
    assert len(await workshop.versions()) == 1
    assert await workshop.statuses() == ["REQUESTED", "RUNNING", status]


async def test_a_model_without_a_policy_says_what_is_missing(workshop: Workshop) -> None:
    await workshop.ask()
    assert await workshop.trainer().step()
    ended = await workshop.job()
    assert ended.result is not None
    assert (ended.status.value, ended.result["detail"]) == (
        "FAILED",
        "policy.training must be given to train anything, not None",
    )


SLOW_THEN_MEAN = """
import pathlib, sys, time
mark = pathlib.Path(sys.argv[2])
if not mark.exists():
    mark.touch()
    time.sleep(60)
exec(pathlib.Path(sys.argv[3]).read_text())
"""


async def until(path: Path) -> None:
    for _ in range(400):
        if await asyncio.to_thread(path.exists):
            return
        await asyncio.sleep(0.025)
    raise AssertionError(f"{path} did not appear")


def slow_policy(workshop: Workshop) -> dict[str, object]:
    """The first attempt sleeps, the second trains."""
    script, mark = workshop.home / "slow.py", workshop.home / "began"
    script.write_text(SLOW_THEN_MEAN)
    policy = workshop.policy(experiment=TEMPLATE)
    training = dict(policy["training"])  # type: ignore[call-overload]
    training["command"] = ["{python}", str(script), "{job_dir}", str(mark), str(workshop.home / "mean.py")]
    return policy | {"training": training}


async def test_a_trainer_stopped_in_the_middle_starts_again_and_registers_once(workshop: Workshop) -> None:
    await workshop.use(slow_policy(workshop))
    await workshop.ask()
    first = asyncio.create_task(workshop.trainer("first").step())
    await until(workshop.home / "began")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (await workshop.job()).status.value == "REQUESTED"
    second = workshop.trainer("second")
    assert await second.step()
    assert not await second.step()
    ended = await workshop.job()
    assert (ended.status.value, ended.version, ended.attempts) == ("SUCCEEDED", "2", 2)
    assert len(await workshop.versions()) == 2
    assert await workshop.statuses() == ["REQUESTED", "RUNNING", "SUCCEEDED"]


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.workers.killed import claim_and_hang
asyncio.run(claim_and_hang(Path(sys.argv[1])))
"""


async def test_a_killed_trainer_is_found_dead_and_its_job_taken_over_at_once(workshop: Workshop) -> None:
    await workshop.use(workshop.policy())
    await workshop.ask()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(workshop.home), cwd=Path(__file__).parents[2]
    )
    await until(workshop.home / "claimed")
    assert not await workshop.trainer().step(), "the job is held by a living process"
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    assert await workshop.trainer().step()
    ended = await workshop.job()
    assert (ended.status.value, ended.attempts) == ("SUCCEEDED", 2)


async def test_a_trainer_that_lost_its_lease_stops_and_writes_nothing(workshop: Workshop) -> None:
    await workshop.use(slow_policy(workshop))
    job = await workshop.ask()
    working = asyncio.create_task(workshop.trainer("first", lease_s=0.3).step())
    await until(workshop.home / "began")
    async with workshop.world.store.write() as session:
        assert await RetrainingRepository(session).cancel(job.job_id)
    async with asyncio.timeout(10):
        assert await working
    assert (await workshop.job()).status.value == "CANCELLED"
    assert len(await workshop.versions()) == 1


async def test_history_that_is_not_closed_makes_the_job_wait(workshop: Workshop) -> None:
    await workshop.use(workshop.policy())
    await workshop.ask()
    trainer = workshop.trainer()
    open_log = InMemoryLog(now_ms=lambda: 10**12)
    await open_log.create_topics(workshop.world.context.topics.specs(1))
    closed, trainer.history = (
        trainer.history,
        Workshop(world=workshop.world, log=open_log, home=workshop.home).trainer().history,
    )
    assert not await trainer.step()
    assert (await workshop.job()).status.value == "REQUESTED"
    trainer.history = closed
    assert await trainer.step()
    assert (await workshop.job()).status.value == "SUCCEEDED"


def bootstrap_rows() -> Sequence[LabelledRow]:
    return [
        LabelledRow(
            prediction_id=f"b{i}",
            occurred_at_ms=1_000 * i,
            horizon_s=1,
            features={"x": float(i)},
            actual=2.0 + i % 2,
        )
        for i in range(40)
    ]


async def test_a_first_version_is_trained_on_given_rows_and_promoted_once(workshop: Workshop) -> None:
    policy = workshop.policy()
    for _ in range(2):
        version = await workshop.trainer().bootstrap(
            "fresh", bootstrap_rows(), policy=policy, as_of_ms=AS_OF_MS, actor="ada", reason="the beginning"
        )
        assert version.version == "1"
    async with workshop.world.store.read() as session:
        production = await ModelRepository(session).production("fresh")
        moves = await ModelRepository(session).transitions("fresh")
    assert production is not None
    assert production.lineage["validation"]["verdict"] == "NO_CHAMPION"
    assert [(move.to_stage.value, move.actor) for move in moves] == [
        ("DEVELOPMENT", "ada"),
        ("STAGING", "ada"),
        ("PRODUCTION", "ada"),
    ]


async def test_a_bootstrap_that_cannot_train_raises_and_leaves_nothing(workshop: Workshop) -> None:
    policy = workshop.policy(training={"command": ["{python}", "-c", "raise SystemExit(2)"]})
    with pytest.raises(TrainingFailed, match="exit code 2"):
        await workshop.trainer().bootstrap(
            "fresh", bootstrap_rows(), policy=policy, as_of_ms=AS_OF_MS, actor="ada", reason="the beginning"
        )
    async with workshop.world.store.read() as session:
        assert await ModelRepository(session).get_model("fresh") is None
