"""Workers that the demo runs as processes live as long as the demo, and no longer."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.demo.killing import processes_of
from tests.demo.runs import ROOT

# the demo's stage without its prices: it is the processes that matter
STAGE = """
import asyncio, sys
from pathlib import Path
from consumers.bootstrap import open_system
from consumers.demo.stages import Processes
from consumers.settings import load_settings

async def main(home):
    stage = Processes(system=await open_system(load_settings(home), create=True))
    await stage.begin()
    (home / "begun").touch()
    if sys.argv[2] == "stay":
        await asyncio.sleep(600)
    await stage.end()

asyncio.run(main(Path(sys.argv[1])))
"""
WORKERS = 6
STARTED = "run.started"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "home"
    made.mkdir()
    yield made
    for pid in processes_of(made):
        os.kill(pid, signal.SIGKILL)


def begin(home: Path, then: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", STAGE, str(home), then], cwd=ROOT)


def until(came: Callable[[], bool], patience_s: float) -> bool:
    give_up = time.monotonic() + patience_s
    while not came():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.02)
    return True


def started(home: Path) -> int:
    return sum(STARTED in log.read_text() for log in home.glob("processes/*.log"))


@pytest.mark.parametrize("moment", ["at once", "in service"])
def test_workers_of_a_demo_that_is_killed_are_gone_within_seconds(home: Path, moment: str) -> None:
    demo = begin(home, "stay")
    assert until((home / "begun").exists, 30)
    if moment == "in service":
        assert until(lambda: started(home) == WORKERS, 60)
    assert len(processes_of(home)) == 1 + WORKERS
    demo.kill()
    demo.wait()
    assert until(lambda: not processes_of(home), 15 if moment == "at once" else 5), processes_of(home)


def test_workers_of_a_demo_that_ends_are_ended_by_it(home: Path) -> None:
    demo = begin(home, "end")
    assert demo.wait(60) == 0
    assert processes_of(home) == []
