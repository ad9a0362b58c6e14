"""Streams: what is drawn is what they say, and counted as the product counts."""

import numpy as np
import pytest

from consumers.driftbench import laws
from consumers.driftbench.laws import ITEMS, When
from consumers.driftbench.measures import source_of
from consumers.driftbench.situations import STREAMS
from consumers.driftbench.streams import NEVER, VALUE, Categories, Errors, Numbers, counted, histogram
from domain.windows.build import feature_reference


def test_windows_counted_together_are_counted_as_each_by_the_product() -> None:
    source = np.random.default_rng(3)
    items = source.standard_normal((40, ITEMS))
    items[source.random(items.shape) < 0.05] = np.nan
    reference = feature_reference(source.standard_normal(2_000), ITEMS)
    together = counted(reference, items).tolist()
    assert together == [histogram(reference, window) for window in items]
    assert sum(map(sum, together)) == items.size


@pytest.mark.parametrize("name", STREAMS)
def test_a_seed_draws_the_same_windows_again(name: str) -> None:
    stream = STREAMS[name]
    drawn = []
    for _ in range(2):
        source = source_of(5, name, 0)
        past = stream.learn(source)
        seen = list(stream.windows(source, past, When.of(0, 6, 3)))
        drawn.append((past.profile, [(each.index, each.histograms) for each in seen], seen))
    assert drawn[0][:2] == drawn[1][:2]
    for one, other in zip(drawn[0][2], drawn[1][2], strict=True):
        assert (one.items is None) == (other.items is None)
        if one.items is not None and other.items is not None:
            np.testing.assert_array_equal(one.items, other.items)


def test_autocorrelated_items_have_their_variance_and_a_phi_of_nineteen() -> None:
    items = laws.ar1(np.random.default_rng(1), 4_000)
    assert items.var() == pytest.approx(1.0, abs=0.03)
    together = np.corrcoef(items.ravel()[:-1], items.ravel()[1:])[0, 1]
    assert together == pytest.approx(0.9, abs=0.01)
    # (1 + .9) / (1 - .9) = 19, less what 100 items do not reach
    stream = STREAMS["ar1"]
    phis = [stream.learn(source_of(1, "ar1", run)).profile.features[VALUE].phi for run in range(20)]
    assert np.mean(phis) == pytest.approx(17.2, rel=0.15)


def test_the_bimodal_change_keeps_mean_and_variance() -> None:
    stream = STREAMS["bimodal"]
    assert isinstance(stream, Numbers)
    items = stream.law(np.random.default_rng(2), When.of(0, 2_000, 0))
    assert items.mean() == pytest.approx(0.0, abs=0.01)
    assert items.var() == pytest.approx(1.0, abs=0.01)
    quiet = (np.abs(items) < 0.2).mean()
    assert quiet < 0.13  # of N(0, 1) it would be .16


def test_mass_moves_between_categories_and_none_is_lost() -> None:
    stream = STREAMS["mass-0.2"]
    assert isinstance(stream, Categories)
    source = source_of(1, stream.name, 0)
    past = stream.learn(source)
    counts = stream.counts(source, past, When.of(0, 400, 200))[VALUE]
    assert (counts.sum(axis=1) == ITEMS).all()
    shares = counts[200:].mean(axis=0) / ITEMS - counts[:200].mean(axis=0) / ITEMS
    assert shares.min() == pytest.approx(-0.2, abs=0.01)
    assert shares.max() == pytest.approx(0.2, abs=0.01)


def test_a_category_that_the_reference_never_saw_is_counted_as_unseen() -> None:
    stream = STREAMS["unseen-0.02"]
    source = source_of(1, stream.name, 0)
    past = stream.learn(source)
    counts = stream.counts(source, past, When.of(0, 400, 200))
    assert counts is not None
    assert counts[VALUE][:200, -1].sum() == 0
    assert counts[VALUE][200:, -1].mean() == pytest.approx(2.0, abs=0.3)


def test_a_season_is_learnt_hour_by_hour_and_its_phi_is_within_the_hour() -> None:
    seasonal, pooled = (
        STREAMS[name].learn(source_of(1, "cycle", 0)).profile.features[VALUE]
        for name in ("cycle", "cycle-pooled")
    )
    assert len(seasonal.seasonal) == 24
    assert not pooled.seasonal
    assert seasonal.phi < 1.5
    assert pooled.phi > 8


def test_errors_are_promised_as_the_reference_has_them() -> None:
    stream = STREAMS["error-0.10"]
    assert isinstance(stream, Errors)
    promised = stream.learn(source_of(1, stream.name, 0)).profile.errors["hit"]
    assert promised.n == 10_000
    assert promised.mean == pytest.approx(0.9, abs=0.01)
    clipped = STREAMS["abs-t3-clipped"].learn(source_of(1, "abs-t3-clipped", 0)).profile
    assert clipped.error_clip is not None
    assert clipped.errors["abs_error_clipped"].mean < clipped.errors["abs_error"].mean
    logarithms = STREAMS["abs-t3-log"].learn(source_of(1, "abs-t3-log", 0)).profile
    assert logarithms.errors["value.log_abs_error"].phi >= 1


def test_what_is_stationary_never_reaches_its_change() -> None:
    assert (When.of(0, 10, NEVER).since < 0).all()
    assert When.of(4, 3, 5).since.tolist() == [-1, 0, 1]
