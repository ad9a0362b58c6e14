"""A reference over the bins of another."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.windows.build import feature_reference
from domain.windows.histogram import count_values
from domain.windows.profile import FeatureReference
from domain.windows.rebin import bin_range, quantile, rebinned


def test_equal_bins_keep_their_counts() -> None:
    reference = feature_reference(np.random.default_rng(1).normal(size=1_000))
    assert rebinned(reference, reference) == list(reference.counts)


@given(st.integers(0, 50), st.floats(-3, 3), st.floats(0.3, 3))
def test_rebinning_loses_no_record(seed: int, shift: float, scale: float) -> None:
    r = np.random.default_rng(seed)
    ours = feature_reference(r.normal(size=500))
    theirs = feature_reference([*(shift + scale * r.normal(size=400)).tolist(), None, None])
    counts = rebinned(theirs, ours)
    assert counts is not None
    assert sum(counts) == 402
    assert min(counts) >= 0
    assert counts[-2:] == [2, 0]


def test_numbers_land_near_where_they_really_are() -> None:
    r = np.random.default_rng(7)
    ours, values = feature_reference(r.normal(size=20_000)), 0.3 + 1.2 * r.normal(size=20_000)
    estimated, real = rebinned(feature_reference(values), ours), count_values(ours, values.tolist())
    assert estimated is not None
    assert max(abs(a - b) for a, b in zip(estimated, real, strict=True)) / 20_000 < 0.01


def test_categories_move_by_name_and_others_are_unseen() -> None:
    source = FeatureReference(kind="categorical", categories=("a", "b"), counts=(5, 3, 2, 1))
    target = FeatureReference(kind="categorical", categories=("a", "c"), counts=(1, 1, 0, 0))
    assert rebinned(source, target) == [5, 0, 2, 1 + 3]


def test_numbers_and_text_are_not_compared() -> None:
    text = FeatureReference(kind="categorical", categories=("a",), counts=(1, 0, 0))
    assert rebinned(text, feature_reference([1.0, 2.0])) is None


def test_outer_bins_reach_as_far_beyond_their_mean_as_it_is_from_the_edge() -> None:
    reference = FeatureReference(
        kind="numeric", edges=(0.0, 1.0), counts=(1, 1, 1, 0, 0), means=(-2.0, 0.5, 4.0)
    )
    assert [bin_range(reference, index) for index in range(3)] == [(-4.0, 0.0), (0.0, 1.0), (1.0, 7.0)]
    bare = FeatureReference(kind="numeric", edges=(0.0, 1.0), counts=(1, 1, 1, 0, 0))
    assert bin_range(bare, 0) == (-1.0, 0.0)


def test_quantiles_are_near_those_of_the_numbers() -> None:
    values = np.random.default_rng(3).normal(size=20_000)
    reference = feature_reference(values)
    for share in (0.1, 0.5, 0.9):
        found = quantile(reference, reference.counts, share)
        assert found == pytest.approx(np.quantile(values, share), abs=0.02)
