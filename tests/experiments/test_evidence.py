"""Evidence agrees with confseq, gbstats, ssrm and hand arithmetic on the recorded cases."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from domain.experiments import mcnemar
from domain.experiments.evidence import (
    always_valid_p,
    bound_one_sided,
    bound_one_sided_closed,
    bound_two_sided,
    confidence_sequence,
    log_e_one_sided,
    log_e_two_sided,
    one_sided_bounds,
    rho_one_sided,
    rho_two_sided,
)
from domain.experiments.srm import ALARM_LOG_E, dirichlet_log_e, srm_log_e
from tests.reference.cases import CASES

Sample = tuple[float, float, float]  # mean, variance, n


def sample(sums: list[float]) -> Sample:
    total, squares, n = sums
    return total / n, (squares - total * total / n) / (n - 1), n


def relative(control: Sample, treatment: Sample) -> tuple[float, float]:
    """GrowthBook's relative effect and its variance by the delta method."""
    variance = treatment[1] / (treatment[2] * control[0] ** 2)
    variance += control[1] * treatment[0] ** 2 / (control[2] * control[0] ** 4)
    return treatment[0] / control[0] - 1, variance


def test_mixture_numbers_are_those_of_confseq() -> None:
    assert rho_two_sided(100, 0.05) == pytest.approx(CASES["E1"]["out"], abs=1e-5)
    rho = rho_two_sided(100, 0.05)
    assert log_e_two_sided(10, 100, rho) == pytest.approx(CASES["E2"]["out"], abs=1e-5)
    assert bound_two_sided(100, 0.05, rho) == pytest.approx(CASES["E3"]["out"], abs=1e-5)
    assert log_e_one_sided(10, 100, rho_one_sided(100, 0.05)) == pytest.approx(CASES["E4"]["out"], abs=1e-5)


def test_a_two_sided_sequence_of_a_relative_effect_is_that_of_gbstats() -> None:
    case = CASES["E6"]
    control, treatment = sample(case["inp"]["control"]), sample(case["inp"]["treat"])
    point, variance = relative(control, treatment)
    n = control[2] + treatment[2]
    # gbstats lets the variance process grow by one per item; on our scale that is v = n * (n * variance)
    v, scale = n * n * variance, n * variance
    found = confidence_sequence(point, v, n, 0.05, rho_two_sided(1000, 0.05) * scale)
    assert point == pytest.approx(case["out"]["point"], abs=5e-6)
    assert math.sqrt(variance) == pytest.approx(case["out"]["se"], abs=5e-6)
    assert [found.lower, found.upper] == pytest.approx(case["out"]["ci"], abs=5e-6)
    log_e = log_e_two_sided(point * n, v, rho_two_sided(1000, 0.05) * scale)
    assert always_valid_p(log_e) == pytest.approx(case["out"]["p"])


def test_the_closed_one_sided_bound_is_that_of_gbstats_and_the_exact_one_is_tighter() -> None:
    case = CASES["E8"]
    control, treatment = sample(case["inp"]["control"]), sample(case["inp"]["treat"])
    point, variance = relative(control, treatment)
    n = control[2] + treatment[2]
    rho = rho_one_sided(5000, 0.05) * n * variance
    v = n * n * variance
    assert point - bound_one_sided_closed(v, 0.05, rho) / n == pytest.approx(case["out"], rel=1e-12)
    assert case["out"] < one_sided_bounds(point, v, n, 0.05, rho).lower < point


def test_an_adjusted_sequence_is_that_of_gbstats() -> None:
    case, theta = CASES["E10"], -0.0114032226

    def adjusted(sums: list[float], before: list[float], products: float) -> Sample:
        mean, variance, n = sample(sums)
        mean_x, variance_x, _ = sample([*before, n])
        covariance = (products - sums[0] * before[0] / n) / (n - 1)
        return mean - theta * mean_x, variance - 2 * theta * covariance + theta * theta * variance_x, n

    inp = case["inp"]
    plain_0, plain_1 = sample(inp["control"]), sample(inp["treat"])
    control = adjusted(inp["control"], inp["pre_control"], inp["sum_xy"][0])
    treatment = adjusted(inp["treat"], inp["pre_treat"], inp["sum_xy"][1])
    # the adjustment cancels noise in the difference; relative to what stays the unadjusted mean
    point = (treatment[0] - control[0]) / plain_0[0]
    _, variance = relative((plain_0[0], control[1], control[2]), (plain_1[0], treatment[1], treatment[2]))
    n = control[2] + treatment[2]
    rho = rho_two_sided(5000, 0.05) * n * variance
    found = confidence_sequence(point, n * n * variance, n, 0.05, rho)
    assert point == pytest.approx(case["out"]["point"], abs=5e-6)
    assert [found.lower, found.upper] == pytest.approx(case["out"]["ci"], abs=5e-6)


