"""A broken promise is found, a kept one is not, whatever the shape of a metric between 0 and 1."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.drift import promise
from domain.drift.promise import PromiseFinding, PromisePolicy, PromiseState, badness, bets, step, worse
from domain.drift.tilt import bernoulli
from domain.errors import InvalidField

ERRORS = PromisePolicy(metric="brier", baseline=0.1, tolerance=0.02)


def run(
    policy: PromisePolicy, windows: Sequence[tuple[int, float]], baseline: float = 0.1, phi: float = 1.0
) -> tuple[PromiseState, list[PromiseFinding | None]]:
    state, found = PromiseState(), []
    for n, mean in windows:
        state, finding = step(policy, state, n, mean, baseline, phi)
        found.append(finding)
    return state, found


def test_the_hand_case_comes_out() -> None:
    # 170 right, 30 wrong, .1 against .2: 30 ln 2 + 170 ln(8/9)
    assert bernoulli(0.1, 0.2).log_e(30, 200) == pytest.approx(0.7712993552, abs=1e-10)


def test_one_window_is_the_log_of_the_mean_over_the_alternatives() -> None:
    spread = math.sqrt(0.1 * 0.9)
    rates = [0.12 + size * spread for size in (0.2, 0.4, 0.8, 1.6)]
    e = [(p / 0.12) ** 18 * ((1 - p) / 0.88) ** 42 for p in rates]
    state, finding = step(ERRORS, PromiseState(), 60, 0.3, 0.1)
    assert finding is None
    assert state.log_m == pytest.approx([math.log(one) for one in e])
    state, finding = step(ERRORS, state, 60, 0.3, 0.1)
    again = [(1 + one) * one for one in e]
    assert finding is not None
    assert finding.log_e == pytest.approx(math.log(math.fsum(again) / 4))
    assert finding.log_e >= finding.threshold == pytest.approx(math.log(10_000))
    assert (finding.mean, finding.baseline, finding.tolerated) == pytest.approx((0.3, 0.1, 0.12))
    assert (finding.evidence_windows, finding.sample_size) == (2, 120)
    assert state == PromiseState()


@pytest.mark.parametrize("mean, least, most", [(0.2, 2, 8), (0.15, 5, 60)])
def test_a_worse_rate_is_found_with_a_delay_that_fits_it(mean: float, least: int, most: int) -> None:
    delays = []
    for seed in range(5):
        generator = np.random.default_rng(seed)
        windows = [(100, float((generator.random(100) < p).mean())) for p in [0.1] * 100 + [mean] * 80]
        _, found = run(ERRORS, windows)
        assert not any(found[:100])
        delays.append(next(k for k, finding in enumerate(found[100:], start=1) if finding))
    assert least <= sorted(delays)[2] <= most


def test_at_the_edge_of_the_tolerance_a_promise_is_kept() -> None:
    generator = np.random.default_rng(9)
    rates = generator.binomial(200, 0.12, size=3000) / 200
    assert not any(run(ERRORS, [(200, float(rate)) for rate in rates])[1])
    # and below it for ever
    assert not any(run(ERRORS, [(200, 0.1)] * 500)[1])


@pytest.mark.parametrize("values", [(0.0, 1.0), (0.0, 0.3, 1.0), (0.05, 0.2, 0.6), (0.2,)])
@pytest.mark.parametrize("part", [0.0, 0.5, 0.99, 1.0])
def test_no_bet_gains_on_average_on_any_metric_within_its_range(
    values: tuple[float, ...], part: float
) -> None:
    # all samples of four items of a metric of few values, whose mean is at most the tolerated one
    tolerated = 0.3
    raw = [1.0 / (1 + k) ** 2 for k in range(len(values))]
    shares = [one / math.fsum(raw) for one in raw]
    mean = math.fsum(p * x for p, x in zip(shares, values, strict=True))
    # mixed with zeros until its mean is the wanted part of the tolerated one
    keep = min(1.0, part * tolerated / mean)
    outcomes = [(0.0, 1 - keep), *((x, keep * p) for x, p in zip(values, shares, strict=True))]
    for bet in bets(0.2, tolerated, promise.SIZES):
        gain = math.fsum(
            math.prod(p for _, p in sample) * math.exp(bet.log_e(math.fsum(x for x, _ in sample), 4))
            for sample in itertools.product(outcomes, repeat=4)
        )
        assert gain <= 1 + 1e-12
        if values == (0.0, 1.0) and keep * mean == pytest.approx(tolerated):
            assert gain == pytest.approx(1)


def test_hits_are_watched_for_misses_and_reported_as_hits() -> None:
    policy = PromisePolicy(metric="hit", baseline=0.9, tolerance=0.02)
    assert not any(run(policy, [(100, 0.95)] * 50, 0.9)[1])
    finding = next(f for f in run(policy, [(100, 0.7)] * 5, 0.9)[1] if f)
    assert (finding.mean, finding.baseline, finding.tolerated) == pytest.approx((0.7, 0.9, 0.88))
    mirrored = next(f for f in run(ERRORS, [(100, 0.3)] * 5)[1] if f)
    assert finding.log_e == pytest.approx(mirrored.log_e)


def test_clipped_errors_are_measured_in_parts_of_the_clip() -> None:
    policy = PromisePolicy(metric="abs_error_clipped", baseline=1.0, tolerance=0.2)
    state, _ = step(policy, PromiseState(), 100, 2.0, 1.0, clip=10.0)
    same, _ = step(ERRORS, PromiseState(), 100, 0.2, 0.1)
    assert state.log_m == pytest.approx(same.log_m)
    _, finding = step(policy, state, 1000, 4.0, 1.0, clip=10.0)
    assert finding is not None
    assert finding.mean == pytest.approx((100 * 2 + 1000 * 4) / 1100)
    assert (finding.baseline, finding.tolerated) == pytest.approx((1.0, 1.2))


@pytest.mark.parametrize(
    "metric, value, expected", [("hit", 1.2, 0.0), ("pnl", -3.0, 0.0), ("pnl", 7.0, 1.0)]
)
def test_badness_is_held_to_its_range(metric: str, value: float, expected: float) -> None:
    assert badness(metric, value) == expected


def test_what_is_worse_is_held_to_nothing() -> None:
    assert worse("abs_error", 300.0) == 300.0
    assert worse("abs_error_clipped", 6.0, clip=12.0) == 0.5
    assert worse("hit", 0.75) == 0.25


def test_a_measured_baseline_of_few_items_widens_the_tolerance() -> None:
    measured = PromisePolicy(metric="brier", tolerance=0.02)
    windows = [(100, 0.3)] * 3
    state, finding = PromiseState(), None
    for n, mean in windows:
        state, finding = step(measured, state, n, mean, 0.1, baseline_n=20)
        assert finding is None
    finding = next(f for f in run(measured, windows)[1] if f)
    _, wide = step(measured, PromiseState(), 5000, 0.6, 0.1, baseline_n=20)
    assert wide is not None
    assert wide.tolerated == pytest.approx(0.1 + 3 * math.sqrt(0.09 / 20))
    assert finding.tolerated == pytest.approx(0.12)


def test_overdispersion_divides_the_evidence() -> None:
    plain, _ = step(ERRORS, PromiseState(), 100, 0.2, 0.1)
    weak, _ = step(ERRORS, PromiseState(), 100, 0.2, 0.1, phi=4.0)
    assert weak.log_m == pytest.approx([m / 4 for m in plain.log_m])


@pytest.mark.parametrize("baseline", [0.0, 1e-9, 0.5, 0.97, 0.999])
@pytest.mark.parametrize("n", [1, 10**9])
def test_extreme_baselines_and_windows_stay_finite(baseline: float, n: int) -> None:
    policy = PromisePolicy(metric="loss", tolerance=0.0005)
    for mean in (0.0, 1.0, baseline):
        state, finding = step(policy, PromiseState(), n, mean, baseline)
        assert all(map(math.isfinite, state.log_m))
        assert finding is None or math.isfinite(finding.log_e)
        assert mean == 1.0 or finding is None


def test_a_promise_that_cannot_be_broken_and_an_empty_window_change_nothing() -> None:
    policy = PromisePolicy(metric="loss", tolerance=0.5)
    assert step(policy, PromiseState(), 100, 1.0, 0.6) == (PromiseState(), None)
    state, _ = step(ERRORS, PromiseState(), 100, 0.2, 0.1)
    assert step(ERRORS, state, 0, 0.0, 0.1) == (state, None)


@given(st.lists(st.tuples(st.integers(0, 300), st.floats(0, 1)), max_size=40), st.data())
def test_a_restart_at_any_window_goes_on_the_same(
    windows: list[tuple[int, float]], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(windows)))
    straight, restarted = PromiseState(), PromiseState()
    for k, (n, mean) in enumerate(windows):
        if k == cut:
            restarted = PromiseState.from_json(orjson.loads(orjson.dumps(restarted.to_json())))
        straight, left = step(ERRORS, straight, n, mean, 0.3)
        restarted, right = step(ERRORS, restarted, n, mean, 0.3)
        assert left == right
    assert orjson.dumps(straight.to_json()) == orjson.dumps(restarted.to_json())


@pytest.mark.parametrize(
    "document, field",
    [
        ({"metric": "", "tolerance": 0.1}, "metric"),
        ({"metric": "squared_error", "tolerance": 0.1}, "metric"),
        ({"metric": "hit", "tolerance": 0.0}, "tolerance"),
        ({"metric": "hit", "tolerance": 0.1, "baseline": -0.1}, "baseline"),
        ({"metric": "hit", "tolerance": 0.1, "baseline": 1.1}, "baseline"),
        ({"metric": "hit", "tolerance": 0.6, "baseline": 0.5}, "tolerance"),
        ({"metric": "brier", "tolerance": 0.6, "baseline": 0.5}, "tolerance"),
        ({"metric": "hit", "tolerance": 0.1, "false_alarms_per_window": 0.0}, "false_alarms_per_window"),
        ({"metric": "hit", "tolerance": 0.1, "sizes": []}, "sizes"),
        ({"metric": "hit"}, "tolerance"),
    ],
)
def test_an_impossible_policy_is_refused_by_name(document: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidField, match=rf"PromisePolicy\.{field} must be"):
        PromisePolicy.from_json(document)


def test_a_policy_survives_json() -> None:
    policy = PromisePolicy(metric="hit", baseline=0.9, tolerance=0.05, sizes=(0.3,))
    assert PromisePolicy.from_json(orjson.loads(orjson.dumps(policy.to_json()))) == policy
