"""Effect sizes agree with Evidently, scipy and frouros on the recorded cases."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from domain.drift import distances
from domain.drift.distances import EmptyHistogram
from tests.reference.cases import CASES

histograms = st.integers(2, 12).flatmap(
    lambda cells: st.tuples(
        *[st.lists(st.integers(0, 500), min_size=cells, max_size=cells).filter(any) for _ in range(2)]
    )
)


@pytest.mark.parametrize("case", ["D1", "D2"])
def test_every_distance_has_the_recorded_value(case: str) -> None:
    reference, current = CASES[case]["inp"]["reference"], CASES[case]["inp"]["current"]
    out = CASES[case]["out"]
    assert distances.psi(reference, current) == pytest.approx(out["psi"], rel=1e-12)
    assert distances.js(reference, current) == pytest.approx(out["js"], rel=1e-12)
    assert distances.kl(reference, current) == pytest.approx(out["kl"], rel=1e-12)
    assert distances.hellinger(reference, current) == pytest.approx(out["hellinger"], rel=1e-12)
    assert distances.tvd(reference, current) == pytest.approx(out["tvd"], rel=1e-12)
    assert distances.ks(reference, current) == pytest.approx(out["ks"], rel=1e-12)
    ids = list(range(len(reference)))
    assert distances.wasserstein(reference, current, ids) == pytest.approx(out["w1_on_bin_ids"], rel=1e-12)


def two_normals() -> tuple[np.ndarray, np.ndarray]:
    """The data of cases D5-D7: numpy's legacy generator."""
    generator = np.random.RandomState(31)
    return generator.normal(0, 1, 100), generator.normal(1, 1, 100)


def twenty_bins() -> tuple[list[int], list[int]]:
    """Over both samples, of equal width."""
    left, right = two_normals()
    edges = np.linspace(min(left.min(), right.min()), max(left.max(), right.max()), 21)
    return np.histogram(left, edges)[0].tolist(), np.histogram(right, edges)[0].tolist()


def test_hellinger_of_two_normals_agrees_with_frouros() -> None:
    assert distances.hellinger(*twenty_bins()) == pytest.approx(CASES["D6"]["out"], abs=5e-11)


def test_ks_is_exact_with_a_cell_per_value_and_a_lower_bound_with_fewer() -> None:
    left, right = two_normals()
    values = np.sort(np.concatenate([left, right]))
    exact = [[int(value in sample) for value in values] for sample in (left, right)]
    assert distances.ks(*exact) == pytest.approx(CASES["D7"]["out"], abs=1e-12)
    assert CASES["D7"]["out"] - 0.06 < distances.ks(*twenty_bins()) <= CASES["D7"]["out"]


def test_psi_differs_from_frouros_in_the_share_of_an_empty_cell_and_in_nothing_else() -> None:
    # the smallest float there: what it counts is how many cells are empty, hardly what moved
    tiny, ours = sys.float_info.min, distances.ZERO_SHARE
    pairs = list(zip(*map(distances.shares, twenty_bins()), strict=True))

    def psi(empty: float) -> float:
        return sum(((p or empty) - (q or empty)) * math.log((p or empty) / (q or empty)) for p, q in pairs)

    assert psi(tiny) == pytest.approx(CASES["D5"]["out"], abs=5e-8)
    assert distances.psi(*twenty_bins()) == pytest.approx(psi(ours), rel=1e-12)
    assert psi(ours) < 3


def test_adjusted_psi_is_zero_on_average_when_nothing_drifted() -> None:
    generator = np.random.default_rng(5)
    shares = np.full(10, 0.1)
    values = [
        distances.psi_adj(
            generator.multinomial(10_000, shares).tolist(), generator.multinomial(1_000, shares).tolist()
        )
        for _ in range(300)
    ]
    assert abs(float(np.mean(values))) < 0.001


def test_an_empty_histogram_has_no_distance() -> None:
    with pytest.raises(EmptyHistogram, match="no distribution"):
        distances.psi([0, 0], [1, 1])


@given(histograms)
def test_distances_agree_with_scipy(pair: tuple[list[int], list[int]]) -> None:
    reference, current = pair
    assert distances.js(reference, current) == pytest.approx(jensenshannon(reference, current), abs=1e-7)
    ids = list(range(len(reference)))
    expected = wasserstein_distance(ids, ids, reference, current)
    assert distances.wasserstein(reference, current, ids) == pytest.approx(expected, abs=1e-9)


@given(histograms)
def test_distances_are_zero_to_oneself_and_bounded(pair: tuple[list[int], list[int]]) -> None:
    reference, current = pair
    for distance in (
        distances.psi,
        distances.js,
        distances.kl,
        distances.hellinger,
        distances.tvd,
        distances.ks,
    ):
        # a square root makes 1e-8 of a rounding error of 1e-16
        assert distance(reference, reference) == pytest.approx(0, abs=1e-7)
        assert distance(reference, current) >= -1e-12
    assert distances.tvd(reference, current) <= 1
    assert distances.ks(reference, current) <= distances.tvd(reference, current) + 1e-12
