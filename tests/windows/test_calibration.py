"""Isotonic calibration: against the definition, and against numpy's interpolation."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.windows.calibration import Calibration, calibrate
from domain.windows.profile_error import ProfileError

SHARES = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 0.71, 1.0]), st.booleans()), min_size=1
)
P = st.floats(0, 1)


def isotonic(p: list[float], labels: list[bool]) -> dict[float, float]:
    """By the min-max formula: the largest over a <= x of the smallest over b >= x of the mean from a to b."""
    values = sorted(set(p))

    def mean(low: float, high: float) -> float:
        inside = [label for value, label in zip(p, labels, strict=True) if low <= value <= high]
        return sum(inside) / len(inside)

    return {x: max(min(mean(a, b) for b in values if b >= x) for a in values if a <= x) for x in values}


@given(SHARES)
def test_calibration_is_the_isotonic_least_squares_fit(records: list[tuple[float, bool]]) -> None:
    p, labels = [p for p, _ in records], [label for _, label in records]
    fitted = calibrate(np.array(p), np.array(labels, np.float64))
    for x, y in isotonic(p, labels).items():
        assert fitted.map(np.array([x]))[0] == pytest.approx(y, abs=1e-12)


@given(SHARES, st.lists(P, min_size=1))
def test_between_thresholds_it_is_linear_and_beyond_them_flat(
    records: list[tuple[float, bool]], asked: list[float]
) -> None:
    fitted = calibrate(np.array([p for p, _ in records]), np.array([y for _, y in records], np.float64))
    expected = np.interp(asked, fitted.x, fitted.y)
    np.testing.assert_allclose(fitted.map(np.array(asked)), expected, rtol=0, atol=1e-15)


@given(st.lists(P, min_size=1, max_size=8, unique=True), st.lists(P, min_size=8, max_size=8), st.data())
def test_a_map_never_descends_nor_leaves_its_thresholds(
    x: list[float], y: list[float], data: st.DataObject
) -> None:
    calibration = Calibration(x=tuple(sorted(x)), y=tuple(sorted(y[: len(x)])))
    asked = np.array(sorted(data.draw(st.lists(P, min_size=2))))
    mapped = calibration.map(asked)
    assert (np.diff(mapped) >= -1e-15).all()
    assert (mapped >= calibration.y[0]).all()
    assert (mapped <= calibration.y[-1]).all()
    np.testing.assert_array_equal(calibration.map(np.array(calibration.x)), calibration.y)


def test_thresholds_as_close_as_numbers_get_are_a_step() -> None:
    calibration = Calibration(x=(0.0, 5e-324), y=(0.0, 1.0))
    assert calibration.map(np.array([0.0, 5e-324, 0.5])).tolist() == [0.0, 1.0, 1.0]


def test_thresholds_inside_a_flat_stretch_are_dropped() -> None:
    p = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    assert calibrate(p, np.array([0.0, 0, 0, 1, 1])) == Calibration(x=(0.1, 0.3, 0.4, 0.5), y=(0, 0, 1, 1))


def test_equal_probabilities_are_one_threshold_with_their_share_of_positives() -> None:
    assert calibrate(np.array([0.5] * 4), np.array([1.0, 0, 0, 1])) == Calibration(x=(0.5,), y=(0.5,))


def test_no_probabilities_are_refused() -> None:
    with pytest.raises(ProfileError, match="at least one probability"):
        calibrate(np.array([]), np.array([]))


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"x": (), "y": ()}, "at least one"),
        ({"x": (0.1,), "y": (0.1, 0.2)}, "equally many"),
        ({"x": (0.1, 0.1), "y": (0.1, 0.2)}, "x must ascend"),
        ({"x": (0.1, 0.2), "y": (0.2, 0.1)}, "y must not descend"),
        ({"x": (0.1, 1.2), "y": (0.1, 0.2)}, "between 0 and 1"),
        ({"x": (0.1, 0.2), "y": (0.1, float("nan"))}, "between 0 and 1"),
    ],
)
def test_a_calibration_that_breaks_a_rule_says_which(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        Calibration(**fields)
