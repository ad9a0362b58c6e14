"""What a version promised: errors and calibration of reference rows with outcomes."""

import math
from random import Random

import numpy as np
import pytest

from domain.windows import baseline
from domain.windows.baseline import Judged
from domain.windows.build import build_profile
from domain.windows.layout import by_window
from domain.windows.metrics import score
from domain.windows.moments import of
from domain.windows.profile import MetricReference, ReferenceProfile, Task
from domain.windows.profile_error import ProfileError
from tests.windows.records import Outcome


def promised(task: Task, judged: Judged, **other: float) -> dict[str, MetricReference]:
    profile = build_profile(model="m", version="1", task=task, features={}, judged=judged, **other)  # type: ignore[arg-type]
    return dict(profile.errors)


def test_promised_errors_are_what_a_window_of_the_same_records_scores() -> None:
    r = Random(3)
    predictions = [r.random() for _ in range(500)]
    actuals = [float(r.random() < p) for p in predictions]
    profile = ReferenceProfile(model="m", version="1", task="probability")
    outcomes = [Outcome(prediction_id="i", actual=actual) for actual in actuals]
    scores = score(predictions, [True] * 500, outcomes, profile)
    found = promised("probability", Judged(predictions=predictions, actuals=actuals))
    assert found.keys() == scores.samples.keys() == {"brier", "hit", "log_loss"}
    for name, sample in scores.samples.items():
        moments = of(sample.values)
        assert (found[name].n, found[name].mean, found[name].M2) == (moments.n, moments.mean, moments.M2)


def test_the_chunk_that_is_scored_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    r = np.random.default_rng(1)
    judged = Judged(predictions=r.normal(size=1_000), actuals=r.normal(size=1_000))
    whole = promised("regression", judged, error_clip=1.0)
    monkeypatch.setattr(baseline, "CHUNK", 37)
    assert promised("regression", judged, error_clip=1.0) == whole
    assert whole.keys() >= {"abs_error", "abs_error_clipped"}


def test_what_has_no_prediction_or_no_outcome_is_left_out() -> None:
    judged = Judged(predictions=[1.0, None, 3.0, math.nan], actuals=[2.0, 2.0, None, 1.0])
    assert judged.outcomes == 1
    assert promised("regression", judged)["abs_error"] == MetricReference(n=1, mean=1.0, M2=0.0)


def test_labels_promise_hits() -> None:
    judged = Judged(predictions=["a", "b", "b"], actuals=["a", "b", "a"])
    assert promised("label", judged)["hit"].mean == pytest.approx(2 / 3)


def test_values_of_outcomes_are_promised_too() -> None:
    judged = Judged(predictions=[1.0, 2.0], actuals=[1.0, 2.0], values=[{"pnl": 3.0}, {}])
    assert promised("regression", judged)["value.pnl"] == MetricReference(n=1, mean=3.0, M2=0.0)


def test_independent_errors_have_phi_near_one_and_errors_in_runs_a_large_one() -> None:
    r = np.random.default_rng(2)
    calm = Judged(predictions=np.zeros(20_000), actuals=r.normal(size=20_000))
    assert promised("regression", calm)["abs_error"].phi < 1.3
    rough = Judged(predictions=np.zeros(20_000), actuals=np.repeat(r.normal(size=20), 1_000))
    assert promised("regression", rough)["abs_error"].phi > 20


def test_phi_is_measured_over_the_windows_that_are_given() -> None:
    actuals = np.array([0.0, 0, 1, 1, 0, 0, 1, 1])
    layout = by_window([0, 0, 10, 10, 20, 20, 30, 30])
    judged = Judged(predictions=np.zeros(8), actuals=actuals, layout=layout)
    # windows of two: sum 2 (mean - 1/2)^2 / 3 over a variance of 1/4
    assert promised("regression", judged)["abs_error"].phi == pytest.approx(4 * 2 * 0.25 / 3 / 0.25)


def test_a_probability_is_calibrated_and_nothing_else() -> None:
    p, y = [0.2, 0.2, 0.8, 0.8, 7.0], [0.0, 0.0, 1.0, 0.0, 1.0]
    judged = Judged(predictions=p, actuals=y)
    built = build_profile(model="m", version="1", task="probability", features={}, judged=judged)
    assert built.calibration is not None
    assert (built.calibration.x, built.calibration.y) == ((0.2, 0.8), (0.0, 0.5))
    other = build_profile(model="m", version="1", task="regression", features={}, judged=judged)
    assert other.calibration is None


def test_predictions_and_outcomes_that_are_not_parallel_are_refused() -> None:
    with pytest.raises(ProfileError, match="actuals must be as many as predictions: 2, not 1"):
        Judged(predictions=[1.0, 2.0], actuals=[1.0])
