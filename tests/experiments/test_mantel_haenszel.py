"""The exact test of two proportions: reference cases, exact fractions, scipy, and what an e-value must be."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import nchypergeom_fisher

from domain.experiments.mantel_haenszel import (
    DEFAULT_GRID,
    designed_grid,
    log_e_above,
    log_e_below,
    log_likelihood_ratios,
    odds_bounds,
)
from tests.reference.cases import CASES

GRID = designed_grid(0.3, 0.1)


def exact(hits: int, n1: int, n0: int, events: int, psi: Fraction) -> Fraction:
    """By the definition, in fractions."""
    low, high = max(0, events - n0), min(events, n1)
    whole = math.comb(n1 + n0, events)
    masses = {j: Fraction(math.comb(n1, j) * math.comb(n0, events - j), whole) for j in range(low, high + 1)}
    return psi**hits / sum(mass * psi**j for j, mass in masses.items())


@pytest.mark.parametrize("case", ["E15", "E16"])
def test_one_batch_is_the_recorded_fraction(case: str) -> None:
    inp = CASES[case]["inp"]
    (found,) = log_likelihood_ratios(inp["s1"], inp["n1"], inp["n0"], inp["s"], [math.log(inp["psi"])])
    assert math.exp(found) == pytest.approx(float(Fraction(CASES[case]["out"])), rel=1e-12)
    assert exact(inp["s1"], inp["n1"], inp["n0"], inp["s"], Fraction(inp["psi"])) == Fraction(
        CASES[case]["out"]
    )


@st.composite
def tables(draw: st.DrawFn, largest: int = 60) -> tuple[int, int, int, int]:
    n1, n0 = draw(st.integers(0, largest)), draw(st.integers(0, largest))
    events = draw(st.integers(0, n1 + n0))
    hits = draw(st.integers(max(0, events - n0), min(events, n1)))
    return hits, n1, n0, events


@given(tables(), st.sampled_from([Fraction(1, 9), Fraction(9, 10), Fraction(2), Fraction(13)]))
def test_a_batch_agrees_with_exact_fractions(table: tuple[int, int, int, int], psi: Fraction) -> None:
    (found,) = log_likelihood_ratios(*table, [math.log(psi)])
    value = exact(*table, psi)
    by_fractions = math.log(value.numerator) - math.log(value.denominator)
    assert found == pytest.approx(by_fractions, rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("n1, n0, events", [(50, 50, 7), (10, 90, 30), (500, 480, 900)])
@pytest.mark.parametrize("point", [-1.5, 0.02, 0.7])
def test_a_batch_is_the_likelihood_ratio_of_scipy(n1: int, n0: int, events: int, point: float) -> None:
    hits = min(n1, events) - 2 if events > n0 else events // 3
    alike, unlike = (nchypergeom_fisher(n1 + n0, n1, events, psi) for psi in (1.0, math.exp(point)))
    (found,) = log_likelihood_ratios(hits, n1, n0, events, [point])
    assert found == pytest.approx(unlike.logpmf(hits) - alike.logpmf(hits), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("n1, n0, events", [(5_000, 5_000, 5_000), (1_000, 9_000, 40), (9_500, 500, 9_000)])
def test_ten_thousand_outcomes_in_a_batch_lose_no_digits(n1: int, n0: int, events: int) -> None:
    low, high = max(0, events - n0), min(events, n1)
    for psi in (Fraction(1, 13), Fraction(21, 20), Fraction(13)):
        total = total_of_integers(n1, n0, events, psi)
        for hits in (low, n1 * events // (n1 + n0), high):
            # the integers are far outside floats; their logarithms are not
            expected = (
                hits * math.log(psi)
                + math.log(math.comb(n1 + n0, events))
                + high * math.log(psi.denominator)
                - math.log(total)
            )
            (found,) = log_likelihood_ratios(hits, n1, n0, events, [math.log(psi)])
            assert found == pytest.approx(expected, rel=1e-11, abs=1e-8)


def total_of_integers(n1: int, n0: int, events: int, psi: Fraction) -> int:
    """Sum of C(n1, j) C(n0, events - j) psi^j, times the denominator's highest power."""
    low, high = max(0, events - n0), min(events, n1)
    term: int = math.comb(n1, low) * math.comb(n0, events - low) * psi.numerator**low
    term *= psi.denominator ** (high - low)
    total = term
    for j in range(low, high):
        term = term * (n1 - j) * (events - j) * psi.numerator
        term //= (j + 1) * (n0 - events + j + 1) * psi.denominator
        total += term
    return total


