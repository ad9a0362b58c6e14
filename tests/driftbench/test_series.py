"""Annotated series as the annotators saw them, and what is found in them."""

from collections.abc import Sequence

import numpy as np
import pytest

from consumers.driftbench.series import DETECTS, Series, load, meet
from examples.brent import change_points_by_annotator, load_days


@pytest.fixture(scope="module")
def series() -> Sequence[Series]:
    return load()


def test_series_are_as_long_as_in_the_turing_data_set(series: Sequence[Series]) -> None:
    lengths = {each.name: each.observations for each in series}
    assert lengths == {
        "airline passengers": 468,
        "apple": 622,
        "bitcoin": 774,
        "brent": 500,
        "occupancy": 509,
        "run log": 376,
        "UK coal employment": 105,
    }
    for each in series:
        assert all(0 < mark < each.observations for marks in each.marks.values() for mark in marks)


def test_marks_of_the_oil_price_are_where_the_demo_has_them(series: Sequence[Series]) -> None:
    (brent,) = (each for each in series if each.name == "brent")
    days = [day for day in load_days()[::10] if day.date.year >= 2000]
    assert brent.columns["price"].tolist() == [day.price for day in days][: brent.observations]
    assert change_points_by_annotator() == {
        who: tuple(days[mark].event_ms for mark in sorted(marks)) for who, marks in brent.marks.items()
    }


def test_the_split_of_apple_is_where_everybody_marked_it(series: Sequence[Series]) -> None:
    (apple,) = (each for each in series if each.name == "apple")
    assert all(319 in marks for marks in apple.marks.values())
    close = apple.columns["Close"]
    assert close[319] < 0.6 * close[318]


# against 40 learnt observations in 5 bins a few windows of 5 say little
@pytest.mark.parametrize("name, latest", [("bucket-adwin", 215), ("e-sr", 245), ("roll-up", 360)])
def test_a_step_is_found_and_noise_alone_is_not(name: str, latest: int) -> None:
    source = np.random.default_rng(6)
    noise = source.standard_normal(400)
    step = noise + np.where(np.arange(400) >= 200, 4.0, 0.0)
    quiet = meet(Series("noise", {"x": noise}, {"ann": []}), name, DETECTS[name])
    found = meet(Series("step", {"x": step}, {"ann": [200]}), name, DETECTS[name])
    assert quiet.alarms == ()
    assert quiet.near.f1 == 1.0
    assert found.alarms
    assert 200 <= found.alarms[0] <= latest


def test_never_says_nothing(series: Sequence[Series]) -> None:
    assert all(meet(each, "never", DETECTS["never"]).alarms == () for each in series)
