"""The sample-ratio check: a recorded case of ssrm, exact fractions, and scipy's Dirichlet-multinomial."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import dirichlet_multinomial, multinomial

from domain.experiments.srm import ALARM_LOG_E, PRIOR_MASS, dirichlet_log_e, srm_log_e
from tests.reference.cases import CASES

Split = tuple[list[int], list[int]]


@st.composite
def splits(draw: st.DrawFn) -> Split:
    """Counts, and whole weights of the arms."""
    arms = draw(st.integers(2, 4))
    each = st.lists(st.integers(0, 80), min_size=arms, max_size=arms)
    return draw(each), draw(st.lists(st.integers(1, 9), min_size=arms, max_size=arms))


def test_evidence_is_that_of_ssrm() -> None:
    inp = CASES["E12"]["inp"]
    found = dirichlet_log_e(inp["counts"], inp["p"], [1, 1, 1])
    assert found == pytest.approx(CASES["E12"]["out"], rel=1e-12)


def rising(start: int, count: int) -> int:
    """start (start + 1) ... of `count` factors."""
    return math.prod(range(start, start + count))


@given(splits())
def test_whole_priors_agree_with_exact_fractions(split: Split) -> None:
    counts, weights = split
    shares = [Fraction(weight, sum(weights)) for weight in weights]
    top = math.prod(rising(weight, count) for weight, count in zip(weights, counts, strict=True))
    likely = math.prod(share**count for share, count in zip(shares, counts, strict=True))
    exact = Fraction(top, rising(sum(weights), sum(counts))) / likely
    found = dirichlet_log_e(counts, [float(share) for share in shares], weights)
    assert found == pytest.approx(math.log(exact.numerator) - math.log(exact.denominator), rel=1e-9, abs=1e-9)


@given(splits())
def test_evidence_is_the_likelihood_ratio_of_scipy(split: Split) -> None:
    counts, weights = split
    shares = [weight / sum(weights) for weight in weights]
    n = sum(counts)
    unlike = dirichlet_multinomial.logpmf(counts, [PRIOR_MASS * share for share in shares], n) if n else 0.0
    alike = multinomial.logpmf(counts, n, shares) if n else 0.0
    assert srm_log_e(counts, weights) == pytest.approx(float(unlike - alike), rel=1e-6, abs=1e-8)


def test_the_expectation_under_the_promised_shares_is_one() -> None:
    n, share = 60, 0.3
    mean = math.fsum(
        math.comb(n, k)
        * share**k
        * (1 - share) ** (n - k)
        * math.exp(srm_log_e([k, n - k], [share, 1 - share]))
        for k in range(n + 1)
    )
    assert mean == pytest.approx(1.0, rel=1e-9)


def test_a_split_far_from_its_shares_alarms_and_one_beside_them_does_not() -> None:
    assert srm_log_e([5000, 5050], [0.5, 0.5]) < 0
    assert srm_log_e([5000, 6000], [0.5, 0.5]) > ALARM_LOG_E
    assert srm_log_e([0, 0], [0.1, 0.9]) == 0