@given(tables(25))
def test_the_expectation_under_equal_odds_is_one(table: tuple[int, int, int, int]) -> None:
    _, n1, n0, events = table
    low, high = max(0, events - n0), min(events, n1)
    for k in range(len(GRID)):
        terms = [
            math.comb(n1, j)
            * math.comb(n0, events - j)
            / math.comb(n1 + n0, events)
            * math.exp(log_likelihood_ratios(j, n1, n0, events, GRID)[k])
            for j in range(low, high + 1)
        ]
        assert math.fsum(terms) == pytest.approx(1.0, rel=1e-9)


@given(tables(), st.sampled_from(range(1, len(GRID) - 1)))
def test_evidence_in_both_directions_is_fair_at_every_null(table: tuple[int, int, int, int], at: int) -> None:
    _, n1, n0, events = table
    null = nchypergeom_fisher(n1 + n0, n1, events, math.exp(GRID[at])) if 0 < events < n1 + n0 else None
    for evidence in (log_e_above, log_e_below):
        mean = math.fsum(
            (float(null.pmf(j)) if null else 1.0)
            * math.exp(evidence(GRID, log_likelihood_ratios(j, n1, n0, events, GRID), GRID[at]))
            for j in range(max(0, events - n0), min(events, n1) + 1)
        )
        assert mean == pytest.approx(1.0, rel=1e-6)


@given(st.lists(tables(), min_size=1, max_size=5))
def test_swapping_the_arms_swaps_the_directions(batches: list[tuple[int, int, int, int]]) -> None:
    grid = DEFAULT_GRID
    each = [log_likelihood_ratios(*table, grid) for table in batches]
    swapped = [log_likelihood_ratios(events - hits, n0, n1, events, grid) for hits, n1, n0, events in batches]
    sums = [math.fsum(column) for column in zip(*each, strict=True)]
    mirror = [math.fsum(column) for column in zip(*swapped, strict=True)]
    assert log_e_above(grid, sums) == pytest.approx(log_e_below(grid, mirror), rel=1e-9, abs=1e-9)


def test_the_bounds_close_in_on_the_odds_ratio() -> None:
    grid = designed_grid(0.5, 0.05)
    # 55 against 45 %: odds ratio 1.49, log 0.40
    one = log_likelihood_ratios(550, 1000, 1000, 1000, grid)
    wide = odds_bounds(grid, one, 0.05)
    narrow = odds_bounds(grid, [100 * value for value in one], 0.05)
    assert wide.lower < narrow.lower <= 0.4014 <= narrow.upper < wide.upper
    assert log_e_above(grid, one, narrow.lower) < log_e_above(grid, one, 0.0)
    nothing = odds_bounds(grid, [0.0] * len(grid), 0.05)
    assert (nothing.lower, nothing.upper) == (-math.inf, math.inf)


def test_a_designed_grid_is_symmetric_around_zero_and_holds_the_change() -> None:
    for grid in (GRID, designed_grid(0.3, -0.1), DEFAULT_GRID):
        assert list(grid) == sorted(grid) == [-point for point in reversed(grid)]
        assert grid[8] == 0.0
    assert math.log(0.4 / 0.6) - math.log(0.3 / 0.7) in GRID
    assert len(DEFAULT_GRID) == 17


def test_an_empty_arm_or_a_batch_without_events_says_nothing() -> None:
    for table in ((0, 0, 10, 4), (4, 10, 0, 4), (0, 10, 10, 0), (10, 10, 10, 20)):
        assert log_likelihood_ratios(*table, GRID) == (0.0,) * len(GRID)
