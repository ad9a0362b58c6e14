"""Evidence says in plain numbers what moved, how far and where."""

import math
from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.drift.distances import EmptyHistogram, psi
from domain.drift.metrics import DriftMetrics, effect_sizes, labels, measure, moved_bins
from domain.windows.profile import FeatureReference

NUMERIC = FeatureReference(
    kind="numeric", edges=(0.0, 1.0), counts=(50, 30, 20, 0, 0), means=(-1.0, 0.5, 2.0), sd=2.0
)
SIDE = FeatureReference(kind="categorical", categories=("buy", "sell"), counts=(60, 40, 0, 0))


def test_bins_are_called_by_their_borders_and_categories_by_their_names() -> None:
    assert labels(NUMERIC) == ["<= 0", "0 to 1", "> 1", "missing", "unseen"]
    assert labels(SIDE) == ["buy", "sell", "missing", "unseen"]
    assert labels(FeatureReference(kind="numeric", counts=(9, 0, 0))) == ["any number", "missing", "unseen"]
    assert labels(FeatureReference(kind="categorical", counts=(9, 0))) == ["missing", "unseen"]


def test_the_bins_that_moved_most_come_first_and_still_ones_not_at_all() -> None:
    moved = moved_bins(NUMERIC.counts, (20, 30, 20, 30, 0), NUMERIC)
    assert [(each.bin, each.reference_share, each.share) for each in moved] == [
        ("<= 0", 0.5, 0.2),
        ("missing", 0.0, 0.3),
    ]
    assert len(moved_bins((1, 1, 1, 1, 1), (9, 2, 3, 4, 5), NUMERIC)) == 3


def test_the_wasserstein_distance_is_in_standard_deviations_of_the_reference() -> None:
    """By hand: 30 % of the mass goes 1.5 up, 10 % another 1.5; per sd of 2."""
    sizes = effect_sizes(NUMERIC.counts, (20, 50, 30, 0, 0), 1.0, NUMERIC)
    assert sizes["wasserstein_per_sd"] == pytest.approx((0.3 * 1.5 + 0.1 * 1.5) / 2.0)
    with_gaps = effect_sizes(NUMERIC.counts, (20, 50, 30, 900, 0), 1.0, NUMERIC)
    assert with_gaps["wasserstein_per_sd"] == sizes["wasserstein_per_sd"]
    assert with_gaps["psi"] > sizes["psi"]


def test_what_has_no_order_or_was_not_measured_is_left_out() -> None:
    assert set(effect_sizes(SIDE.counts, (50, 50, 0, 0), 1.0, SIDE)) == {"psi", "psi_adj", "js"}
    bare = FeatureReference(kind="numeric", edges=(0.0,), counts=(5, 5, 0, 0))
    assert set(effect_sizes(bare.counts, (1, 9, 0, 0), 1.0, bare)) == {"psi", "psi_adj", "js", "ks"}
    only_gaps = effect_sizes(NUMERIC.counts, (0, 0, 0, 9, 0), 1.0, NUMERIC)
    assert "wasserstein_per_sd" not in only_gaps


@given(st.lists(st.integers(0, 200), min_size=5, max_size=5).filter(any))
def test_measures_are_finite_plain_json_and_shares_are_shares(counts: list[int]) -> None:
    found = measure("x", NUMERIC.counts, counts, 1.5, NUMERIC, p_value=0.5).to_json()
    assert orjson.loads(orjson.dumps(found)) == found
    assert all(math.isfinite(size) for size in found["effect_sizes"].values())
    gaps = [abs(each["share"] - each["reference_share"]) for each in found["bins"]]
    assert all(first >= second > 0 for first, second in pairwise(gaps))
    assert found["sample_size"] == sum(counts)
    assert found["effect_sizes"]["psi"] == psi(NUMERIC.counts, counts)


def test_nothing_is_measured_of_an_empty_window() -> None:
    with pytest.raises(EmptyHistogram):
        measure("x", NUMERIC.counts, (0, 0, 0, 0, 0), 1.0, NUMERIC)


def test_what_a_detector_does_not_have_is_left_out() -> None:
    found = DriftMetrics(
        detector="d",
        severity="warn",
        statistic=2.0,
        threshold=1.0,
        sample_size=10,
        block_windows=4,
        own={"metric": "hit"},
    )
    assert found.to_json() == {
        "detector": "d",
        "severity": "warn",
        "statistic": 2.0,
        "threshold": 1.0,
        "sample_size": 10,
        "block_windows": 4,
        "metric": "hit",
    }
