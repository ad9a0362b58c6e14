"""What was promised comes from the policy, else from the profile, and so does how sure it is."""

import math
from dataclasses import replace

from domain.drift.estimate import EstimatePolicy
from domain.drift.promise import PromisePolicy
from domain.judgement.promised import Baseline, estimate_baseline, metric_baseline
from tests.judgement.test_error_drift import calibrated

MEASURED = PromisePolicy(metric="hit", tolerance=0.02)


def test_a_figure_that_somebody_promised_is_exact_and_as_overdispersed_as_was_measured() -> None:
    promised = replace(MEASURED, baseline=0.95)
    assert metric_baseline(promised, calibrated(phi=2.5)) == Baseline(mean=0.95, phi=2.5, n=math.inf)
    assert metric_baseline(promised, None) == Baseline(mean=0.95, phi=1.0, n=math.inf)
    assert Baseline(mean=0.95, phi=1.0, n=math.inf).size is None


def test_what_the_profile_measured_is_as_sure_as_its_rows() -> None:
    found = metric_baseline(MEASURED, calibrated(phi=2.5))
    assert found == Baseline(mean=0.9, phi=2.5, n=20_000)
    assert found.size == 20_000


def test_nothing_is_promised_without_either() -> None:
    assert metric_baseline(MEASURED, None) is None
    assert metric_baseline(replace(MEASURED, metric="brier"), calibrated()) is None


def test_an_estimate_is_as_overdispersed_as_the_predictions_or_the_hits_are() -> None:
    policy = EstimatePolicy(tolerance=0.02)
    reference = calibrated(phi=2.0)
    assert reference.prediction is not None
    swinging = replace(reference, prediction=replace(reference.prediction, phi=7.0))
    phis = [found.phi for each in (reference, swinging) if (found := estimate_baseline(policy, each))]
    assert phis == [2.0, 7.0]


def test_only_accuracy_is_measured_by_a_profile() -> None:
    recall = EstimatePolicy(figure="recall", tolerance=0.02)
    assert estimate_baseline(recall, calibrated()) is None
    assert estimate_baseline(replace(recall, baseline=0.8), calibrated()) == Baseline(
        mean=0.8, phi=1.0, n=math.inf
    )
