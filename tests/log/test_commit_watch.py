"""A position that stands still before the end of its partition is noticed; one that has a reason is not."""

import pytest

from consumers.log.commit_watch import CommitWatch
from consumers.log.port import LogStuck

P = ("orders", 0)


def stand(watch: CommitWatch, first_s: int, last_s: int, position: int = 5, end: int = 9) -> None:
    """Seen every 10 s from `first_s` up to and including `last_s`."""
    for at_s in range(first_s, last_s + 1, 10):
        watch.see(P, position, end, at_s)


def test_a_position_that_stands_before_the_end_is_stuck_after_its_time() -> None:
    watch = CommitWatch(60)
    stand(watch, 0, 50)
    with pytest.raises(LogStuck, match=r"orders\[0\]"):
        watch.see(P, 5, 20, 60)


def test_a_position_that_moves_is_not() -> None:
    watch = CommitWatch(60)
    for at_s in range(0, 600, 50):
        watch.see(P, at_s, 1_000, at_s)


def test_a_position_at_the_end_has_all_its_time_when_a_record_comes() -> None:
    watch = CommitWatch(60)
    stand(watch, 0, 600, position=9)
    stand(watch, 610, 650, position=9, end=10)
    with pytest.raises(LogStuck):
        watch.see(P, 9, 10, 660)


def test_waiting_for_the_store_starts_the_time_anew() -> None:
    watch = CommitWatch(60)
    stand(watch, 0, 50)
    watch.excuse(P)
    stand(watch, 60, 110)
    with pytest.raises(LogStuck):
        watch.see(P, 5, 9, 120)


def test_a_partition_that_others_held_meanwhile_starts_the_time_anew() -> None:
    watch = CommitWatch(60)
    stand(watch, 0, 50)
    watch.hold([("orders", 1)])
    stand(watch, 60, 110)
    watch.hold([P])
    with pytest.raises(LogStuck):
        watch.see(P, 5, 9, 120)


def test_time_in_which_nobody_looked_counts_little() -> None:
    watch = CommitWatch(60)
    stand(watch, 0, 10)
    watch.see(P, 5, 9, 3_600)
    stand(watch, 3_610, 3_630)
    with pytest.raises(LogStuck):
        watch.see(P, 5, 9, 3_640)
