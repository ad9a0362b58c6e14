"""A demo that is killed over and over and goes on ends where one that nobody disturbed ends, to the byte."""

import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import pytest

from tests.demo.killing import Life, Victims, is_training, last_week, processes_of
from tests.demo.runs import assert_equal_homes, lifecycle, rows

pytestmark = [pytest.mark.demo, pytest.mark.slow]

WEEKS = 390
"""Enough for a job, a registered version, two years of shadow answers and a promotion."""
FIRST_WEEK = 1_324
LAST_WEEK = FIRST_WEEK + WEEKS - 1
AT_START, IN_WEEKS, IN_TRAINING = 12, 18, 2
"""Kills while it starts, while weeks go by, and at most so many of each job's training."""
SPARE = 8
"""So many last weeks are not killed in: there must be somebody left to kill."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("undisturbed") / "home"
    run = lifecycle("demo", "--home", home, "--weeks", str(WEEKS), "--json")
    assert run.code == 0, run.stderr
    return home


@dataclass(slots=True)
class Killer:
    """Kills the demo in `home` at moments that `dice` choose, and keeps count."""

    home: Path
    dice: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)
    """Kills of each job's training."""

    def at_start(self, after_s: float) -> None:
        """Kill within the first seconds, wherever that is."""
        wake = time.monotonic() + after_s
        if self._lives_until(lambda: time.monotonic() >= wake, 0):
            self.kills["at start-up"] += 1

    def in_week(self, week: int, after_s: float) -> None:
        """Kill soon after `week` has passed, and in the trainings on the way there."""
        while not self._lives_until(lambda: last_week(self.home) >= week, after_s):
            pass
        self.kills["at the end" if week == LAST_WEEK else "between weeks"] += 1

    def _lives_until(self, came: Callable[[], bool], after_s: float) -> bool:
        """One life, killed so long after `came`; False if it was killed in a training before."""
        life = Life.begin(self.home, WEEKS)
        assert life.until(lambda: came() or bool(self._fresh(life))), life.complaints()
        trained = self._fresh(life)
        self.attempts.update(trained)
        self.kills["in training"] += len(trained)
        time.sleep(self.dice.uniform(0, 0.5) if trained else after_s)
        assert life.process.poll() is None, f"it ended before it was killed:\n{life.complaints()}"
        victims: Victims = self.dice.choice(get_args(Victims))
        life.kill(victims)
        return not trained

    def _fresh(self, life: Life) -> list[str]:
        """The job that is being trained, unless that was killed often enough."""
        return [job for job in life.trained_now() if self.attempts[job] < IN_TRAINING]


def test_killed_thirty_times_and_more_it_ends_as_if_nothing_had_happened(
    undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(2**32)))
    dice = random.Random(seed)
    home = tmp_path / "home"
    killer = Killer(home, dice)
    weeks = sorted(dice.sample(range(WEEKS - SPARE), IN_WEEKS - 1))
    plan: list[Callable[[], None]] = [
        lambda week=week: killer.in_week(FIRST_WEEK + week, dice.uniform(0, 0.06))  # type: ignore[misc]
        for week in weeks
    ]
    for number in range(AT_START):
        # a third of them within the first second, all before or just when the first week can begin
        longest = 1.0 if number % 3 == 0 else 3.5
        plan.insert(
            dice.randrange(len(plan) + 1),
            lambda longest=longest: killer.at_start(dice.uniform(0.02, longest)),  # type: ignore[misc]
        )
    plan.append(lambda: killer.in_week(LAST_WEEK, dice.uniform(0, 1.0)))
    sys.stdout.write(f"KILL_SEED={seed}\n")  # shown when the test fails
    with capsys.disabled():
        sys.stderr.write(f"\nKILL_SEED={seed}\n")
    for strike in plan:
        strike()
    last = Life.begin(home, WEEKS)
    assert last.end() == 0, last.complaints()

    assert killer.kills.total() >= 30, killer.kills
    assert len(killer.attempts) == 2, "in the training of version 1 and of version 2"
    assert_equal_homes(undisturbed, home)


def test_the_undisturbed_run_has_something_to_lose(undisturbed: Path) -> None:
    """A retraining job, the version that it registered, its answers in the shadow and its promotion."""
    store = undisturbed / "store.sqlite"
    assert rows(store, "SELECT version, stage FROM model_versions ORDER BY 1") == [
        ("1", "ARCHIVED"),
        ("2", "PRODUCTION"),
    ]
    ((shadow,),) = rows(
        store, "SELECT count(*) FROM window_tallies WHERE kind = 'score' AND variant = 'challenger'"
    )
    assert shadow > 100
    assert rows(store, "SELECT count(*) FROM divergences") == [(0,)]


def test_a_killed_demo_leaves_no_prediction_service_behind(tmp_path: Path) -> None:
    home = tmp_path / "home"
    life = Life.begin(home, WEEKS)
    assert life.until(lambda: last_week(home) >= FIRST_WEEK), life.complaints()
    orphans = [pid for pid in processes_of(home) if pid != life.process.pid and not is_training(pid)]
    assert orphans, "the service runs"
    life.kill("the demo alone")
    give_up = time.monotonic() + 10
    while processes_of(home) and time.monotonic() < give_up:
        time.sleep(0.02)
    assert processes_of(home) == []
