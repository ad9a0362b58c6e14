"""The example service as a process: a week once, models swapped from the feed, killed and started again."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from consumers.artifacts.local import LocalBackend
from consumers.services.publishing import publish
from domain.registry.version import ModelArtifact
from examples import brent
from lifecycle_sdk.contracts import (
    AllocationStrategy,
    ExperimentChanged,
    ExperimentStatus,
    LifecycleEvent,
    LogFile,
    ModelStage,
    ModelStageChanged,
    OutcomeObserved,
    PredictionMade,
    ProductionPointer,
    Topics,
    VariantOffer,
    decode,
    from_ms,
    record_of,
    to_ms,
)

SCRIPT = Path(brent.__file__).with_name("prediction_service.py")
MODEL = "brent-move"
TOPICS = Topics()
WEEKS = list(brent.weeks())
NOW_MS = 1_700_000_000_000


def trained(folder: Path, rounds: int) -> Path:
    """A model folder as the training command leaves it, made from a few archive days."""
    folder.mkdir(parents=True)
    days = [day for day in brent.archive_days() if day.features is not None][-300:]
    rows = np.array([[(day.features or {})[name] for name in brent.FEATURES] for day in days])
    data = xgboost.DMatrix(rows, [day.target for day in days], feature_names=list(brent.FEATURES), nthread=1)
    xgboost.train({"nthread": 1, "verbosity": 0}, data, rounds).save_model(folder / "model.ubj")
    (folder / "features.json").write_text(json.dumps(list(brent.FEATURES)))
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[ModelArtifact]]:
    """An artifact store with two versions in it."""
    base = tmp_path_factory.mktemp("models")
    backend = LocalBackend(base / "artifacts")
    files = [Path("features.json"), Path("model.ubj")]
    folders = [trained(base / f"v{rounds}" / "model", rounds) for rounds in (3, 9)]
    return base / "artifacts", [asyncio.run(publish(backend, MODEL, folder, files)) for folder in folders]


class Deployment:
    """A home with a log and artifacts, and services that are started in it."""

    def __init__(self, home: Path, store: tuple[Path, list[ModelArtifact]]) -> None:
        home.mkdir()
        self.home, self.artifacts = home, store[1]
        (home / "artifacts").symlink_to(store[0])
        self.log = LogFile(home / "log.sqlite", now_ms=lambda: NOW_MS)
        self.log.create_topics(TOPICS.specs(2))
        self.processes: list[subprocess.Popen[str]] = []

    def start(self) -> dict[str, Any]:
        process = subprocess.Popen(
            [sys.executable, SCRIPT, "--home", self.home],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return self.answer()

    def say(self, line: str) -> dict[str, Any]:
        stdin = self.processes[-1].stdin
        assert stdin is not None
        stdin.write(line + "\n")
        stdin.flush()
        return self.answer()

    def advance(self, week: int) -> dict[str, Any]:
        return self.say(json.dumps({"advance": week}))

    def answer(self) -> dict[str, Any]:
        stdout = self.processes[-1].stdout
        assert stdout is not None
        answer: dict[str, Any] = json.loads(stdout.readline())
        return answer

    def kill(self) -> None:
        self.processes[-1].send_signal(signal.SIGKILL)
        self.processes[-1].wait()

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()
        self.log.close()

    def announce(self, event: LifecycleEvent) -> None:
        self.log.append([record_of(event, TOPICS, source="test")])

    def promote(self, number: int) -> None:
        artifact = self.artifacts[number - 1]
        self.announce(
            ModelStageChanged(
                event_id=f"promoted-{number}",
                occurred_at=from_ms(WEEKS[0] * brent.WEEK_MS),
                model=MODEL,
                version=str(number),
                from_stage=ModelStage.STAGING,
                to_stage=ModelStage.PRODUCTION,
                actor="test",
                reason="test",
                production=ProductionPointer(
                    version=str(number),
                    artifact_uri=artifact.uri,
                    artifact_sha256=artifact.sha256,
                    epoch=number,
                ),
            )
        )

    def shadow(self, status: ExperimentStatus) -> None:
        offers = [
            VariantOffer(
                name=("champion", "challenger")[at],
                version=str(at + 1),
                champion=at == 0,
                share=1 - at,
                artifact_uri=artifact.uri,
                artifact_sha256=artifact.sha256,
            )
            for at, artifact in enumerate(self.artifacts)
        ]
        self.announce(
            ExperimentChanged(
                event_id=f"shadow-{status}",
                occurred_at=from_ms(WEEKS[0] * brent.WEEK_MS),
                model=MODEL,
                experiment="exp",
                status=status,
                strategy=AllocationStrategy.SHADOW_MODE,
                epoch=1,
                salt="exp",
                variants=tuple(offers),
                config_hash="c" * 64,
            )
        )

    def predictions(self) -> list[PredictionMade]:
        values = [decode(PredictionMade, value) for value in self._values(TOPICS.predictions)]
        return sorted(values, key=lambda made: (made.occurred_at, not made.served))

    def outcomes(self) -> list[OutcomeObserved]:
        values = [decode(OutcomeObserved, value) for value in self._values(TOPICS.outcomes)]
        return sorted(values, key=lambda seen: seen.occurred_at)

    def _values(self, topic: str) -> list[bytes]:
        found = [r for partition in (0, 1) for r in self.log.read(topic, partition, 0, 10_000)]
        assert all(r.key is not None and r.value for r in found)
        return [r.value or b"" for r in found]


@pytest.fixture
def deployment(tmp_path: Path, store: tuple[Path, list[ModelArtifact]]) -> Iterator[Deployment]:
    made = Deployment(tmp_path / "home", store)
    yield made
    made.close()


def test_a_week_s_predictions_and_outcomes_are_published_once(deployment: Deployment) -> None:
    deployment.promote(1)
    assert deployment.start() == {"ready": True, "last_week": None}
    first, second = WEEKS[0], WEEKS[1]
    done = deployment.advance(first)
    days = brent.days_in(first)
    assert done["published"]
    assert (done["predictions"], done["versions"]) == (len(days), ["1"])
    # the outcome of a week's last day comes with the next week
    assert done["outcomes"] == len(days) - 1
    assert deployment.advance(first) == {
        "done": first,
        "published": False,
        "predictions": 0,
        "outcomes": 0,
        "versions": [],
    }
    assert deployment.advance(second)["outcomes"] == len(brent.days_in(second))

    predictions, outcomes = deployment.predictions(), deployment.outcomes()
    asked = [*days, *brent.days_in(second)]
    assert [made.prediction_id for made in predictions] == [day.prediction_id for day in asked]
    assert [made.features for made in predictions] == [day.features for day in asked]
    assert [to_ms(made.occurred_at) for made in predictions] == [day.event_ms for day in asked]
    assert [(seen.prediction_id, seen.actual, to_ms(seen.occurred_at)) for seen in outcomes] == [
        (day.prediction_id, day.target, day.outcome_ms) for day in asked[:-1]
    ]


def test_a_model_is_swapped_and_shadows_answer_without_a_restart(deployment: Deployment) -> None:
    deployment.promote(1)
    deployment.start()
    deployment.advance(WEEKS[0])
    deployment.shadow(ExperimentStatus.RUNNING)
    both = deployment.advance(WEEKS[1])
    assert both["versions"] == ["1", "2"]
    assert both["predictions"] == 2 * len(brent.days_in(WEEKS[1]))
    deployment.shadow(ExperimentStatus.COMPLETED_PROMOTED)
    deployment.promote(2)
    assert deployment.advance(WEEKS[2])["versions"] == ["2"]
    by_week = {week: {d.prediction_id for d in brent.days_in(week)} for week in WEEKS[:3]}
    seen = {
        (week, made.version, made.variant, made.served)
        for made in deployment.predictions()
        for week in WEEKS[:3]
        if made.prediction_id in by_week[week]
    }
    assert seen == {
        (WEEKS[0], "1", None, True),
        (WEEKS[1], "1", "champion", True),
        (WEEKS[1], "2", "challenger", False),
        (WEEKS[2], "2", None, True),
    }


def test_killed_at_any_week_and_started_again_the_log_is_the_same(
    deployment: Deployment, tmp_path: Path, store: tuple[Path, list[ModelArtifact]]
) -> None:
    killed = Deployment(tmp_path / "killed", store)
    try:
        for each in (deployment, killed):
            each.promote(1)
            each.start()
        for week in WEEKS[:4]:
            deployment.advance(week)
            if week != WEEKS[1]:
                # the answer is not waited for: the kill comes before, within or after the week's batch
                stdin = killed.processes[-1].stdin
                assert stdin is not None
                stdin.write(json.dumps({"advance": week}) + "\n")
                stdin.flush()
                killed.kill()
                assert killed.start()["last_week"] in (week, week - 1, None)
            killed.advance(week)
        assert killed.predictions() == deployment.predictions()
        assert killed.outcomes() == deployment.outcomes()
    finally:
        killed.close()


def test_before_a_promotion_it_says_so_and_afterwards_serves(deployment: Deployment) -> None:
    deployment.start()
    assert "no PRODUCTION version yet" in deployment.advance(WEEKS[0])["error"]
    deployment.promote(1)
    assert deployment.advance(WEEKS[0])["published"]


def test_what_is_no_command_is_answered_and_survived(deployment: Deployment) -> None:
    deployment.promote(1)
    deployment.start()
    for line in ("advance", "[]", '{"go": 1}'):
        assert deployment.say(line)["error"].startswith("not a command")
    assert deployment.advance(WEEKS[0])["published"]


def test_a_model_whose_bytes_changed_is_not_loaded(deployment: Deployment) -> None:
    deployment.promote(1)
    tampered = deployment.home / "tampered"
    (deployment.home / "artifacts").rename(tampered)
    base = deployment.artifacts[0].uri.removeprefix("local:")
    (deployment.home / "artifacts" / base).mkdir(parents=True)
    for path in (tampered / base).iterdir():
        content = path.read_bytes()
        (deployment.home / "artifacts" / base / path.name).write_bytes(
            content + b" " if path.name == "model.ubj" else content
        )
    answer = deployment.start() and deployment.advance(WEEKS[0])
    assert "SHA-256" in answer["error"]
    assert deployment.predictions() == []
