"""`lifecycle run` as a process that answers for itself."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from consumers.metrics import Metric
from tests.metrics.scraping import of_text

pytestmark = [pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
DRAINED_WITHIN_S = 10.0


@contextmanager
def running(home: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """All workers in a new home, and the port they answer on."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from consumers.cli.main import main; main()",
            *("run", "all", "--home", str(home)),
        ],
        cwd=ROOT,
        env={**os.environ, "LIFECYCLE_METRICS_PORT": "0", "LIFECYCLE_POLL_INTERVAL_S": "0.05"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, _port(process)
    finally:
        process.kill()
        process.communicate()


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith('{"action":"health.listening"'):
            return int(json.loads(line)["port"])
    raise AssertionError("it ended without listening")


def got(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def ready(port: int) -> dict[str, Any]:
    give_up = monotonic() + PATIENCE_S
    while True:
        status, text = got(port, "/readyz")
        body: dict[str, Any] = json.loads(text)
        if status == 200:
            return body
        assert monotonic() < give_up, body["reasons"]
        sleep(0.05)


def test_all_workers_answer_under_one_address_until_they_have_drained(tmp_path: Path) -> None:
    with running(tmp_path / "home") as (process, port):
        body = ready(port)
        assert set(body["workers"]) == {"tally", "judge", "relay", "registry", "trainer"}
        assert got(port, "/healthz")[0] == 200
        text = got(port, "/metrics")[1]
        assert set(re.findall(r"^# TYPE (lifecycle_\w+)", text, re.MULTILINE)) == {
            metric.value.name for metric in Metric
        }
        scrape = of_text(text)
        assert scrape("lifecycle_dependency_up", dependency="store") == 1
        assert scrape("lifecycle_lag_records", topic="lifecycle.model-promoted", partition=0) == 0
        assert scrape("lifecycle_jobs", status="REQUESTED") == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(DRAINED_WITHIN_S) == 0
