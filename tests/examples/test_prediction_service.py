"""The example service as a process: a week once, models swapped from the feed, killed and started again."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xgboost

from consumers.artifacts.local import LocalBackend
from consumers.services.publishing import publish
from domain.registry.version import ModelArtifact
from examples import brent
from lifecycle_sdk.contracts import (
    ExperimentStatus,
    NewRecord,
    heartbeat,
    to_ms,
)
from tests.examples.deployments import (
    MODEL,
    PARTITIONS,
    SCRIPT,
    WEEKS,
    Deployment,
    EmbeddedDeployment,
    KafkaDeployment,
)


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


@pytest.fixture
def embedded(tmp_path: Path, store: tuple[Path, list[ModelArtifact]]) -> Iterator[EmbeddedDeployment]:
    made = EmbeddedDeployment(tmp_path / "embedded", store)
    yield made
    made.close()


@pytest.fixture
def on_kafka(
    tmp_path: Path, store: tuple[Path, list[ModelArtifact]], kafka: str, topic_prefix: str
) -> Iterator[KafkaDeployment]:
    made = KafkaDeployment(tmp_path / "kafka", store, kafka, topic_prefix)
    yield made
    made.close()


@pytest.fixture
def undisturbed(tmp_path: Path, store: tuple[Path, list[ModelArtifact]]) -> Iterator[EmbeddedDeployment]:
    """What any other deployment should come to."""
    made = EmbeddedDeployment(tmp_path / "undisturbed", store)
    yield made
    made.close()


@pytest.fixture(params=["embedded", "on_kafka"])
def deployment(request: pytest.FixtureRequest) -> Deployment:
    found: Deployment = request.getfixturevalue(request.param)
    return found


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
    deployment: Deployment, undisturbed: EmbeddedDeployment
) -> None:
    for each in (undisturbed, deployment):
        each.promote(1)
        each.start()
    for week in WEEKS[:4]:
        undisturbed.advance(week)
        if week != WEEKS[1]:
            # the answer is not waited for: the kill comes before, within or after the week's batch
            stdin = deployment.processes[-1].stdin
            assert stdin is not None
            stdin.write(json.dumps({"advance": week}) + "\n")
            stdin.flush()
            deployment.kill()
            assert deployment.start()["last_week"] in (week, week - 1, None)
        deployment.advance(week)
    assert deployment.published() == undisturbed.published()


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


def story(deployment: Deployment) -> None:
    """Four weeks: one version, its shadow, the promotion, and what comes after."""
    deployment.promote(1)
    deployment.start()
    deployment.advance(WEEKS[0])
    deployment.shadow(ExperimentStatus.RUNNING)
    deployment.advance(WEEKS[1])
    deployment.shadow(ExperimentStatus.COMPLETED_PROMOTED)
    deployment.promote(2)
    deployment.advance(WEEKS[2])
    deployment.advance(WEEKS[3])


def test_both_engines_hold_the_same_bytes_in_the_same_partitions(
    undisturbed: EmbeddedDeployment, on_kafka: KafkaDeployment
) -> None:
    story(undisturbed)
    story(on_kafka)
    assert on_kafka.published() == undisturbed.published()
    assert len(on_kafka.published()["made"]) > 20


@pytest.mark.slow
@pytest.mark.parametrize("kept", [1, 2, 4])
def test_of_a_week_that_was_half_published_the_rest_is_published(
    undisturbed: EmbeddedDeployment, on_kafka: KafkaDeployment, kept: int
) -> None:
    """A killed run leaves the beginning of each partition's share, of some partitions nothing."""
    for each in (undisturbed, on_kafka):
        each.promote(1)
        each.shadow(ExperimentStatus.RUNNING)
    undisturbed.start()
    undisturbed.advance(WEEKS[0])
    undisturbed.advance(WEEKS[1])
    on_kafka.start()
    on_kafka.advance(WEEKS[0])
    on_kafka.kill()
    already = sum(map(len, on_kafka.published().values()))
    for topic in (undisturbed.topics.predictions, undisturbed.topics.outcomes):
        name = on_kafka.topics.prefix + topic.removeprefix(undisturbed.topics.prefix)
        for partition in range(PARTITIONS):
            share = [
                NewRecord(topic=name, key=r.key, value=r.value, timestamp_ms=r.timestamp_ms)
                for r in undisturbed.records(topic)
                if r.partition == partition and r.timestamp_ms >= WEEKS[1] * brent.WEEK_MS
            ]
            on_kafka.append(share[:kept] if (partition + kept) % 2 else share[: kept // 2])
    in_part = sum(map(len, on_kafka.published().values())) > already
    assert on_kafka.start()["last_week"] == (WEEKS[1] if in_part else WEEKS[0])
    assert on_kafka.advance(WEEKS[1])["published"]
    assert on_kafka.published() == undisturbed.published()
    assert not on_kafka.advance(WEEKS[1])["published"]
    assert on_kafka.published() == undisturbed.published()


def test_a_week_that_a_heartbeat_has_ended_is_left_as_it_is(on_kafka: KafkaDeployment) -> None:
    """Whoever is in production by then: time has passed it, and its windows are closed."""
    on_kafka.promote(1)
    on_kafka.start()
    on_kafka.advance(WEEKS[0])
    before = on_kafka.published()
    end_ms = (WEEKS[0] + 1) * brent.WEEK_MS
    on_kafka.append([heartbeat(on_kafka.topics.predictions, 0, end_ms + 10_000)])
    on_kafka.shadow(ExperimentStatus.RUNNING)
    on_kafka.kill()
    assert on_kafka.start() == {"ready": True, "last_week": WEEKS[0]}
    assert not on_kafka.advance(WEEKS[0])["published"]
    assert on_kafka.advance(WEEKS[1])["versions"] == ["1", "2"]
    after = [record for record in on_kafka.published()["made"] if record[3] < end_ms and record[1]]
    assert after == [record for record in before["made"] if record[1]]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--kafka", "127.0.0.1:1", "--artifacts", "."], "the log 127.0.0.1:1 is unavailable"),
        (["--kafka", "127.0.0.1:1"], "--kafka and --artifacts belong together"),
        ([], "one of the arguments --home --kafka is required"),
    ],
)
def test_what_cannot_start_says_why_in_one_line(arguments: list[str], words: str) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False, input=""
    )
    assert done.returncode != 0
    assert words in done.stderr.splitlines()[-1]
    assert done.stdout == ""
