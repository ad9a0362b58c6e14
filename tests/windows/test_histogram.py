import pytest

from domain.windows.histogram import FeatureBins, count_values
from domain.windows.profile import FeatureReference
from domain.windows.records import Feature

NUMERIC = FeatureReference(kind="numeric", edges=(0.0, 1.0), counts=(0,) * 5)
COLOUR = FeatureReference(kind="categorical", categories=("blue", "red"), counts=(0,) * 4)


@pytest.mark.parametrize(
    "value, place",
    [
        (-5.0, 0),
        (0.0, 0),
        (-0.0, 0),
        (0.5, 1),
        (1.0, 1),
        (1.1, 2),
        (None, 3),
        (True, 1),
        (False, 0),
        ("1.5", 4),
    ],
)
def test_a_number_falls_into_the_bin_whose_upper_edge_it_does_not_pass(value: Feature, place: int) -> None:
    expected = [0] * 5
    expected[place] = 1
    assert count_values(NUMERIC, [value]) == expected
    assert FeatureBins({"f": NUMERIC}).count([{"f": value}]) == {"f": expected}
    # beside other numeric features records go through a matrix
    assert FeatureBins({"f": NUMERIC, "g": NUMERIC}).count([{"f": value, "g": 2.0}])["f"] == expected


def test_categories_count_by_name_and_the_rest_is_unseen() -> None:
    values: list[Feature] = ["red", "red", "green", None, "blue", True, 2.0]
    assert count_values(COLOUR, values) == [1, 2, 1, 3]


def test_numbers_and_booleans_can_be_categories() -> None:
    reference = FeatureReference(kind="categorical", categories=("0.0", "2.0", "true"), counts=(0,) * 5)
    assert count_values(reference, [2.0, True, 1.0, 0.0, -0.0, False]) == [2, 1, 1, 0, 2]


def test_an_absent_feature_is_missing_and_an_unknown_one_is_ignored() -> None:
    bins = FeatureBins({"f": NUMERIC, "g": NUMERIC, "c": COLOUR})
    assert bins.count([{"f": 0.5, "more": 1.0}, {"f": 2.0, "g": 0.5, "c": "red"}]) == {
        "f": [0, 1, 1, 0, 0],
        "g": [0, 1, 0, 1, 0],
        "c": [0, 1, 1, 0],
    }


def test_one_odd_record_does_not_disturb_the_others() -> None:
    bins = FeatureBins({"f": NUMERIC, "g": NUMERIC})
    plain: list[dict[str, Feature]] = [{"f": 0.5, "g": 2.0}] * 9
    assert bins.count([*plain, {"f": "text", "g": None}]) == {"f": [0, 9, 0, 0, 1], "g": [0, 0, 9, 1, 0]}


def test_no_records_give_empty_bins() -> None:
    assert FeatureBins({"f": NUMERIC}).count([]) == {"f": [0] * 5}
