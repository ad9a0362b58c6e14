"""The contrast's sums add, and reproduce the published stratified example and a direct computation."""

import math
from collections.abc import Sequence

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.experiments.contrast import Contrast
from domain.experiments.moments import Moments
from tests.reference.cases import CASES

values = st.lists(st.tuples(st.floats(-100, 100), st.floats(-100, 100)), min_size=1, max_size=12)
batches = st.lists(st.tuples(values, values), min_size=1, max_size=6)
Pairs = Sequence[tuple[float, float]]


def moments(pairs: Pairs, *, with_x: bool = True) -> Moments:
    y, x = np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])
    dy, dx = y - y.mean(), x - x.mean()
    body = {"n": len(y), "mean": float(y.mean()), "M2": float(dy @ dy)}
    if with_x:
        body |= {"mean_x": float(x.mean()), "M2_x": float(dx @ dx), "Cxy": float(dy @ dx)}
    return Moments.of_body(body)


def rate(hits: int, n: int) -> Moments:
    return Moments(n, hits / n, hits * (n - hits) / n)


def test_a_traffic_ramp_does_not_turn_the_effect_around() -> None:
    friday = (rate(230, 10_000), rate(20_000, 990_000))
    saturday = (rate(6_000, 500_000), rate(5_000, 500_000))
    contrast = Contrast.of_batch(*friday, binary=True) + Contrast.of_batch(*saturday, binary=True)
    out = CASES["E20"]["out"]
    assert contrast.estimate == pytest.approx(out["stratified"], rel=1e-9)
    assert contrast.statistic().s == pytest.approx(out["S"], rel=1e-9)
    assert contrast.statistic().within == pytest.approx(out["V"], rel=1e-9)
    pooled = (friday[0] + saturday[0]).mean - (friday[1] + saturday[1]).mean
    assert pooled == pytest.approx(out["pooled"], rel=1e-9)


@given(values, values)
def test_moments_of_two_parts_are_the_moments_of_the_whole(left: Pairs, right: Pairs) -> None:
    together, whole = moments(left) + moments(right), moments([*left, *right])
    assert together.n == whole.n
    for name in ("mean", "M2", "mean_x", "M2_x", "Cxy"):
        assert getattr(together, name) == pytest.approx(getattr(whole, name), rel=1e-9, abs=1e-7)
    assert moments(left) + Moments() == moments(left)
    assert not (moments(left) + moments(right, with_x=False)).with_x


@given(batches, st.integers(0, 6))
def test_contrasts_merge_by_addition(strata: list[tuple[Pairs, Pairs]], cut: int) -> None:
    each = [Contrast.of_batch(moments(one), moments(zero)) for one, zero in strata]
    whole = sum(each, Contrast())
    parts = sum(each[:cut], Contrast()) + sum(each[cut:], Contrast())
    for name, value in whole.to_json().items():
        assert parts.to_json()[name] == pytest.approx(value, rel=1e-9, abs=1e-6)
    assert Contrast.from_json(orjson.loads(orjson.dumps(whole.to_json()))) == whole


@given(batches, st.floats(-3, 3))
def test_the_statistic_is_that_of_the_single_batches(strata: list[tuple[Pairs, Pairs]], null: float) -> None:
    contrast = sum((Contrast.of_batch(moments(one), moments(zero)) for one, zero in strata), Contrast())
    theta = contrast.theta
    s = between = within = 0.0
    for one, zero in strata:
        left, right = [y - theta * x for y, x in one], [y - theta * x for y, x in zero]
        w = len(left) * len(right) / (len(left) + len(right))
        d = float(np.mean(left) - np.mean(right))
        squares = float(np.var(left) * len(left) + np.var(right) * len(right))
        s += w * (d - null)
        between += (w * (d - null)) ** 2
        within += w * squares / (len(left) + len(right) - 2) if len(left) + len(right) > 2 else 0.0
    found = contrast.statistic(null)
    scale = 1 + abs(theta)
    # sums of squares of values around 100 * theta cancel, which costs digits
    assert found.s == pytest.approx(s, rel=1e-6, abs=1e-6 * scale)
    assert found.between == pytest.approx(between, rel=1e-6, abs=1e-6 * scale**2 * 1e4)
    assert found.within == pytest.approx(within, rel=1e-6, abs=1e-6 * scale**2 * 1e4)
    assert found.v == max(found.within, found.between, 0.0)


def test_from_twenty_batches_on_the_variance_does_not_depend_on_the_null() -> None:
    generator = np.random.default_rng(1)
    contrast = Contrast()
    for k in range(20):
        if k == 19:
            assert contrast.statistic(0.0).between != contrast.statistic(1.0).between
        contrast = contrast + Contrast.of_pairs(Moments(50, float(generator.normal()), 40.0))
    assert contrast.batches == 20
    assert contrast.statistic(0.0).v == contrast.statistic(1.0).v


def test_an_empty_arm_or_a_single_pair_adds_nothing() -> None:
    assert Contrast.of_batch(rate(1, 10), Moments()) == Contrast()
    assert Contrast.of_pairs(Moments(1, 3.0, 0.0)) == Contrast()
    assert math.isnan(Contrast().estimate)


def test_a_covariate_takes_its_share_of_the_variance_away() -> None:
    generator = np.random.default_rng(2)
    plain = adjusted = Contrast()
    for _ in range(30):
        x = generator.standard_normal(100)
        y = 0.8 * x + 0.6 * generator.standard_normal(100)
        one, zero = list(zip(y[:50], x[:50], strict=True)), list(zip(y[50:], x[50:], strict=True))
        adjusted = adjusted + Contrast.of_batch(moments(one), moments(zero))
        plain = plain + Contrast.of_batch(moments(one, with_x=False), moments(zero, with_x=False))
    assert adjusted.theta == pytest.approx(0.8, abs=0.05)
    assert adjusted.statistic().within == pytest.approx(0.36 * plain.statistic().within, rel=0.1)
    assert plain.theta == 0


def test_a_covariate_too_small_for_floats_adjusts_nothing() -> None:
    def arm(mean: float, mean_x: float) -> Moments:
        return Moments(50, mean, 50.0, True, mean_x, 1e-320, 1e-160)

    tiny, none = Contrast(), Contrast()
    for k in range(20):
        tiny += Contrast.of_batch(arm(1.0 + k * 0.1, 1e-160), arm(1.0, 0.0))
        none += Contrast.of_batch(Moments(50, 1.0 + k * 0.1, 50.0), Moments(50, 1.0, 50.0))
    assert tiny.theta == 0.0
    assert tiny.statistic() == none.statistic()
    assert tiny.estimate == none.estimate
