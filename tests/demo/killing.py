"""Killing the demo: finding its processes, waiting for a moment, SIGKILL. Reads /proc, as Linux has it."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.demo.runs import LIFECYCLE, PATIENCE_S, ROOT

Victims = Literal["everything", "all but the training command", "the demo alone"]
_POLL_S = 0.004


@dataclass(slots=True)
class Life:
    """One process of `lifecycle demo` in `home`, from its start to its end."""

    home: Path
    process: subprocess.Popen[bytes]
    earlier: frozenset[tuple[str, int]]
    """Trainings that were begun before this life."""

    @classmethod
    def begin(cls, home: Path, weeks: int) -> "Life":
        """Start, or go on with, the demo of `home`; its output goes into files beside it."""
        earlier = frozenset(_trainings(home))
        with (home.parent / "stdout").open("wb") as out, (home.parent / "stderr").open("wb") as errors:
            process = subprocess.Popen(
                [*LIFECYCLE, "demo", "--home", str(home), "--weeks", str(weeks), "--json"],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                start_new_session=True,
            )
        return cls(home, process, earlier)

    def until(self, came: Callable[[], bool]) -> bool:
        """Wait until `came`; False if the demo ended by itself before."""
        give_up = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up:
            if came():
                return True
            if self.process.poll() is not None:
                return False
            time.sleep(_POLL_S)
        raise AssertionError(f"the demo neither went on nor ended:\n{self.complaints()}")

    def trained_now(self) -> list[str]:
        """Ids of the jobs whose training was begun in this life, finished or not."""
        return [job for job, made in _trainings(self.home) if (job, made) not in self.earlier]

    def kill(self, victims: Victims) -> None:
        """SIGKILL, without a last word to anybody. Those who are spared must end by themselves."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if victims == "the demo alone":
            return
        for pid in processes_of(self.home):
            if victims == "everything" or not is_training(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def end(self) -> int:
        """Wait until it ends by itself; its exit code."""
        return self.process.wait(PATIENCE_S)

    def complaints(self) -> str:
        """What it said on stderr."""
        return (self.home.parent / "stderr").read_text(errors="replace")[-4_000:]


def processes_of(home: Path) -> list[int]:
    """All living processes that have `home` in their command line: demo, service, training command."""
    return [pid for pid in _pids() if str(home) in _command_line(pid) and pid != os.getpid()]


def is_training(pid: int) -> bool:
    return "train_xgboost" in _command_line(pid)


def last_week(home: Path) -> int:
    """The newest week that the demo's clock has passed; -1 before the first."""
    with contextlib.suppress(sqlite3.Error):  # not there yet, no table yet, locked
        connection = sqlite3.connect(f"file:{home / 'log.sqlite'}?mode=ro", uri=True, timeout=1)
        with contextlib.closing(connection):
            found = connection.execute("SELECT sequence FROM producers WHERE name = 'demo-clock'").fetchone()
            return -1 if found is None else int(found[0])
    return -1


def _trainings(home: Path) -> list[tuple[str, int]]:
    """Job id and time of its files, for every attempt whose files are there."""
    found = []
    for file in sorted(home.glob("jobs/*/attempt-*/job.json")):
        with contextlib.suppress(FileNotFoundError):
            found.append((file.parts[-3], file.stat().st_mtime_ns))
    return found


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _command_line(pid: int) -> str:
    """Empty for a process that has ended, waited for or not."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""
