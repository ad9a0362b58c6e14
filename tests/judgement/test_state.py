"""What is remembered of a version: parts that are not used leave no trace in the stored state."""

from dataclasses import replace

from domain.drift.adwin import AdwinPolicy, AdwinState
from domain.drift.classic import ClassicPolicy
from domain.drift.esr import EsrPolicy, EsrState
from domain.drift.promise import PromisePolicy, PromiseState
from domain.judgement.judge import judge
from domain.judgement.policy import JudgementPolicy
from domain.judgement.state import ModelState, Watch
from tests.judgement.rows import LENGTH, MODEL, POLICY, frozen, in_order, inputs, scores

OLD = {
    "served_at_ms": 4_000,
    "config_hash": "c",
    "features": {"windows": 1, "waiting": [{"x": [1, 2, 3]}]},
    "predictions": {"windows": 0, "waiting": []},
    "errors": {"buckets": [[0, 40, 0.1, 0.4]]},
    "episodes": {
        "CONCEPT_DRIFT": {
            "severity": "drift",
            "opened_at_ms": 3_000,
            "quiet_needed": 4,
            "since_recovery": None,
        }
    },
    "openings": {"CONCEPT_DRIFT": ["drift", "m", "1/CONCEPT_DRIFT", "2000", "3000"]},
    "recent": {"DATA_DRIFT": [4_000]},
}


def test_a_state_of_before_is_read_and_written_as_it_was() -> None:
    assert Watch.from_json(OLD).to_json() == OLD


def watched(policies: list[tuple[int, JudgementPolicy]]) -> Watch:
    state = ModelState()
    rows = in_order([*(inputs(w, level=0.0) for w in range(6)), *(scores(w) for w in range(6))])
    list(judge(MODEL, state, rows, frozen(*policies)))
    return state.watches["1"]


def test_detectors_that_are_off_are_not_in_the_state() -> None:
    assert set(watched([(0, POLICY)]).to_json()) == set(OLD)


EVERY = replace(
    POLICY,
    feature_scores=EsrPolicy(),
    prediction_scores=EsrPolicy(),
    prediction_level=AdwinPolicy(),
    promise=PromisePolicy(metric="abs_error_clipped", baseline=0.1, tolerance=0.1),
    classics=(ClassicPolicy(detector="PageHinkley"),),
)


def test_another_policy_starts_every_detector_afresh() -> None:
    begun = watched([(0, EVERY)])
    assert {"feature_scores", "prediction_scores", "prediction_level", "promise", "classics"} <= set(
        begun.to_json()
    )
    begun.begin("another")
    assert begun.feature_scores == begun.prediction_scores == EsrState()
    assert begun.prediction_level == begun.errors == AdwinState()
    assert begun.promise == begun.estimate == PromiseState()
    assert (begun.classics, begun.recent) == ({}, {})


def test_a_policy_that_turns_them_off_forgets_them() -> None:
    # the last window of inputs is due at 6 s, its scores at 7.5 s
    assert set(watched([(0, EVERY), (7 * LENGTH, POLICY)]).to_json()) == set(OLD)
