"""Where servers come from, and that a missing one is never overlooked in CI."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.obtain import SOURCES
from tests.servers.shared import FOLDER, Keeper, ask
from tests.servers.sources import Unavailable, or_refuse

ROOT = Path(__file__).resolve().parents[2]
# Stands for Maven: notes that it ran, takes its time, and writes one jar.
MAVEN = """#!/bin/sh
echo run >> "$NOTES"
for argument; do case $argument in -DoutputDirectory=*) folder=${argument#*=} ;; esac; done
mkdir "$folder" && sleep 0.5 && touch "$folder/kafka.jar" && exit "$RESULT"
"""
FETCH = "from tests.servers.kafka_jars import class_path; print(class_path())"


@pytest.fixture
def bare() -> dict[str, str]:
    """The environment of a machine that has no server and nothing to start one from."""
    kept = {name: value for name, value in os.environ.items() if name not in {"CI", "JAVA_HOME", FOLDER}}
    named = {source.variable for source in SOURCES.values()}
    environment = {name: value for name, value in kept.items() if name not in named}
    nowhere = {"PATH": "/nowhere", "TEST_PG_BINDIR": "/nowhere", "DOCKER_HOST": "unix:///nowhere"}
    return {**environment, **nowhere, "PYTEST_ADDOPTS": ""}


def run_tests(environment: dict[str, str], *more: str) -> subprocess.CompletedProcess[str]:
    """Two tests, of which one needs PostgreSQL and one Kafka."""
    names = [
        "test_postgres.py::test_a_test_s_database_is_empty_and_its_own",
        "test_kafka.py::test_the_run_s_broker_has_only_topics_that_were_made",
    ]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *more]
    files = [f"tests/servers/{name}" for name in names]
    return subprocess.run(
        [*command, *files], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_without_any_source_ci_fails_and_says_what_would_help(bare: dict[str, str]) -> None:
    done = run_tests({**bare, "CI": "true"}, "-n", "1")
    assert done.returncode == 1
    assert "2 errors" in done.stdout
    assert "TEST_DATABASE_URL" in done.stdout
    assert "TEST_KAFKA_BOOTSTRAP" in done.stdout


def test_without_any_source_a_person_s_run_skips_and_says_why(bare: dict[str, str]) -> None:
    done = run_tests(bare)
    assert done.returncode == 0
    assert "2 skipped" in done.stdout
    assert "TEST_DATABASE_URL" in done.stdout


def test_a_server_of_one_s_own_is_not_overlooked_in_ci_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no server"), or_refuse():
        raise Unavailable("no server")


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[Keeper]:
    keeper = Keeper()
    monkeypatch.setenv(FOLDER, "")  # what a run around this one has there is put back at the end
    monkeypatch.setenv("TEST_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    keeper.open()
    yield keeper
    keeper.close()


def test_who_asks_for_a_server_hears_why_it_did_not_start(
    kept: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.servers.obtain._PATIENCE_S", 0.1)
    with pytest.raises(RuntimeError, match="no Kafka at"):
        ask("kafka")


@pytest.fixture
def maven(tmp_path: Path) -> dict[str, str]:
    program = tmp_path / "bin" / "mvn"
    program.parent.mkdir()
    program.write_text(MAVEN)
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    notes = str(tmp_path / "notes")
    return {**os.environ, "PATH": path, "XDG_CACHE_HOME": str(tmp_path), "NOTES": notes, "RESULT": "0"}


def fetch(environment: dict[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", FETCH],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_processes_that_need_the_jars_at_once_fetch_them_once(tmp_path: Path, maven: dict[str, str]) -> None:
    said = [process.communicate() for process in [fetch(maven) for _ in range(3)]]
    (class_path,) = {out for out, _ in said}
    assert [path.name for path in Path(class_path.strip()).parent.iterdir()] == ["kafka.jar"]
    assert (tmp_path / "notes").read_text() == "run\n"


def test_jars_that_came_in_part_are_not_kept(tmp_path: Path, maven: dict[str, str]) -> None:
    process = fetch({**maven, "RESULT": "1"})
    _, complaint = process.communicate()
    assert "Maven could not fetch" in complaint
    assert list(tmp_path.glob("*/kafka-*/")) == []
