"""An arm's own rate: recorded cases of confseq, scipy's beta-binomial, and what bounds must be."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom, binom

from domain.experiments.bernoulli import log_e, prior_mass, rate_sequence
from domain.experiments.evidence import rho_two_sided
from tests.reference.cases import CASES


def test_the_sequence_is_that_of_confseq() -> None:
    inp = CASES["E14"]["inp"]
    found = rate_sequence(inp["successes"], inp["trials"], inp["alpha"], inp["t_opt"])
    assert [found.lower, found.upper] == pytest.approx(CASES["E14"]["out"], abs=1e-5)


def test_the_mixture_is_that_of_confseq() -> None:
    # its test has s = 10 and v = 100 of a rate of 0.2, where v is the rate's variance times the events
    # (gostevehoward/confseq@70b1ef3 test/uniform_boundaries_unittest.cpp, TestTwoSidedBetaBinomialMixture)
    mass = rho_two_sided(100, 0.05) / 0.16 - 1
    assert mass == pytest.approx(prior_mass(100 / 0.16, 0.05), rel=1e-12)
    assert log_e(125 + 10, 625, 0.2, mass) == pytest.approx(-0.6941012, abs=1e-5)


counts = st.integers(0, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
masses = st.floats(1e-3, 1e4)


@given(counts, st.floats(0.001, 0.999), masses)
def test_evidence_is_the_likelihood_ratio_of_scipy(count: tuple[int, int], rate: float, mass: float) -> None:
    hits, n = count
    mixed = betabinom.logpmf(hits, n, mass * rate, mass * (1 - rate))
    expected = float(mixed - binom.logpmf(hits, n, rate))
    assert log_e(hits, n, rate, mass) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(counts, st.sampled_from([0.01, 0.05, 0.3]), st.sampled_from([10, 100, 10_000]))
def test_the_bounds_hold_the_observed_rate_and_just_what_is_not_rejected(
    count: tuple[int, int], alpha: float, n_star: int
) -> None:
    hits, n = count
    found, mass, goal = rate_sequence(hits, n, alpha, n_star), prior_mass(n_star, alpha), math.log(1 / alpha)
    assert 0.0 <= found.lower <= (hits / n if n else 0.5) <= found.upper <= 1.0
    for rate in np.linspace(0.0005, 0.9995, 300).tolist():
        inside = found.lower <= rate <= found.upper
        assert inside == (log_e(hits, n, rate, mass) < goal)


@given(counts)
def test_misses_are_the_mirror_of_hits(count: tuple[int, int]) -> None:
    hits, n = count
    one, other = rate_sequence(hits, n, 0.05, 500), rate_sequence(n - hits, n, 0.05, 500)
    assert (one.lower, one.upper) == pytest.approx((1 - other.upper, 1 - other.lower), abs=1e-12)


def test_nothing_is_known_without_events_and_little_after_one() -> None:
    for hits, n in ((0, 0), (0, 1), (1, 1)):
        found = rate_sequence(hits, n, 0.05, 100)
        assert (found.lower, found.upper) == (0.0, 1.0)
    # a single hit never rules a rate out from below, however many misses follow
    assert rate_sequence(1, 100_000, 0.05, 100).lower == 0.0


def test_bounds_are_wrong_at_any_look_in_at_most_alpha_of_the_runs() -> None:
    source, runs, alpha = np.random.default_rng(4), 1_000, 0.05
    mass, goal, wrong = prior_mass(1_000, alpha), math.log(1 / alpha), 0
    for _ in range(runs):
        hits = np.cumsum(source.binomial(20, 0.3, 100)).tolist()
        wrong += any(log_e(h, 20 * (k + 1), 0.3, mass) >= goal for k, h in enumerate(hits))
    assert wrong / runs <= alpha
