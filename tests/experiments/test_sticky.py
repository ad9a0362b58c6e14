"""Units that keep their arm: sums of buckets add, give the variance of units, and decide honestly."""

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t, ttest_ind

from domain.experiments.scores import WindowScores
from domain.experiments.state import ExperimentState
from domain.experiments.step import step
from domain.experiments.sticky import MIN_BUCKETS, Phase, Units, compare, imbalance, merged
from domain.experiments.verdict import standings
from tests.experiments.streams import Body, kind, plan, run, sticky_arms, unit_arm, windows
from tests.reference.cases import CASES


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


wholes = st.integers(-1000, 1000).map(float)


@st.composite
def units(draw: st.DrawFn, least: int = 0, *, ratio: bool = False) -> Units:
    names = draw(st.lists(st.integers(0, 63).map(str), min_size=least, max_size=64, unique=True))
    base = st.integers(1, 50).map(float)
    columns = (base, wholes, base) if ratio else (base, wholes)
    return {name: draw(st.tuples(*columns)) for name in sorted(names)}


phases = st.dictionaries(st.sampled_from("012"), st.builds(Phase, units(), units()))


@given(phases, phases, phases)
def test_sums_merge_in_any_order_and_grouping(
    one: Mapping[str, Phase], two: Mapping[str, Phase], three: Mapping[str, Phase]
) -> None:
    assert merged(one, two) == merged(two, one)
    assert merged(merged(one, two), three) == merged(one, merged(two, three))
    assert merged(one, {}) == one


def by_fractions(sums: Units) -> tuple[Fraction, Fraction]:
    """Ratio and its variance by the definition."""
    exact = [[Fraction(value) for value in row] for row in sums.values()]
    base = sum((row[-1] if len(row) > 2 else row[0] for row in exact), Fraction())
    value = sum((row[1] for row in exact), Fraction()) / base
    spread = sum(((row[1] - value * (row[2] if len(row) > 2 else row[0])) ** 2 for row in exact), Fraction())
    g = len(exact)
    return value, Fraction(g, g - 1) * spread / base**2


@settings(max_examples=40)
@given(st.booleans().flatmap(lambda ratio: st.tuples(*[units(MIN_BUCKETS, ratio=ratio)] * 2)))
def test_a_phase_is_that_of_exact_fractions(arms: tuple[Units, Units]) -> None:
    (one, variance_1), (zero, variance_0) = by_fractions(arms[0]), by_fractions(arms[1])
    found = compare({"0": Phase(*arms)})
    if variance_1 == 0 or variance_0 == 0:
        assert found is None
        return
    assert found is not None
    assert found.estimate == pytest.approx(float(one - zero), rel=1e-9, abs=1e-9)
    assert found.information == pytest.approx(float(1 / (variance_1 + variance_0)), rel=1e-9)
    assert found.v == found.information


def alone(values: np.ndarray) -> Units:
    """Every outcome in a bucket of its own."""
    return {str(k): (1.0, float(value)) for k, value in enumerate(values)}


