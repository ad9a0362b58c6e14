"""drift-detected carries what any detector measured, also of detectors without a p-value."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from consumers.services.decisions import decision_id, event_of
from domain.drift.classic import ClassicPolicy
from domain.drift.esr import EsrPolicy
from domain.drift.estimate import EstimatePolicy
from domain.judgement.decision import Decision, DecisionKind
from domain.judgement.policy import JudgementPolicy
from schemas import decode, encode
from schemas.events import DriftDetected
from tests.judgement.rows import decide, inputs, of_kind
from tests.judgement.test_error_drift import HITS, PROMISE, life
from tests.judgement.test_error_drift import under as of_errors
from tests.judgement.test_input_drift import QUIET, shifted
from tests.judgement.test_input_drift import under as of_inputs

CLASSIC = ClassicPolicy(detector="PageHinkley", stream="feature:x", params={"threshold": 0.5})


def told(decided: Sequence[Decision]) -> list[DriftDetected]:
    events = [event_of(decision) for decision in of_kind(decided, DecisionKind.DRIFT)]
    found = [event for event in events if isinstance(event, DriftDetected)]
    assert len(found) == len(events)
    # what is told survives the wire
    assert [decode(DriftDetected, encode(event)) for event in found] == found
    return found


def test_an_e_value_is_told_with_its_threshold_and_tolerance_and_without_a_p_value() -> None:
    (event,) = told(decide(life(60, low={}, hit={20: 0.5}, expected={}), of_errors(PROMISE)))
    metrics = event.metrics
    assert event.drift_type == "PERFORMANCE_DEGRADATION"
    assert (metrics.p_value, metrics.features, metrics.effect_sizes) == (None, (), {})
    assert metrics.log_e is not None
    assert metrics.log_e == metrics.statistic >= metrics.threshold
    assert metrics.tolerance == pytest.approx(0.02)
    assert (metrics.reference_size, metrics.phi) == (20_000, 1.0)
    assert not event.estimate


def test_an_estimate_is_told_as_one() -> None:
    policy = replace(HITS, features=None, estimate=EstimatePolicy(tolerance=0.02))
    rows = [inputs(w, error_rate=0.1 if w < 20 else 0.3) for w in range(30)]
    decided = decide(rows, of_errors(policy))
    (event,) = told(decided)
    assert (event.estimate, event.severity) == (True, "warn")
    assert event.drift_id == event.decision_id == decision_id(decided[0].key)


@pytest.mark.parametrize(
    ("policy", "detector", "sizes"),
    [
        (JudgementPolicy(predictions=None, errors=None), "roll-up-chi-square", 5),
        (replace(QUIET, feature_scores=EsrPolicy()), "e-sr-scores", 5),
        (replace(QUIET, classics=(CLASSIC,)), "river-PageHinkley", 0),
    ],
)
def test_features_are_named_with_the_effect_sizes_of_the_strongest(
    policy: JudgementPolicy, detector: str, sizes: int
) -> None:
    (event,) = told(decide(shifted(360), of_inputs(policy)))
    assert event.detector == detector
    assert event.metrics.features == ("x",)
    assert len(event.metrics.effect_sizes) == sizes
