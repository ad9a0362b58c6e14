"""`lifecycle run` as processes: real time, real heartbeats, SIGTERM."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lifecycle_sdk import EmbeddedPublisher, OutcomeObserved, PredictionMade
from tests.cli.commands import lifecycle

pytestmark = [pytest.mark.slow]

ROOT = Path(__file__).parents[2]
# slack: a busy machine may take a while between the time in an event and its arrival in the log
SETTINGS = """
partitions = 2
poll_interval_s = 0.05
heartbeat_idle_s = 0.3
[windows]
length_s = 0.5
slack_s = 3.0
grace_s = 1.0
"""
PATIENCE_S = 150
DRAINED_WITHIN_S = 10
PREDICTIONS = 40


@dataclass(frozen=True, slots=True)
class Worker:
    process: subprocess.Popen[str]

    def stop(self) -> None:
        """SIGTERM drains it, in time, with exit code 0."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=DRAINED_WITHIN_S)
        assert self.process.returncode == 0, said
        assert time.monotonic() - began < DRAINED_WITHIN_S
        assert "Traceback" not in said


@contextmanager
def running(home: Path, *workers: str) -> Iterator[Sequence[Worker]]:
    """A process for each of `workers`; all of them are ended in any case."""
    begun = [
        Worker(
            subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    "from consumers.cli.main import main; main()",
                    *("run", name, "--home", str(home)),
                ],
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        for name in workers
    ]
    try:
        yield begun
    finally:
        for worker in begun:
            worker.process.kill()
            worker.process.communicate()


def count(home: Path, query: str) -> int:
    """One number from the store; 0 while there is none."""
    try:
        with closing(sqlite3.connect(f"file:{home / 'store.sqlite'}?mode=ro", uri=True)) as store:
            return int(store.execute(query).fetchone()[0] or 0)
    except sqlite3.Error:
        return 0


def wait_until(came: Callable[[], bool], workers: Sequence[Worker]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not came():
        assert time.monotonic() < give_up, "it did not come in time"
        for worker in workers:
            assert worker.process.poll() is None, worker.process.communicate()[1]
        time.sleep(0.03)


def publish(home: Path) -> None:
    """Predictions of now, and their outcomes a second later, as a live service publishes them."""

    async def inside() -> None:
        async with EmbeddedPublisher(home / "log.sqlite", producer="service") as publisher:
            now = datetime.now(UTC)
            await publisher.publish(
                [
                    PredictionMade(
                        prediction_id=f"p{i}",
                        model="brent",
                        version="1",
                        prediction=float(i),
                        features={"x": float(i)},
                        horizon_s=1,
                        occurred_at=now,
                    )
                    for i in range(PREDICTIONS)
                ]
            )
            await publisher.publish(
                [
                    # the future is allowed for a minute: no need to sleep for it
                    OutcomeObserved(prediction_id=f"p{i}", actual=1.0, occurred_at=now + timedelta(seconds=1))
                    for i in range(PREDICTIONS)
                ]
            )

    asyncio.run(inside())


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    (home / "lifecycle.toml").write_text(SETTINGS)
    return home


def tallied(home: Path) -> int:
    return count(
        home, "SELECT sum(json_extract(CAST(body AS TEXT), '$.n')) FROM window_tallies WHERE kind = 'input'"
    )


def scored(home: Path) -> int:
    return count(
        home,
        "SELECT sum(json_extract(CAST(body AS TEXT), '$.matched')) FROM window_tallies WHERE kind = 'score'",
    )


def in_balance(home: Path) -> None:
    said = lifecycle("reconcile", "--home", home, "--json")
    assert said.code == 0, said.out
    assert count(home, "SELECT count(*) FROM divergences") == 0


def test_all_workers_start_in_a_fresh_home_tally_in_real_time_and_drain_on_sigterm(fresh: Path) -> None:
    with running(fresh, "all") as workers:
        wait_until(lambda: count(fresh, "SELECT count(*) FROM deployment") > 0, workers)
        publish(fresh)
        # nothing but heartbeats moves time on from here
        wait_until(lambda: tallied(fresh) == scored(fresh) == PREDICTIONS, workers)
        workers[0].stop()
    in_balance(fresh)
    told = lifecycle("status", "--home", fresh, "--json").document
    (unknown,) = told["unknown_versions"]
    assert (unknown["model"], unknown["version"]) == ("brent", "1"), "the registry never heard of it"


def test_two_tally_workers_and_the_others_share_one_home_as_processes(fresh: Path) -> None:
    with running(fresh, "tally", "tally", "judge", "relay", "registry") as workers:
        wait_until(lambda: count(fresh, "SELECT count(*) FROM deployment") > 0, workers)
        publish(fresh)
        wait_until(lambda: tallied(fresh) == scored(fresh) == PREDICTIONS, workers)
        for worker in workers:
            worker.stop()
    in_balance(fresh)
    assert lifecycle("replay", "--home", fresh).code == 0


def test_a_second_signal_ends_a_worker_at_once(fresh: Path) -> None:
    with running(fresh, "all") as (worker,):
        wait_until(lambda: count(fresh, "SELECT count(*) FROM deployment") > 0, [worker])
        worker.process.send_signal(signal.SIGTERM)
        worker.process.send_signal(signal.SIGINT)
        worker.process.communicate(timeout=DRAINED_WITHIN_S)
    assert worker.process.returncode in (0, -signal.SIGINT, -signal.SIGTERM)
    publish(fresh)
    with running(fresh, "tally") as workers:
        wait_until(lambda: tallied(fresh) == PREDICTIONS, workers)
        workers[0].stop()
