import math
from typing import Any

import pytest

from domain.windows.metrics import score
from domain.windows.profile import ReferenceProfile, Task
from tests.windows.records import Outcome


def profile(task: Task, clip: float | None = None) -> ReferenceProfile:
    return ReferenceProfile(model="m", version="1", task=task, error_clip=clip)


def one(
    prediction: float | str, actual: float | str, reference: ReferenceProfile | None = None
) -> dict[str, float]:
    scores = score([prediction], [True], [Outcome(prediction_id="i", actual=actual)], reference)
    return {name: sample.values.tolist()[0] for name, sample in scores.samples.items()}


def test_a_number_is_scored_by_its_error_and_its_sign() -> None:
    assert one(2.0, -1.0) == {
        "abs_error": 3.0,
        "squared_error": 9.0,
        "sign_hit": 0.0,
        "directional_return": -1.0,
    }


def test_errors_are_clipped_at_the_bound_of_the_profile() -> None:
    assert one(2.0, -1.0, profile("regression", clip=2.5))["abs_error_clipped"] == 2.5
    assert one(2.0, 1.0, profile("regression", clip=2.5))["abs_error_clipped"] == 1.0


def test_no_change_predicted_and_none_seen_is_a_hit() -> None:
    assert one(0.0, -0.0)["sign_hit"] == 1.0
    assert one(0.0, 0.1)["sign_hit"] == 0.0


@pytest.mark.parametrize(
    "p, y, hit", [(0.9, 1.0, 1.0), (0.5, 1.0, 1.0), (0.4, 1.0, 0.0), (0.4, 0.0, 1.0), (0.5, 0.0, 0.0)]
)
def test_a_probability_is_scored_as_one(p: float, y: float, hit: float) -> None:
    assert one(p, y, profile("probability")) == {
        "log_loss": pytest.approx(-math.log(p if y else 1 - p), rel=1e-14),
        "brier": pytest.approx((p - y) ** 2),
        "hit": hit,
    }


def test_a_certain_mistake_costs_a_finite_log_loss() -> None:
    assert one(0.0, 1.0, profile("probability"))["log_loss"] == pytest.approx(-math.log(1e-15))


def test_a_label_hits_or_misses() -> None:
    assert one("up", "up") == {"hit": 1.0}
    assert one("up", "down", profile("label")) == {"hit": 0.0}


@pytest.mark.parametrize(
    "prediction, actual, reference",
    [
        ("up", 1.0, None),
        (1.0, "up", None),
        (1.5, 1.0, profile("probability")),
        (0.5, 0.3, profile("probability")),
        (1e60, 0.0, None),
        (1e308, -1e308, None),
        (1e200, 1e200, None),
    ],
)
def test_what_does_not_fit_or_overflows_is_matched_but_unscorable(
    prediction: Any, actual: Any, reference: ReferenceProfile | None
) -> None:
    scores = score([prediction], [True], [Outcome(prediction_id="i", actual=actual)], reference)
    assert (list(scores.matched), scores.unscorable, scores.samples) == ([0], 1, {})


def test_missing_outcomes_are_not_matched() -> None:
    scores = score([1.0, 2.0], [True, True], [None, Outcome(prediction_id="i", actual=2.0)], None)
    assert list(scores.matched) == [1]
    assert list(scores.samples["abs_error"].rows) == [1]


def test_values_become_metrics_of_the_served_answer() -> None:
    outcome = Outcome(prediction_id="i", actual="?", values={"pnl": 2.0, "odd": 1e200})
    assert score([1.0], [True], [outcome], None).values["value.pnl"].values.tolist() == [2.0]
    assert list(score([1.0], [True], [outcome], None).values) == ["value.pnl"]
    assert score([1.0], [False], [outcome], None).values == {}


def test_labels_and_probabilities_of_one_cell_share_the_metric_hit() -> None:
    outcomes = [Outcome(prediction_id="a", actual=1.0), Outcome(prediction_id="b", actual="up")]
    hit = score([0.9, "up"], [True, True], outcomes, profile("probability")).samples["hit"]
    assert (list(hit.rows), hit.values.tolist()) == ([0, 1], [1.0, 1.0])
