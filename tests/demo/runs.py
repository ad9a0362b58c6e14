"""Runs of the demo as a person starts them, as processes, and what they leave behind, as plain values."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LIFECYCLE = (sys.executable, "-c", "from consumers.cli.main import main; main()")
PATIENCE_S = 1_200

LEFT_BEHIND = {
    "window rows": (
        "store",
        """SELECT kind, window_start_ms, partition, model, version, variant, experiment, epoch, horizon_s,
                  due_ms, body FROM window_tallies ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9""",
    ),
    "arrival rows": (
        "store",
        "SELECT side, partition, window_start_ms, body FROM arrival_tallies ORDER BY 1, 2, 3",
    ),
    "decisions": (
        "store",
        """SELECT decision_id, kind, model, subject, at_ms, window_start_ms, window_end_ms, body, config_hash
           FROM decisions ORDER BY at_ms, model, decision_id""",
    ),
    "judgement": ("store", "SELECT model, judged_through_ms, tallies_digest, state FROM judgement_states"),
    "versions": (
        "store",
        "SELECT model, version, stage, status, artifact_sha256, job_id FROM model_versions ORDER BY 1, 2",
    ),
    "moves": (
        "store",
        """SELECT model, version, from_stage, to_stage, actor, decision_id, epoch, at_ms
           FROM transitions ORDER BY id""",
    ),
    "experiments": (
        "store",
        """SELECT experiment_id, config, config_hash, status, epoch, started_at_ms, closed_at_ms, decision_id
           FROM experiments ORDER BY 1""",
    ),
    "jobs": (
        "store",
        "SELECT job_id, status, reason, as_of_ms, opened_at_ms, version FROM retraining_jobs ORDER BY 1",
    ),
    "episodes": (
        "store",
        "SELECT episode_id, version, drift_type, severity, opened_at_ms, closed_at_ms FROM drift_episodes "
        "ORDER BY 1",
    ),
    "divergences": ("store", "SELECT row_key FROM divergences"),
    # all but the wall clock at which a record was appended
    "records": (
        "log",
        """SELECT topic, partition, "offset", timestamp_ms, key, value FROM records ORDER BY 1, 2, 3""",
    ),
}
"""What two runs of the same weeks must have in common to the byte: file and query of each part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A command that ended by itself."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """The JSON that stdout consists of."""
        return json.loads(self.stdout)


def lifecycle(*arguments: str | Path) -> Ended:
    """Run the command line to its end."""
    done = subprocess.run(
        [*LIFECYCLE, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return Ended(code=done.returncode, stdout=done.stdout, stderr=done.stderr)


def left_behind(home: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in `home` that a second run must bring about again, byte for byte."""
    found = {}
    for name, (file, query) in LEFT_BEHIND.items():
        found[name] = rows(home / f"{file}.sqlite", query)
    return found


def rows(file: Path, query: str, *values: object) -> list[tuple[Any, ...]]:
    """The answer of an SQLite file."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        return connection.execute(query, values).fetchall()


def assert_equal_homes(one: Path, other: Path) -> None:
    """Names the first thing that differs, instead of printing two databases."""
    left, right = left_behind(one), left_behind(other)
    for name, expected in left.items():
        assert_equal_rows(name, expected, right[name])


def assert_equal_rows(name: str, expected: list[tuple[Any, ...]], got: list[tuple[Any, ...]]) -> None:
    """Row by row; a plain `==` of thousands of bodies would be explained for minutes."""
    for number, (wanted, found) in enumerate(zip(expected, got, strict=False)):
        if wanted != found:
            pytest.fail(f"{name}, row {number}:\n  expected {wanted}\n  found    {found}")
    if len(expected) != len(got):
        pytest.fail(f"{name}: {len(expected)} rows expected, {len(got)} found")
