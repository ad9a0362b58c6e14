"""The trainer end to end: history in the log, an external command, validation, registration, a trial."""

from collections.abc import Sequence

import orjson
import pytest

from consumers.log.port import LogRecord
from consumers.services.training import TrainingFailed
from consumers.store.repositories.experiments import ExperimentRepository
from consumers.store.repositories.models import ModelRepository
from consumers.store.repositories.policies import PolicyRepository
from consumers.store.repositories.profiles import ProfileRepository
from consumers.store.repositories.retraining import RetrainingRepository
from domain.retraining.history import LabelledRow
from schemas.errors import LogUnavailable, UnreadableBatch
from schemas.events import ExperimentChanged, ModelStage, RetrainingTrigger
from tests.services.world import MODEL, TEMPLATE
from tests.workers.workshop import AS_OF_MS, MEAN, Workshop


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
    stored = workshop.home / "artifacts" / challenger.artifact_uri.removeprefix("local:")
    assert sorted(path.name for path in stored.iterdir()) == ["manifest.json", "mean.json"]
    assert orjson.loads((stored / "manifest.json").read_bytes()) == version.manifest


async def test_without_an_experiment_section_the_version_stays_in_staging(workshop: Workshop) -> None:
    await workshop.use(workshop.policy())
    await workshop.ask()
    assert await workshop.trainer().step()
    assert [version.stage.value for version in await workshop.versions()] == ["PRODUCTION", "STAGING"]
    async with workshop.world.store.read() as session:
        assert await ExperimentRepository(session).list() == []


async def test_without_alpha_for_an_experiment_the_version_stays_in_staging(workshop: Workshop) -> None:
    await workshop.use({**workshop.policy(experiment=TEMPLATE), "alpha_budget": {"per_quarter": 0.02}})
    await workshop.ask()
    assert await workshop.trainer().step()
    ended = await workshop.job()
    assert ended.status.value == "SUCCEEDED"
    assert ended.result is not None
    assert "left in STAGING: experiment brent-2-v-1 asks for alpha 0.05" in ended.result["detail"]
    assert [version.stage.value for version in await workshop.versions()] == ["PRODUCTION", "STAGING"]
    async with workshop.world.store.read() as session:
        assert await ExperimentRepository(session).list() == []
    assert await workshop.world.events(workshop.world.context.topics.experiment_changed) == []


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
        (
            {
                "training": {
                    "command": ["{python}", "-c", "open('output/model/m.pkl', 'w')"],
                    "formats": [".json"],
                }
            },
            "FAILED",
            "m.pkl: format not allowed",
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


DAMAGES = {
    "metrics.json is a folder": "(output / 'metrics.json').mkdir()",
    "metrics.json is not text": r"(output / 'metrics.json').write_bytes(b'\xff\xfe')",
    "predictions are not parquet": "(output / 'holdout_predictions.parquet').write_bytes(b'PAR1 xx PAR1')",
    "ids are not text": r"""pq.write_table(pa.table({"prediction_id": pa.Array.from_buffers(pa.string(), 1,
        [None, pa.py_buffer(b'\0\0\0\0\1\0\0\0'), pa.py_buffer(b'\xff')]), "prediction": [1.0]}),
        output / "holdout_predictions.parquet")""",
    "ids are lists": """pq.write_table(pa.table({"prediction_id": [["a"]], "prediction": [1.0]}),
        output / "holdout_predictions.parquet")""",
    "a name is not text": r"open(bytes(output / 'model') + b'/\xff.json', 'w').close()",
    "answers are beyond numbers": """pq.write_table(pa.table({"prediction_id": ids,
        "prediction": [1.7e308 if n % 2 else -1.7e308 for n in range(len(ids))]}),
        output / "holdout_predictions.parquet")""",
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damaged_output_fails_the_job_and_not_the_trainer(workshop: Workshop, damage: str) -> None:
    code = MEAN + "(output / 'metrics.json').unlink()\n" if "folder" in damage else MEAN
    script = workshop.home / "damaged.py"
    script.write_text(code + DAMAGES[damage])
    command = ["{python}", str(script), "{job_dir}"]
    await workshop.use(workshop.policy(training={"command": command, "formats": [".json"]}))
    await workshop.ask()
    assert await workshop.trainer().step()
    ended = await workshop.job()
    assert ended.status.value in ("FAILED", "VALIDATION_FAILED"), damage
    assert len(await workshop.versions()) == 1


async def test_a_request_by_hand_uses_the_newest_policy_and_automation_that_of_its_time(
    workshop: Workshop,
) -> None:
    await workshop.use(workshop.policy(training={"command": ["{python}", "-c", "raise SystemExit(3)"]}))
    async with workshop.world.store.write() as session:
        await PolicyRepository(session).add(
            model=MODEL, effective_from_ms=AS_OF_MS + 1, body=workshop.policy()
        )
    scheduled = await workshop.ask(trigger=RetrainingTrigger.SCHEDULED)
    assert await workshop.trainer().step()
    by_hand = await workshop.ask("r2")
    assert await workshop.trainer().step()
    async with workshop.world.store.read() as session:
        jobs = [await RetrainingRepository(session).get(job.job_id) for job in (scheduled, by_hand)]
    assert [job.status.value for job in jobs if job] == ["FAILED", "SUCCEEDED"]


async def test_a_model_without_a_policy_says_what_is_missing(workshop: Workshop) -> None:
    await workshop.ask()
    assert await workshop.trainer().step()
    ended = await workshop.job()
    assert ended.result is not None
    assert (ended.status.value, ended.result["detail"]) == (
        "FAILED",
        "policy.training must be given to train anything, not None",
    )


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


@pytest.mark.parametrize(
    "error",
    [LogUnavailable("log", "away"), UnreadableBatch("log", "lifecycle.predictions", 0, 4, 7, "damaged")],
)
async def test_a_log_that_cannot_be_read_now_costs_the_job_no_attempt(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    await workshop.use(workshop.policy())
    await workshop.ask()
    trainer = workshop.trainer()

    async def broken(*_: object) -> list[LogRecord]:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(workshop.log, "read", broken)
        with pytest.raises(type(error)):
            await trainer.step()
    job = await workshop.job()
    assert (job.status.value, job.attempts) == ("REQUESTED", 0)
    assert await trainer.step()
    assert (await workshop.job()).status.value == "SUCCEEDED"