def test_one_outcome_in_each_bucket_is_welchs_test() -> None:
    def with_sums(total: float, squares: float, n: int) -> np.ndarray:
        sd = math.sqrt((squares - total**2 / n) / (n - 1))
        return total / n + sd * np.array([0.0, *([1.0, -1.0] * (n // 2))])

    case = CASES["E11"]
    one, zero = with_sums(*case["inp"]["treat"]), with_sums(*case["inp"]["control"])
    found = compare({"0": Phase(alone(one), alone(zero))})
    assert found is not None
    welch = ttest_ind(one, zero, equal_var=False)
    assert found.estimate * math.sqrt(found.information) == pytest.approx(welch.statistic, rel=1e-9)
    half = t.ppf(0.975, welch.df) / math.sqrt(found.information)
    assert [found.estimate - half, found.estimate + half] == pytest.approx(case["out"]["abs"], abs=5e-6)
    assert welch.pvalue == pytest.approx(case["out"]["abs_p"], abs=5e-6)


def test_a_ratio_has_the_variance_of_the_delta_method() -> None:
    source = generator(1)
    profit, volume = source.normal(1.2, 0.5, 64), source.normal(1.0, 0.4, 64)
    pairs = {str(k): (1.0, float(a), float(b)) for k, (a, b) in enumerate(zip(profit, volume, strict=True))}
    flat = {str(k): (1.0, float(k % 2), 1.0) for k in range(64)}
    found = compare({"0": Phase(pairs, flat)})
    assert found is not None
    ratio = profit.mean() / volume.mean()
    spread = np.cov(profit, volume)
    by_delta = (spread[0, 0] - 2 * ratio * spread[0, 1] + ratio**2 * spread[1, 1]) / (64 * volume.mean() ** 2)
    assert found.estimate + 0.5 == pytest.approx(ratio)
    assert 1 / found.information - 0.25 / 63 == pytest.approx(by_delta)


def test_a_phase_waits_for_enough_buckets() -> None:
    def arm(buckets: int) -> Units:
        return {str(k): (2.0, float(k % 7)) for k in range(buckets)}

    assert compare({"0": Phase(arm(MIN_BUCKETS - 1), arm(64))}) is None
    assert compare({"0": Phase(arm(64), arm(MIN_BUCKETS))}) is not None
    alike = {str(k): (2.0, 6.0) for k in range(64)}
    assert compare({"0": Phase(alike, arm(64))}) is None
    waiting = compare({"0": Phase(arm(64), arm(64)), "1": Phase(arm(3), arm(64))})
    assert waiting is not None
    assert waiting.phases == 1


def test_units_that_stay_tie_the_phases_together() -> None:
    """The same units in the same arms twice tell nothing new, however many outcomes they bring."""
    source = generator(2)
    one, zero = (
        {str(k): (10.0, float(value)) for k, value in enumerate(source.standard_normal(64))} for _ in range(2)
    )
    once = compare({"0": Phase(one, zero)})
    twice = compare({"0": Phase(one, zero), "1": Phase(one, zero)})
    assert once is not None
    assert twice is not None
    assert twice.information == pytest.approx(2 * once.information)
    assert twice.v > 1.5 * twice.information
    other = generator(3)
    fresh = compare(
        {
            str(p): Phase(
                *({str(k): (10.0, float(v)) for k, v in enumerate(other.standard_normal(64))} for _ in "01")
            )
            for p in range(20)
        }
    )
    assert fresh is not None
    assert fresh.v < 1.4 * fresh.information


def test_the_split_of_units_is_judged_by_units() -> None:
    """One busy unit with a thousand requests is no broken split; every unit in one arm is."""
    even = {str(k): (10.0, 0.0) for k in range(64)}
    s, v = imbalance({"0": Phase({**even, "7": (1000.0, 0.0)}, even)}, 0.5)
    assert s * s / v < 2
    s, v = imbalance({"0": Phase(even, {str(k): (5.0, 0.0) for k in range(64)})}, 0.5)
    assert s * s / v > 30
    assert imbalance({"0": Phase({"1": (5.0, 0.0)}, {})}, 0.5) == (0.0, 0.0)


# ---------------------------------------------------------------- in an experiment


def test_a_better_challenger_of_sticky_units_is_promoted() -> None:
    chosen = plan("USER_SEGMENT")
    _, found = run(chosen, windows(sticky_arms(generator(4), 300, gain=0.3)))
    assert found is not None
    assert (found.kind, found.treatment) == ("PROMOTE", "challenger-1")
    primary = found.evidence["treatments"]["challenger-1"]["primary"]
    assert primary["v"] >= primary["units_v"] == primary["weight"]
    assert 0 < primary["lower"] < primary["estimate"] < primary["upper"]
    assert found.evidence["ratio_log_e"] == 0.0
    assert kind(run(chosen, windows(sticky_arms(generator(5), 300, gain=-0.5)))[1]) == "ROLL_BACK"


def test_few_units_with_effects_of_their_own_are_not_an_effect() -> None:
    def decided(strategy: str) -> int:
        found = [
            run(plan(strategy), windows(sticky_arms(generator(seed), 120, 0.0, units=200, spread=0.5)))[1]
            for seed in range(40)
        ]
        return sum(verdict is not None for verdict in found)

    assert decided("USER_SEGMENT") <= 6
    # with events for units of variance
    assert decided("PERCENTAGE_SPLIT") >= 12


def test_a_market_that_moves_all_units_of_an_arm_adds_to_the_variance() -> None:
    source = generator(12)
    calm, moved = sticky_arms(source, 40, gain=0.0), []
    for one in calm:
        shock = float(source.normal(0.0, 1.0))
        body = one["challenger-1"]
        metric, sums = body["metrics"]["abs_error"], body["units"]["abs_error"]
        after = {
            "metrics": {"abs_error": {**metric, "mean": metric["mean"] + shock}},
            "units": {"abs_error": {b: [n, total + n * shock] for b, (n, total) in sums.items()}},
        }
        moved.append({**one, "challenger-1": {**body, **after}})
    chosen = plan("USER_SEGMENT", harm=[])
    (still, wild) = (standings(chosen, run(chosen, windows(arms))[0])[0].primary for arms in (calm, moved))
    assert still.units_v is not None
    assert still.v is not None
    assert wild.units_v is not None
    assert wild.v is not None
    assert still.units_v <= still.v < 1.7 * still.units_v
    assert wild.v > 5 * wild.units_v


def test_the_mde_gives_the_information_that_tunes_the_evidence() -> None:
    arms = sticky_arms(generator(6), 30, gain=0.2)
    state, _ = run(plan("USER_SEGMENT", mde=0.1, harm=[]), windows(arms))
    shown = standings(plan("USER_SEGMENT", mde=0.1, harm=[]), state)[0].primary
    wanted = ((1.6448536 + 0.8416212) / 0.1) ** 2
    assert shown.rho == pytest.approx(wanted / (2 * math.log(10) + math.log(1 + 2 * math.log(10))), rel=1e-6)
    tuned = state.track("challenger-1", "abs_error").unit_information
    # 0.25 / (var 1.09 and, with few outcomes a unit, little of the units' own share)
    assert tuned == pytest.approx(0.23, rel=0.4)
    known = plan("USER_SEGMENT", variances={"abs_error": 1.09})
    state, _ = run(known, windows(arms[:1]))
    assert state.track("challenger-1", "abs_error").unit_information == pytest.approx(0.25 / 1.09)


def test_a_ratio_of_sums_is_compared_by_the_delta_method() -> None:
    def arms(source: np.random.Generator, count: int, gain: float) -> list[dict[str, Body]]:
        treated = source.random(400) < 0.5
        size = source.lognormal(0.0, 0.5, 400)
        every = []
        for _ in range(count):
            who = source.integers(0, 400, 100)
            volume = size[who] * source.exponential(1.0, 100)
            pnl = volume * (0.1 + gain * treated[who] + 0.3 * source.standard_normal(100))
            every.append(
                {
                    name: unit_arm(who[part], {"value.pnl": pnl[part], "value.volume": volume[part]})
                    for name, part in (("champion", ~treated[who]), ("challenger-1", treated[who]))
                }
            )
        return every

    ratio = {"metric": "value.pnl", "direction": "increase", "denominator": "value.volume"}
    chosen = plan("USER_SEGMENT", primary=ratio, harm=[ratio])
    _, found = run(chosen, windows(arms(generator(7), 200, gain=0.1)))
    assert found is not None
    assert (found.kind, found.treatment) == ("PROMOTE", "challenger-1")
    primary = found.evidence["treatments"]["challenger-1"]["primary"]
    assert primary["metric"] == "value.pnl/value.volume"
    assert primary["v"] == primary["units_v"]
    assert primary["lower"] < 0.1 < primary["upper"]
    state, found = run(chosen, windows(arms(generator(8), 60, gain=0.0)))
    assert found is None
    assert state.batches == 60


def test_a_unit_that_is_much_of_the_traffic_does_not_invalidate_the_split_but_units_in_the_wrong_arm_do() -> (
    None
):
    source = generator(9)
    arms = []
    for one in sticky_arms(source, 60, gain=0.0):
        busy = unit_arm(np.full(80, 7), {"abs_error": source.standard_normal(80)})
        both = dict(one["champion"])
        sums = {**both["units"]["abs_error"]}
        known = sums.get("7", [0, 0.0])
        added = busy["units"]["abs_error"]["7"]
        sums["7"] = [known[0] + added[0], known[1] + added[1]]
        arms.append({**one, "champion": {**both, "n": both["n"] + 80, "units": {"abs_error": sums}}})
    state, _ = run(plan("USER_SEGMENT", harm=[]), windows(arms))
    assert state.invalid == ()
    alike = [
        {**one, "champion": unit_arm(np.arange(64), {"abs_error": source.standard_normal(64)})}
        | {"challenger-1": unit_arm(np.arange(64), {"abs_error": source.standard_normal(64)})}
        for one in arms
    ]
    uneven = plan(
        "USER_SEGMENT",
        harm=[],
        variants=[
            {"name": "champion", "version": "0", "share": 0.8, "champion": True},
            {"name": "challenger-1", "version": "1", "share": 0.2},
        ],
    )
    state, _ = run(uneven, windows(alike))
    assert state.invalid == ("outcome_arrivals",)


def test_an_allocation_epoch_is_a_phase_of_its_own() -> None:
    chosen, state = plan("USER_SEGMENT", harm=[]), ExperimentState()
    for k, window in enumerate(windows(sticky_arms(generator(10), 40, gain=0.0))):
        state, _ = step(chosen, state, replace(window, epoch=1 + (k >= 25)))
    phases = state.track("challenger-1", "abs_error").phases
    assert list(phases) == ["1", "2"]
    whole = merged({"0": phases["1"]}, {"0": phases["2"]})["0"]
    assert sum(row[0] for arm in (whole.treatment, whole.control) for row in arm.values()) == 4000
    shown = standings(chosen, state)[0].primary
    assert shown.v is not None
    assert shown.v >= shown.weight


def test_outcomes_without_a_unit_do_not_count() -> None:
    def windows_without_units() -> list[dict[str, Body]]:
        return [
            {name: {k: v for k, v in body.items() if k != "units"} for name, body in one.items()}
            for one in sticky_arms(generator(11), 30, gain=0.0)
        ]

    state, found = run(plan("USER_SEGMENT"), windows(windows_without_units()))
    assert found is None
    assert state.batches == 0


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1), st.integers(0, 50))
def test_a_restart_at_any_window_goes_on_to_the_same_bytes(seed: int, cut: int) -> None:
    chosen, straight, restarted = plan("USER_SEGMENT"), ExperimentState(), ExperimentState()
    every: list[WindowScores] = list(windows(sticky_arms(generator(seed), 50, gain=0.2)))
    for k, window in enumerate(every):
        if k == cut:
            restarted = ExperimentState.from_json(orjson.loads(orjson.dumps(restarted.to_json())))
        one = replace(window, epoch=1 + k // 20)
        straight, left = step(chosen, straight, one)
        restarted, right = step(chosen, restarted, one)
        assert left == right
    option = orjson.OPT_SORT_KEYS
    assert orjson.dumps(straight.to_json(), option=option) == orjson.dumps(restarted.to_json(), option=option)
