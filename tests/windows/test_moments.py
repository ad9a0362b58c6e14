import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.windows.moments import LARGEST, Moments, merge, merge_all, of

reals = st.floats(-1e6, 1e6)
samples = st.lists(st.tuples(reals, reals), min_size=1, max_size=30)


def close(a: float, b: float, scale: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9 * max(scale, 1.0))


@given(samples, st.randoms(use_true_random=False))
def test_the_order_of_values_changes_no_bit(pairs: list[tuple[float, float]], r: Random) -> None:
    mixed = r.sample(pairs, len(pairs))
    assert of(*columns(mixed)) == of(*columns(pairs))


@given(samples, st.data())
def test_merging_parts_agrees_with_the_whole(pairs: list[tuple[float, float]], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(pairs)), max_size=4)))
    parts = [pairs[a:b] for a, b in zip([0, *cuts], [*cuts, len(pairs)], strict=True)]
    merged = merge_all(of(*columns(part)) for part in parts if part)
    whole = of(*columns(pairs))
    scale = sum(x * x + y * y for x, y in pairs)
    assert merged.n == whole.n
    assert close(merged.mean, whole.mean, scale)
    assert close(merged.M2, whole.M2, scale)
    assert merged.covariate is not None
    assert whole.covariate is not None
    assert close(merged.covariate.mean_x, whole.covariate.mean_x, scale)
    assert close(merged.covariate.M2_x, whole.covariate.M2_x, scale)
    assert close(merged.covariate.Cxy, whole.covariate.Cxy, scale)


def test_the_numbers_are_those_of_the_textbook() -> None:
    moments = of([1.0, 2.0, 6.0], [0.0, 1.0, 2.0])
    assert moments.to_json() == {"n": 3, "mean": 3.0, "M2": 14.0, "mean_x": 1.0, "M2_x": 2.0, "Cxy": 5.0}


def test_a_sum_that_naive_addition_loses_is_exact() -> None:
    assert of([1e16, 1.0, -1e16]).mean == 1 / 3


def test_no_minus_zero_leaves() -> None:
    moments = of([-0.0, -0.0], [-0.0, -0.0])
    assert [math.copysign(1, value) for value in moments.to_json().values()] == [1.0] * 6


def test_the_largest_values_stay_finite() -> None:
    moments = of([LARGEST, -LARGEST] * 1_000, [LARGEST, -LARGEST] * 1_000)
    assert all(math.isfinite(value) for value in moments.to_json().values())


def test_an_empty_side_changes_nothing() -> None:
    some, none = of([1.0, 2.0]), Moments(0, 0.0, 0.0)
    assert merge(some, none) == some
    assert merge(none, some) == some
    assert merge_all([]) == none


def test_one_side_without_covariates_leaves_none() -> None:
    assert merge(of([1.0], [2.0]), of([3.0])).covariate is None


@pytest.mark.parametrize("moments", [of([1.5, 2.5]), of([1.5, 2.5], [0.1, 0.2])])
def test_json_round_trip(moments: Moments) -> None:
    assert Moments.from_json(moments.to_json()) == moments


def test_arrays_and_lists_give_the_same_bits() -> None:
    values = [Random(1).gauss(0, 1) for _ in range(100)]
    assert of(np.array(values)) == of(values)


def columns(pairs: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [y for _, y in pairs], [x for x, _ in pairs]
