"""The split is by time alone; nothing is trained on that was unknown at the start of the holdout."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.retraining.history import LabelledRow
from domain.retraining.split import SplitPolicy, TooLittleHistory, split

POLICY = SplitPolicy(history_ms=100_000, holdout_rows=2, min_rows=3)


def row(at_s: int, horizon_s: int = 1, name: str = "") -> LabelledRow:
    return LabelledRow(
        prediction_id=name or f"p{at_s}",
        occurred_at_ms=at_s * 1000,
        horizon_s=horizon_s,
        features={},
        actual=1.0,
    )


def ids(rows: tuple[LabelledRow, ...]) -> list[str]:
    return [row.prediction_id for row in rows]


def test_the_newest_rows_are_held_out() -> None:
    found = split([row(at) for at in (1, 2, 3, 4, 5)], POLICY, 100_000)
    assert (ids(found.train), ids(found.holdout), found.purged) == (["p1", "p2", "p3"], ["p4", "p5"], 0)


def test_rows_whose_outcome_was_not_due_before_the_holdout_are_purged() -> None:
    found = split([row(1), row(2), row(3), row(4, horizon_s=2), row(5), row(6)], POLICY, 100_000)
    assert (ids(found.train), ids(found.holdout), found.purged) == (["p1", "p2", "p3"], ["p5", "p6"], 1)


def test_rows_outside_the_history_are_not_used() -> None:
    rows = [row(1), row(10), row(11), row(12), row(13), row(14), row(101)]
    found = split(rows, POLICY, 101_500)
    assert ids(found.train) == ["p10", "p11", "p12", "p13"]
    assert ids(found.holdout) == ["p14", "p101"]
    assert ids(split(rows, POLICY, 101_000).holdout) == ["p13", "p14"], "as_of itself is not in the past"


def test_too_little_history_says_how_much_is_needed() -> None:
    with pytest.raises(TooLittleHistory) as caught:
        split([row(at) for at in (1, 2, 3, 4)], POLICY, 100_000)
    assert (caught.value.found, caught.value.needed) == (4, 5)
    with pytest.raises(TooLittleHistory):
        split([row(at, horizon_s=50) for at in (1, 2, 3, 4, 5)], POLICY, 100_000)


@given(st.permutations(list(range(1, 12))))
def test_the_split_does_not_depend_on_the_order_of_the_rows(order: list[int]) -> None:
    expected = split([row(at) for at in range(1, 12)], POLICY, 100_000)
    assert split([row(at) for at in order], POLICY, 100_000) == expected


def test_rows_of_one_moment_are_ordered_by_their_id() -> None:
    rows = [row(1), row(2), row(3), row(4, name="b"), row(4, name="a")]
    assert ids(split(rows, POLICY, 100_000).holdout) == ["a", "b"]
