from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.windows.binning import Coded, Column, quantile_edges
from domain.windows.build import build_profile, feature_reference
from domain.windows.layout import by_window, seasonal
from domain.windows.overdispersion import Scored, overdispersion
from domain.windows.profile_error import ProfileError
from domain.windows.rows import canonical
from domain.windows.season import DAY_MS, Season


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
def test_senseless_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least"):
        feature_reference([1.0], **settings)


def test_means_are_those_of_the_bins_and_sd_that_of_all() -> None:
    values = [0.0, 1.0, 2.0, 10.0, None]
    reference = feature_reference(values, bins=2)
    assert (reference.edges, reference.means) == ((1.5,), (0.5, 6.0))
    assert reference.sd == pytest.approx(np.std([0, 1, 2, 10]))


def test_an_empty_bin_has_a_mean_inside_it_and_a_constant_no_sd() -> None:
    assert feature_reference([0.0] * 72 + [1.0] * 28).means == (0.0, 1.0, 1.0)
    assert (feature_reference([3.0] * 9).sd, feature_reference([3.0] * 9).means) == (None, (3.0, 3.0))


def test_numbers_beyond_measure_have_bins_and_no_means() -> None:
    reference = feature_reference([1.0, 2.0, 1e200, -1e200], bins=2)
    assert (reference.means, reference.sd) == ((), None)
    assert sum(reference.counts) == 4


@given(st.lists(st.floats(-1e100, 1e100), min_size=1, max_size=60), st.integers(2, 12))
def test_means_lie_in_their_bins_and_give_the_mean_of_all(values: list[float], bins: int) -> None:
    reference = feature_reference(values, bins=bins)
    borders = [-np.inf, *reference.edges, np.inf]
    for mean, low, high in zip(reference.means, borders[:-1], borders[1:], strict=True):
        assert low <= mean <= high
    total = sum(mean * count for mean, count in zip(reference.means, reference.counts, strict=False))
    assert total / len(values) == pytest.approx(np.mean(values), rel=1e-9, abs=max(map(abs, values)) * 1e-9)


def test_a_column_may_be_numbers_text_codes_or_objects_and_the_same_records_give_the_same_reference() -> None:
    numbers = np.array([1.0, 2.0, np.nan, 5.0])
    assert feature_reference(numbers) == feature_reference([1.0, 2.0, None, 5.0])
    assert feature_reference(np.array([1, 2, 5])) == feature_reference([1, 2, 5])
    assert feature_reference(np.array([True, False])) == feature_reference([True, False])
    coded = Coded(np.array([1, 0, -1, 1]), ("a", "b"))
    assert feature_reference(coded) == feature_reference(["b", "a", None, "b"])


def test_an_infinite_number_is_refused_with_its_column_and_record() -> None:
    with pytest.raises(ProfileError, match=r"features\.x: record 2 is infinite"):
        build_profile(model="m", version="1", task="regression", features={"x": [1.0, float("inf")]})


def test_a_column_of_another_length_than_the_layout_is_refused() -> None:
    layout = by_window([0, 0, 10])
    with pytest.raises(ProfileError, match=r"prediction: must have a value for each of 3 records"):
        build_profile(
            model="m",
            version="1",
            task="regression",
            features={"x": [1.0] * 3},
            predictions=[1.0, 2.0],
            layout=layout,
        )


def seasonal_column(days: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A number a minute whose mean depends on the half of the day."""
    times = np.arange(days * 1_440) * 60_000
    r = np.random.default_rng(5)
    return times, r.normal(size=len(times)) + 3 * (times % DAY_MS >= DAY_MS // 2)


def test_a_season_is_no_overdispersion_where_every_slot_has_its_own_histogram() -> None:
    times, column = seasonal_column(30)
    season = Season(period_ms=DAY_MS, slots=2)
    reference = feature_reference(column, 60, layout=seasonal(times, season, 60))
    assert feature_reference(column, 60).phi > 20
    assert reference.phi < 1.4
    assert [sum(slot) for slot in reference.seasonal] == [15 * 1_440, 15 * 1_440]
    low, high = (np.array(slot) for slot in reference.seasonal)
    assert (low + high).tolist() == list(reference.counts)
    assert low[:5].sum() > 10 * high[:5].sum()


def test_a_slot_that_differs_from_day_to_day_is_overdispersed_against_itself() -> None:
    times, column = seasonal_column(30)
    wandering = column + np.repeat(np.random.default_rng(6).normal(size=60), 720)
    season = Season(period_ms=DAY_MS, slots=2)
    assert feature_reference(wandering, 60, layout=seasonal(times, season, 60)).phi > 10


def test_a_profile_with_a_season_says_so() -> None:
    times, column = seasonal_column(3)
    season = Season(period_ms=DAY_MS, slots=2)
    text = ["a" if at % DAY_MS < DAY_MS // 2 else "b" for at in times.tolist()]
    built = build_profile(
        model="m",
        version="1",
        task="regression",
        features={"x": column, "side": text},
        predictions=column,
        layout=seasonal(times, season, 60),
    )
    assert built.season == season
    assert built.features["side"].seasonal == ((2_160, 0, 0, 0), (0, 2_160, 0, 0))
    assert built.prediction == built.features["x"]


def test_category_windows_of_unequal_size_weigh_by_their_records() -> None:
    windows = np.array([[30.0, 10.0], [5.0, 5.0], [20.0, 0.0]])
    score = np.array([-1.0, 1.0])
    n, means = windows.sum(axis=1), windows @ score / windows.sum(axis=1)
    centre = (n * means).sum() / n.sum()
    expected = (n * (means - centre) ** 2).sum() / 2
    assert overdispersion([Scored(windows, [score])]) == pytest.approx(max(1.0, expected))
