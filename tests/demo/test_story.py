"""The story's JSON and its arithmetic."""

import math

import orjson
import pytest

from consumers.demo.story import Series
from tests.demo.stories import series, story, trial, uneventful

KEYS = [
    *("model", "from", "to", "predictions", "outcomes", "windows", "drift_episodes", "retraining_jobs"),
    *(
        "experiments",
        "promotions",
        "champion_mae",
        "frozen_v1_mae",
        "divergences",
        "conservation_ok",
        "report",
    ),
]


def test_the_json_object_has_these_keys_and_no_series() -> None:
    told = story().to_json()
    assert list(told) == KEYS
    assert orjson.loads(orjson.dumps(told)) == told


def test_times_are_iso_8601_in_utc() -> None:
    told = story().to_json()
    assert told["from"] == "1995-05-09T00:00:00Z"
    (promotion,) = told["promotions"]
    assert promotion["at"] == "1996-09-20T00:00:00Z"
    assert told["experiments"][0]["ended_at"] == promotion["at"]
    assert told["drift_episodes"][0]["opened_at"] == "1995-06-28T00:00:00Z"


def test_lists_carry_the_evidence_of_their_decisions() -> None:
    told = story().to_json()
    assert told["promotions"][0]["evidence"]["evidence"]["outcomes"] == 456
    assert told["promotions"][0]["decision_id"] == told["experiments"][0]["decision_id"]
    assert told["drift_episodes"][3]["evidence"]["evidence"]["mean_after"] == 0.52
    assert told["retraining_jobs"][0]["validation"]["champion_mae"] == 0.3101


def test_a_story_without_predictions_has_no_errors_and_no_times() -> None:
    told = uneventful().to_json()
    assert [told[key] for key in ("from", "to", "champion_mae", "frozen_v1_mae")] == [None] * 4
    assert [told[key] for key in ("drift_episodes", "promotions")] == [[], []]


def test_both_errors_are_means_over_the_same_entries() -> None:
    told = story(series=series(900, promoted_day=500))
    assert told.frozen_v1_mae == pytest.approx(0.3)
    assert told.champion_mae == pytest.approx((500 * 0.3 + 400 * 0.1) / 900)


def test_sums_of_errors_are_correctly_rounded() -> None:
    errors = [1e16, 1.0, 1.0]
    zeros = (0.0,) * 3
    mean = Series(
        at_ms=(1, 2, 3),
        price=zeros,
        actual=zeros,
        served=tuple(errors),
        served_version=("1",) * 3,
        frozen_v1=zeros,
    ).champion_mae
    assert mean == math.fsum(errors) / 3 != sum(errors) / 3


def test_series_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="different lengths"):
        Series(at_ms=(1, 2), price=(1.0,))


def test_a_running_experiment_has_no_end_and_no_evidence() -> None:
    told = trial(None, status="RUNNING", ended_at_ms=None, decision_id=None, evidence=None)
    assert [told.to_json()[key] for key in ("ended_at", "verdict", "evidence")] == [None] * 3
    assert told.primary == {}
