"""Evidence agrees with confseq, exact fractions and hand arithmetic on the recorded cases."""

import math
from fractions import Fraction

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
    log_e_one_sided,
    log_e_two_sided,
    rho_one_sided,
    rho_two_sided,
)
from tests.reference.cases import CASES


def test_mixture_numbers_are_those_of_confseq() -> None:
    assert rho_two_sided(100, 0.05) == pytest.approx(CASES["E1"]["out"], abs=1e-5)
    rho = rho_two_sided(100, 0.05)
    assert log_e_two_sided(10, 100, rho) == pytest.approx(CASES["E2"]["out"], abs=1e-5)
    assert bound_two_sided(100, 0.05, rho) == pytest.approx(CASES["E3"]["out"], abs=1e-5)
    assert log_e_one_sided(10, 100, rho_one_sided(100, 0.05)) == pytest.approx(CASES["E4"]["out"], abs=1e-5)


def test_sequential_mcnemar_is_the_integral_over_better_than_a_coin() -> None:
    b, c = CASES["E19"]["inp"]["b"], CASES["E19"]["inp"]["c"]
    assert math.exp(mcnemar.log_e(b, c)) == pytest.approx(CASES["E19"]["out"], rel=1e-12)
    for b, c in ((5, 2), (2, 9), (20, 20)):
        by_hand, _ = quad(lambda p, b=b, c=c: 2 * p**b * (1 - p) ** c * 2 ** (b + c), 0.5, 1)
        assert math.exp(mcnemar.log_e(b, c)) == pytest.approx(by_hand, rel=1e-9)


@given(st.integers(0, 300), st.integers(0, 300))
def test_sequential_mcnemar_agrees_with_exact_fractions(b: int, c: int) -> None:
    # a tail of the beta distribution of whole parameters is one of coin tosses
    tail = sum(math.comb(b + c + 1, k) for k in range(b + 1))
    exact = Fraction(math.factorial(b) * math.factorial(c) * tail, math.factorial(b + c + 1))
    by_fractions = math.log(exact.numerator) - math.log(exact.denominator)
    assert mcnemar.log_e(b, c) == pytest.approx(by_fractions, rel=1e-9, abs=1e-9)


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