def test_sequential_mcnemar_is_the_integral_over_better_than_a_coin() -> None:
    b, c = CASES["E19"]["inp"]["b"], CASES["E19"]["inp"]["c"]
    assert math.exp(mcnemar.log_e(b, c)) == pytest.approx(CASES["E19"]["out"], rel=1e-12)
    for b, c in ((5, 2), (2, 9), (20, 20)):
        by_hand, _ = quad(lambda p, b=b, c=c: 2 * p**b * (1 - p) ** c * 2 ** (b + c), 0.5, 1)
        assert math.exp(mcnemar.log_e(b, c)) == pytest.approx(by_hand, rel=1e-9)


def test_sequential_mcnemar_is_fair_under_the_null() -> None:
    # the expectation of an e-value under H0 is one, exactly, at every number of discordant pairs
    for n in (1, 7, 40):
        mean = math.fsum(math.comb(n, b) / 2**n * math.exp(mcnemar.log_e(b, n - b)) for b in range(n + 1))
        assert mean == pytest.approx(1.0, rel=1e-9)


def test_a_landslide_for_the_champion_is_no_evidence_for_the_challenger() -> None:
    # 2^n outgrows the smallest float: a floor under the tail would turn 0 : 2,000 into log e = 680
    assert mcnemar.log_e(0, 100_000) < 0
    values = [mcnemar.log_e(3, c) for c in range(700, 1300)]
    assert values == sorted(values, reverse=True)
    assert mcnemar.log_e(0, 5) == pytest.approx(mcnemar._hopeless(0, 5, 1.0), rel=1e-12)
    assert mcnemar.log_e(100_000, 0) > 60_000


def test_sample_ratio_evidence_is_that_of_ssrm() -> None:
    inp = CASES["E12"]["inp"]
    assert dirichlet_log_e(inp["counts"], inp["p"], [1, 1, 1]) == pytest.approx(
        CASES["E12"]["out"], rel=1e-12
    )
    assert srm_log_e([5000, 5050], [0.5, 0.5]) < 0
    assert srm_log_e([5000, 6000], [0.5, 0.5]) > ALARM_LOG_E
    assert srm_log_e([0, 0], [0.1, 0.9]) == 0


@given(st.floats(0, 1e6), st.floats(1e-3, 0.4), st.floats(1e-2, 1e6))
def test_bounds_are_where_the_e_value_reaches_one_over_alpha(v: float, alpha: float, rho: float) -> None:
    exact = bound_one_sided(v, alpha, rho)
    assert log_e_one_sided(exact, v, rho) == pytest.approx(math.log(1 / alpha), abs=1e-6)
    assert exact <= bound_one_sided_closed(v, alpha, rho) * (1 + 1e-9)
    assert exact <= bound_two_sided(v, alpha, rho) * (1 + 1e-6)
    two_sided = log_e_two_sided(bound_two_sided(v, alpha, rho), v, rho)
    assert two_sided == pytest.approx(math.log(1 / alpha), abs=1e-6)


@given(st.floats(-1e4, 1e4))
def test_an_always_valid_p_value_is_a_probability(log_e: float) -> None:
    assert 0 <= always_valid_p(log_e) <= 1


anything = st.floats(allow_nan=False, allow_infinity=False)
not_negative = st.floats(min_value=0.0, allow_nan=False, allow_infinity=False)


@given(anything, not_negative, not_negative)
def test_evidence_is_a_number_for_any_finite_sums(s: float, v: float, rho: float) -> None:
    assert math.isfinite(log_e_one_sided(s, v, rho))
    assert math.isfinite(log_e_two_sided(s, v, rho))
    for bound in (bound_one_sided, bound_two_sided):
        assert bound(v, 0.05, rho) >= 0
