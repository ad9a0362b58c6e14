"""A relative effect by the delta method: recorded cases of GrowthBook, Welch's interval, and a simulation."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from domain.experiments.evidence import (
    always_valid_p,
    bound_one_sided_closed,
    confidence_sequence,
    log_e_two_sided,
    one_sided_bounds,
    rho_one_sided,
    rho_two_sided,
)
from domain.experiments.lift import Mean, lift
from tests.reference.cases import CASES

DIGITS = 5e-6
"""The cases have five."""


def mean_of(total: float, squares: float, n: int) -> Mean:
    return Mean(total / n, (squares - total * total / n) / (n - 1) / n)


def minus(one: Mean, other: Mean) -> Mean:
    return Mean(one.value - other.value, one.variance + other.variance)


def relative(case: dict[str, Any]) -> tuple[Mean, int]:
    """Of a recorded case, and how many records it has."""
    inp = case["inp"]
    control, treatment = mean_of(*inp["control"]), mean_of(*inp["treat"])
    found = lift(minus(treatment, control), treatment.variance, control)
    return found, inp["control"][2] + inp["treat"][2]


def test_a_two_sided_sequence_of_a_lift_is_that_of_gbstats() -> None:
    case = CASES["E6"]
    found, n = relative(case)
    # gbstats lets the variance process grow by one per item; on our scale that is v = n * (n * variance)
    v, rho = n * n * found.variance, rho_two_sided(1000, 0.05) * n * found.variance
    sequence = confidence_sequence(found.value, v, n, 0.05, rho)
    assert found.value == pytest.approx(case["out"]["point"], abs=DIGITS)
    assert math.sqrt(found.variance) == pytest.approx(case["out"]["se"], abs=DIGITS)
    assert [sequence.lower, sequence.upper] == pytest.approx(case["out"]["ci"], abs=DIGITS)
    assert always_valid_p(log_e_two_sided(found.value * n, v, rho)) == pytest.approx(case["out"]["p"])


def test_the_closed_one_sided_bound_is_that_of_gbstats_and_the_exact_one_is_tighter() -> None:
    case = CASES["E8"]
    found, n = relative(case)
    v, rho = n * n * found.variance, rho_one_sided(5000, 0.05) * n * found.variance
    assert found.value - bound_one_sided_closed(v, 0.05, rho) / n == pytest.approx(case["out"], rel=1e-12)
    assert case["out"] < one_sided_bounds(found.value, v, n, 0.05, rho).lower < found.value


def test_an_adjusted_sequence_is_that_of_gbstats() -> None:
    case, theta = CASES["E10"], -0.0114032226

    def adjusted(sums: list[float], before: list[float], products: float) -> Mean:
        n = int(sums[2])
        y, x = mean_of(sums[0], sums[1], n), mean_of(before[0], before[1], n)
        covariance = (products - sums[0] * before[0] / n) / (n - 1) / n
        variance = y.variance - 2 * theta * covariance + theta * theta * x.variance
        return Mean(y.value - theta * x.value, variance)

    inp = case["inp"]
    control = adjusted(inp["control"], inp["pre_control"], inp["sum_xy"][0])
    treatment = adjusted(inp["treat"], inp["pre_treat"], inp["sum_xy"][1])
    # the adjustment cancels noise in the difference; relative to what stays the unadjusted mean
    base = Mean(inp["control"][0] / inp["control"][2], control.variance)
    difference = minus(treatment, control)
    found = lift(difference, treatment.variance, base)
    # its variance is about the unadjusted means, whose ratio is another by a part in 50,000
    plain = inp["treat"][0] / inp["treat"][2] - base.value
    v = lift(replace(difference, value=plain), treatment.variance, base).variance
    assert found.variance == pytest.approx(v, rel=1e-4)
    n = inp["control"][2] + inp["treat"][2]
    sequence = confidence_sequence(found.value, n * n * v, n, 0.05, rho_two_sided(5000, 0.05) * n * v)
    assert found.value == pytest.approx(case["out"]["point"], abs=DIGITS)
    assert [sequence.lower, sequence.upper] == pytest.approx(case["out"]["ci"], abs=DIGITS)


def test_a_lift_at_one_look_has_welchs_interval_and_p() -> None:
    case = CASES["E11"]
    control, treatment = (mean_of(*case["inp"][arm]) for arm in ("control", "treat"))
    difference = minus(treatment, control)
    parts = ((each.variance**2 / (n - 1)) for each, n in ((control, 3407), (treatment, 3461)))
    df = difference.variance**2 / sum(parts)
    found = lift(difference, treatment.variance, control)
    for name, mean in (("abs", difference), ("rel", found)):
        error = math.sqrt(mean.variance)
        half = float(t.ppf(0.975, df)) * error
        interval = [mean.value - half, mean.value + half]
        assert interval == pytest.approx(case["out"][name], abs=DIGITS)
        p = 2 * float(t.sf(mean.value / error, df))
        assert p == pytest.approx(case["out"][f"{name}_p"], abs=DIGITS)


variances = st.floats(1e-6, 1.0)


@given(st.floats(-5, 5), variances, st.floats(1, 100), variances)
def test_independent_arms_give_the_textbooks_formula(
    gap: float, own: float, base: float, other: float
) -> None:
    found = lift(Mean(gap, own + other), own, Mean(base, other))
    assert found.value == pytest.approx((base + gap) / base - 1, abs=1e-12)
    textbook = own / base**2 + other * (base + gap) ** 2 / base**4
    assert found.variance == pytest.approx(textbook, rel=1e-9)


def test_what_both_arms_have_in_common_is_seen() -> None:
    source = np.random.default_rng(3)
    shape, runs = (20_000, 40), 20_000
    common = source.standard_normal(shape)
    one, zero = (10 + gain + common + 0.2 * source.standard_normal(shape) for gain in (1.0, 0.0))
    ratios = one.mean(axis=1) / zero.mean(axis=1) - 1
    difference = (one - zero).mean(axis=1)
    found = lift(
        Mean(1.0, float(difference.var())),
        float(one.mean(axis=1).var()),
        Mean(10.0, float(zero.mean(axis=1).var())),
    )
    assert found.variance == pytest.approx(float(ratios.var()), rel=5 * math.sqrt(2 / runs))
    alone = lift(Mean(1.0, 2 * 1.04 / 40), 1.04 / 40, Mean(10.0, 1.04 / 40))
    assert alone.variance > 10 * found.variance
