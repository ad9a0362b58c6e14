"""Agreement with annotators, on cases worked by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.driftbench.agreement import agreement, covering

POINTS = st.sets(st.integers(1, 99), max_size=8)
MARKS = st.dictionaries(st.text("abc", min_size=1), POINTS, min_size=1, max_size=4)


def test_f_measure_of_a_case_by_hand() -> None:
    # ann: 0, 10, 50; bob: 0, 12. Together 0, 10, 12, 50; detected 0, 11, 58
    found = agreement({"ann": [10, 50], "bob": [12]}, [11, 58])
    # 0 and 10 are met; 11 is taken when 12 comes, and 58 is 8 from 50
    assert found.precision == pytest.approx(2 / 3)
    # ann 2 of 3, bob 2 of 2
    assert found.recall == pytest.approx((2 / 3 + 1) / 2)
    assert found.f1 == pytest.approx(2 * (2 / 3) * (5 / 6) / (2 / 3 + 5 / 6))


def test_a_margin_may_look_forward_only() -> None:
    late = agreement({"ann": [50]}, [58], before=0, after=20)
    early = agreement({"ann": [50]}, [48], before=0, after=20)
    assert (late.precision, late.recall) == (1.0, 1.0)
    assert (early.precision, early.recall) == (0.5, 0.5)


def test_two_marks_are_not_met_by_one_detection() -> None:
    assert agreement({"ann": [10, 12]}, [11]).recall == pytest.approx(2 / 3)
    assert agreement({"ann": [10, 12]}, [9, 13]).recall == 1.0


def test_nobody_saw_anything_and_nothing_was_found() -> None:
    assert agreement({"ann": []}, []).f1 == 1.0
    assert covering({"ann": []}, [], 100) == 1.0


def test_covering_of_a_case_by_hand() -> None:
    # segments 0-40 and 40-100; ours 0-50 and 50-100: 40 * 40/50 + 60 * 50/60 = 82
    assert covering({"ann": [40]}, [50], 100) == pytest.approx(0.82)
    # the mean with one who saw nothing: the longer of ours covers half
    assert covering({"ann": [40], "bob": []}, [50], 100) == pytest.approx((0.82 + 0.5) / 2)


@given(MARKS, POINTS)
def test_all_figures_are_shares(marks: dict[str, set[int]], found: set[int]) -> None:
    met = agreement(marks, found)
    for share in (met.precision, met.recall, met.f1, covering(marks, found, 100)):
        assert 0 < share <= 1


@given(POINTS)
def test_who_finds_what_was_marked_agrees_wholly(points: set[int]) -> None:
    assert agreement({"ann": points}, points).f1 == 1.0
    assert covering({"ann": points}, points, 100) == pytest.approx(1.0)
