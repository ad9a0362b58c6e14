"""Working and ready are two questions: each worker's life through both, by a clock of the test's own."""

from dataclasses import dataclass

import pytest

from consumers.health import Health
from consumers.workers.shell import Observer


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    made = Health(hung_after_s=60.0, clock=clock)
    made.expect("tally", "judge")
    made.reached("store")
    made.reached("log")
    return made


def test_it_is_what_the_loop_around_a_worker_reports_to(health: Health) -> None:
    observer: Observer = health
    observer.stepped("tally", True)
    assert health.workers["tally"].steps == 1


def test_a_process_is_well_from_the_start_and_ready_when_every_worker_has_stepped(health: Health) -> None:
    assert health.ill() == []
    assert health.unready() == [
        "tally: has not completed a step yet",
        "judge: has not completed a step yet",
    ]
    health.stepped("tally", False)
    assert health.unready() == ["judge: has not completed a step yet"]
    health.stepped("judge", True)
    assert health.unready() == []


def test_a_worker_that_waits_is_well_and_not_ready(health: Health, clock: Clock) -> None:
    health.stepped("tally", True)
    health.stepped("judge", True)
    health.waiting("judge", "the store is unavailable: connection refused", 30.0)
    assert health.ill() == []
    assert health.unready() == ["judge: waiting: the store is unavailable: connection refused"]
    clock.now += 89.0
    assert [reason for reason in health.ill() if reason.startswith("judge")] == [], (
        "30 s of it were asked for"
    )
    health.stepped("judge", False)
    health.stepped("tally", False)
    assert health.unready() == []
    assert health.workers["judge"].waits == 1


def test_a_step_that_does_not_end_makes_the_process_ill(health: Health, clock: Clock) -> None:
    health.stepped("judge", True)
    clock.now += 60.0
    health.stepped("judge", True)
    assert health.ill() == []
    clock.now += 0.5
    assert health.ill() == ["tally: nothing heard for 60 s"]
    assert health.unready()[0] == "tally: nothing heard for 60 s"


def test_a_wait_that_never_ends_in_another_try_makes_the_process_ill(health: Health, clock: Clock) -> None:
    health.stepped("tally", True)
    health.waiting("judge", "away", 30.0)
    clock.now += 91.0
    health.stepped("tally", True)
    assert health.ill() == ["judge: nothing heard for 91 s"]


def test_a_long_step_that_gets_on_is_no_hanging_one(health: Health, clock: Clock) -> None:
    judged = [0]
    health.pulses["judge"] = lambda: judged[0]
    for minute in range(10):
        clock.now += 59.0
        judged[0] = 1_000 * minute
        health.stepped("tally", True)
        assert health.ill() == []
    clock.now += 60.5
    health.stepped("tally", True)
    assert health.ill() == ["judge: nothing heard for 60 s"]


def test_a_job_may_train_for_hours(clock: Clock) -> None:
    health = Health(hung_after_s=60.0, clock=clock)
    health.expect("trainer", dependencies=())
    clock.now += 7 * 3_600
    assert health.ill() == health.unready() == []
    health.waiting("trainer", "the store is unavailable", 0.2)
    assert health.unready() == ["trainer: waiting: the store is unavailable"]


def test_a_drained_worker_is_well_and_takes_no_more_work(health: Health, clock: Clock) -> None:
    health.stepped("judge", True)
    health.waiting("tally", "away", 1.0)
    health.drained("tally")
    clock.now += 59.0
    health.stepped("judge", True)
    clock.now += 59.0
    assert health.ill() == []
    assert health.unready() == ["tally: has ended"]


def test_a_dependency_must_have_answered_and_answer_still(clock: Clock) -> None:
    health = Health(clock=clock)
    health.expect("judge")
    health.stepped("judge", False)
    health.reached("store")
    assert health.unready() == ["log: has not answered yet"]
    health.reached("log")
    health.unreachable("store", "did not answer in 10 s")
    assert health.unready() == ["store: did not answer in 10 s"]
    clock.now += 5.0
    health.reached("store")
    assert health.unready() == []
    assert health.describe()["dependencies"]["log"] == {"problem": None, "succeeded_s_ago": 5.0}


def test_reasons_are_one_line_and_show_no_password(health: Health) -> None:
    health.waiting("tally", "postgresql://user:hunter2@db/name\nis away " + "x" * 1_000, 1.0)
    health.unreachable("store", "postgresql://user:hunter2@db/name is away")
    shown = "\n".join(health.unready()) + str(health.describe())
    assert "hunter2" not in shown
    assert "user:***@db/name is away" in shown
    assert max(len(reason) for reason in health.unready()) < 350


def test_a_worker_that_cannot_do_a_part_of_its_work_is_well_and_not_ready(health: Health) -> None:
    health.stepped("tally", True)
    health.stepped("judge", True)
    standing = ["predictions[3]: the batch at\noffset 4 cannot be decoded"]
    health.troubles["tally"] = lambda: standing
    assert health.unready() == ["tally: predictions[3]: the batch at offset 4 cannot be decoded"]
    assert health.ill() == []
    standing.clear()
    assert health.unready() == []
