"""Budgets of false alarms are divided exactly; alarms are measured by the budget that would raise them."""

import math
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.drift import adwin, rollup
from domain.drift.adwin import AdwinPolicy, AdwinState
from domain.drift.rollup import RollUpPolicy
from domain.errors import InvalidField
from domain.judgement.alarm_rates import (
    ADWIN_PER_DELTA,
    DECLARED,
    MEASURED,
    NothingToScale,
    chance,
    per_month,
    per_window,
    rates,
    rounded_down,
    shares,
    strength,
    within,
)
from domain.judgement.policy import JudgementPolicy
from domain.windows.profile import FeatureReference

MINUTE = 60_000
OFF = JudgementPolicy(features=None, predictions=None, errors=None)


def changed(policy: JudgementPolicy, values: dict[str, tuple[str, float]]) -> JudgementPolicy:
    return replace(
        policy,
        **{name: replace(getattr(policy, name), **{field: value}) for name, (field, value) in values.items()},
    )


def test_a_policy_promises_the_sum_of_what_its_detectors_do() -> None:
    found = {rate.detector: (rate.per_window, rate.source) for rate in rates(JudgementPolicy())}
    assert found["features"] == (Fraction(1e-4), DECLARED)
    assert found["predictions"] == (Fraction(1e-4), DECLARED)
    assert found["errors"] == (ADWIN_PER_DELTA * Fraction(0.002), MEASURED)
    assert per_window(JudgementPolicy()) == sum(rate for rate, _ in found.values() if rate is not None)
    assert float(per_month(per_window(JudgementPolicy()), MINUTE)) == pytest.approx(43_200 * 2.6e-4)
    assert rates(OFF) == ()
    with pytest.raises(InvalidField, match="length_ms must be > 0"):
        per_month(Fraction(1), 0)


@given(
    st.fractions(min_value=Fraction(1, 1000), max_value=100),
    st.lists(st.fractions(min_value=Fraction(1, 100), max_value=50), min_size=1, max_size=6),
    st.sampled_from([1_000, 60_000, 3_600_000, 86_400_000, 7]),
    st.tuples(st.floats(1e-9, 1e-2), st.floats(1e-9, 1e-2), st.floats(1e-6, 0.9)),
)
def test_the_models_together_never_promise_more_than_the_budget(
    budget: Fraction, weights: list[Fraction], length_ms: int, knobs: tuple[float, float, float]
) -> None:
    features, predictions, delta = knobs
    policy = JudgementPolicy(
        features=RollUpPolicy(false_alarms_per_window=features, levels=3),
        predictions=RollUpPolicy(false_alarms_per_window=predictions, levels=3),
        errors=AdwinPolicy(delta=delta),
    )
    named = {f"m{number}": weight for number, weight in enumerate(weights)}
    divided = shares(budget, named)
    assert sum(divided.values()) == budget
    promised = Fraction(0)
    for name, share in divided.items():
        assert share / named[name] == budget / sum(weights)
        limit = share / per_month(Fraction(1), length_ms)
        try:
            after = changed(policy, within(policy, limit))
        except InvalidField:
            return  # more than the detectors can spend, or next to nothing: refused
        mine = per_month(per_window(after), length_ms)
        assert share * (1 - Fraction(1, 10_000)) < mine <= share
        assert within(after, limit) == within(changed(after, within(after, limit)), limit), "again is nothing"
        assert changed(after, within(after, limit)) == after
        promised += mine
    assert promised <= budget


@given(st.fractions(min_value=Fraction(1, 10**12), max_value=10**6))
def test_a_rate_is_rounded_down_and_never_far(value: Fraction) -> None:
    found = Fraction(rounded_down(value))
    assert value * (1 - Fraction(1, 10**5)) < found <= value


def test_what_cannot_be_divided_is_refused_by_name() -> None:
    with pytest.raises(InvalidField, match=r"budget\.per_month must be > 0"):
        shares(Fraction(0), {"a": Fraction(1)})
    with pytest.raises(InvalidField, match="weight of a must be > 0"):
        shares(Fraction(1), {"a": Fraction(0)})
    with pytest.raises(NothingToScale, match="no detector"):
        within(OFF, Fraction(1))
    with pytest.raises(InvalidField, match="false alarms per window must be >= 1e-12"):
        within(JudgementPolicy(), Fraction(1, 10**13))


def test_the_strength_of_a_roll_up_s_alarm_is_the_rate_that_would_still_have_raised_it() -> None:
    reference = FeatureReference(kind="numeric", edges=(0.0,), counts=(5_000, 5_000, 0, 0))
    policy = RollUpPolicy(levels=1)

    def alarm(rate: float) -> rollup.RollUpFinding | None:
        detector = replace(policy, false_alarms_per_window=rate)
        window = {"x": (270, 130, 0, 0), "y": (200, 200, 0, 0)}
        return rollup.step(detector, rollup.RollUpState(), {"x": reference, "y": reference}, window)[1]

    found = alarm(1e-4)
    assert found is not None
    evidence = {"p_value": found.p_value, "threshold": found.threshold}
    part = strength(JudgementPolicy(features=policy), evidence, tested=2)
    assert part is not None
    assert 0 < part < 1
    assert alarm(1e-4 * part * 1.001) is not None
    # with two features the first of them is rejected at half the level
    weaker = alarm(1e-4 * part * 0.49 / 2)
    assert weaker is None or weaker.severity != found.severity
    assert strength(JudgementPolicy(), evidence, tested=10**9) == 1


def test_the_strength_of_a_cut_is_at_least_the_delta_that_would_still_have_made_it() -> None:
    def cut(delta: float) -> adwin.AdwinFinding | None:
        state, found = AdwinState(), None
        for mean in (0.1, 0.1, 0.1, 0.3, 0.3):
            n = 400
            state, found = adwin.step(AdwinPolicy(delta=delta), state, n, mean, n * mean * (1 - mean))
            if found is not None:
                return found
        return None

    found = cut(0.002)
    assert found is not None
    evidence = {
        "detector": "bucket-adwin",
        "statistic": found.statistic,
        "threshold": found.threshold,
        "sample_size": found.sample_size,
        "mean_before": found.mean_before,
    }
    part = strength(JudgementPolicy(errors=AdwinPolicy()), evidence, tested=1)
    assert part is not None
    assert part < 1e-3
    again = cut(0.002 * part)
    assert again is not None
    assert again.sample_size == found.sample_size, "the very same cut"


def test_an_e_value_says_by_itself_how_strong_it_is() -> None:
    evidence = {"log_e": math.log(1e6), "threshold": math.log(1e4)}
    assert strength(JudgementPolicy(), evidence, tested=1) == pytest.approx(0.01)


def test_a_detector_that_promises_nothing_has_no_strength_and_its_alarm_may_always_be_chance() -> None:
    evidence = {"detector": "PageHinkley", "statistic": 3.0, "threshold": 2.0, "mean_before": 1.0}
    assert strength(JudgementPolicy(), evidence, tested=1) is None
    assert chance(JudgementPolicy(), None, Fraction(1)) == 1


def test_the_chance_of_an_alarm_is_what_its_strength_leaves_of_the_false_alarms_expected() -> None:
    expected = float(per_window(JudgementPolicy()) * 30)
    assert chance(JudgementPolicy(), 1.0, Fraction(30)) == pytest.approx(expected)
    assert chance(JudgementPolicy(), 0.01, Fraction(30)) == pytest.approx(expected / 100)
    assert chance(JudgementPolicy(), 1.0, Fraction(10**9)) == 1
