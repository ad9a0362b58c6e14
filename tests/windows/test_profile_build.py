import numpy as np
import pytest

from domain.windows.binning import Column, quantile_edges
from domain.windows.build import build_profile, feature_reference
from domain.windows.overdispersion import Scored, overdispersion
from domain.windows.rows import canonical


def test_twenty_equal_bins_of_a_continuous_feature() -> None:
    reference = feature_reference(np.random.default_rng(1).normal(size=2_000))
    assert len(reference.edges) == 19
    assert reference.counts == (100,) * 20 + (0, 0)


def test_repeated_quantiles_become_one_edge() -> None:
    reference = feature_reference([0.0] * 72 + [1.0] * 28)
    assert reference.edges == (0.0, 1.0)
    assert reference.counts == (72, 28, 0, 0, 0)


def test_none_and_nan_are_missing() -> None:
    reference = feature_reference([1.0, None, float("nan"), 2.0], bins=2)
    assert reference.edges == (1.5,)
    assert reference.counts == (1, 1, 2, 0)


def test_booleans_are_numbers() -> None:
    assert feature_reference([True, False, True, True]).kind == "numeric"


def test_the_most_frequent_categories_get_bins_the_rest_is_unseen() -> None:
    reference = feature_reference(["b"] * 3 + ["a"] * 2 + ["d", "c"] + [None], categories=3)
    assert reference.categories == ("a", "b", "c")  # c and d tie: the first by name is kept
    assert reference.counts == (2, 3, 1, 1, 1)


def test_a_column_of_nothing_but_gaps_has_one_bin() -> None:
    reference = feature_reference([None, None])
    assert (reference.edges, reference.counts, reference.phi) == ((), (0, 2, 0), 1.0)


def test_an_empty_column_has_a_reference_too() -> None:
    assert feature_reference([]).counts == (0, 0, 0)


def test_a_constant_is_never_overdispersed() -> None:
    assert feature_reference([3.0] * 1_000).phi == 1.0


def test_independent_records_have_phi_near_one() -> None:
    assert feature_reference(np.random.default_rng(2).normal(size=50_000)).phi < 1.3


def test_a_trending_feature_has_a_large_phi() -> None:
    walk = np.cumsum(np.random.default_rng(3).normal(size=20_000))
    assert feature_reference(walk).phi > 20


def test_a_season_of_categories_has_a_large_phi() -> None:
    assert feature_reference((["a"] * 500 + ["b"] * 500) * 5).phi > 20


def test_overdispersion_is_the_variance_of_window_means_times_n() -> None:
    windows = np.array([[10.0, 0.0], [0.0, 10.0], [0.0, 0.0]])
    score = np.array([-1.0, 1.0])
    assert overdispersion([Scored(windows, [score])]) == pytest.approx(np.var([-1.0, 1.0], ddof=1) * 10)
    assert overdispersion([Scored(windows[:1], [score])]) == 1.0


def test_no_values_have_no_edges() -> None:
    assert quantile_edges(np.array([]), 20) == ()


def test_a_profile_is_built_from_columns_and_the_same_ones_give_the_same_bytes() -> None:
    rng = np.random.default_rng(4)
    columns: dict[str, Column] = {"price": rng.normal(size=500), "side": ["buy", "sell"] * 250}
    profiles = [
        build_profile(
            model="m",
            version="2",
            task="regression",
            features=columns,
            predictions=columns["price"],
            error_clip=2.0,
        )
        for _ in range(2)
    ]
    assert canonical(profiles[0].to_json()) == canonical(profiles[1].to_json())
    profile = profiles[0]
    assert {name: reference.kind for name, reference in profile.features.items()} == {
        "price": "numeric",
        "side": "categorical",
    }
    assert profile.prediction == profile.features["price"]
    assert profile.error_clip == 2.0


@pytest.mark.parametrize("settings", [{"bins": 1}, {"window_records": 0}, {"categories": 0}])
def test_senseless_settings_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least"):
        feature_reference([1.0], **settings)
