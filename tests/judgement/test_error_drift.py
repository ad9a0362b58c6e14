"""Errors alarm once, and the alarm says what kind of drift it is."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from domain.drift.adwin import AdwinPolicy
from domain.drift.classic import ClassicPolicy
from domain.drift.episodes import EpisodePolicy
from domain.drift.estimate import EstimatePolicy
from domain.drift.promise import PromisePolicy
from domain.judgement.decision import Decision, DecisionKind
from domain.judgement.judge import Frozen
from domain.judgement.policy import JudgementPolicy
from domain.judgement.rows import Row
from domain.windows.calibration import Calibration
from domain.windows.profile import MetricReference, ReferenceProfile
from tests.judgement.rows import LENGTH, POLICY, decide, frozen, inputs, kinds, of_kind, profile, scores

HITS = replace(POLICY, error_metric="hit")
HIT_PHI = 1.0


def calibrated(phi: float = HIT_PHI) -> ReferenceProfile:
    """A classifier that was right nine times in ten on 20,000 reference rows, and knew how sure it was."""
    return replace(
        profile(),
        task="probability",
        error_clip=None,
        calibration=Calibration(x=(0.0, 1.0), y=(0.0, 1.0)),
        errors={"hit": MetricReference(n=20_000, mean=0.9, M2=1_800.0, phi=phi)},
    )


def under(policy: JudgementPolicy, reference: ReferenceProfile | None = None) -> Frozen:
    return frozen((0, policy), profiles=[reference or calibrated()])


def drifts(decided: Sequence[Decision]) -> list[str]:
    return [decision.subject for decision in of_kind(decided, DecisionKind.DRIFT)]


def life(
    windows: int, *, low: dict[int, int], hit: dict[int, float], expected: dict[int, float], n: int = 400
) -> list[Row]:
    """Each argument from a window on; outcomes come 1.5 s after their window."""
    rows: list[Row] = []
    x, right, wrong = 200, 0.9, 0.1
    for window in range(windows):
        x, right, wrong = low.get(window, x), hit.get(window, right), expected.get(window, wrong)
        rows += [
            inputs(window, n=n, low=x * n // 400, error_rate=wrong),
            scores(window, n=n, hit=right),
        ]
    return rows


def test_errors_that_grow_while_inputs_stand_still_are_concept_drift() -> None:
    decided = decide(life(40, low={}, hit={20: 0.7}, expected={}), under(HITS))
    (opened,) = of_kind(decided, DecisionKind.DRIFT)
    assert opened.subject == "1/CONCEPT_DRIFT"
    assert opened.evidence["inputs_drifted"] is False
    assert opened.evidence["metric"] == "hit"
    assert opened.evidence["mean_after"] > opened.evidence["mean_before"] == pytest.approx(0.1)


def test_inputs_that_drift_alone_are_data_drift_alone() -> None:
    decided = decide(life(40, low={20: 360}, hit={}, expected={}), under(HITS))
    assert drifts(decided) == ["1/DATA_DRIFT"]


def test_errors_that_the_drifted_inputs_explain_are_degraded_performance() -> None:
    """The model was always weak there: its errors grow as CBPE expects them to."""
    decided = decide(life(40, low={20: 360}, hit={20: 0.7}, expected={20: 0.3}), under(HITS))
    assert drifts(decided) == ["1/DATA_DRIFT", "1/PERFORMANCE_DEGRADATION"]
    evidence = of_kind(decided, DecisionKind.DRIFT)[1].evidence
    assert evidence["inputs_drifted"] is True
    relation = evidence["relation"]
    assert relation["changed"] is False
    assert relation["realised"] == pytest.approx(relation["explained"]) == pytest.approx(0.3)


def test_errors_beyond_what_the_drifted_inputs_explain_are_concept_drift() -> None:
    decided = decide(life(40, low={20: 360}, hit={20: 0.6}, expected={20: 0.15}), under(HITS))
    assert drifts(decided) == ["1/DATA_DRIFT", "1/CONCEPT_DRIFT"]
    evidence = of_kind(decided, DecisionKind.DRIFT)[1].evidence
    assert evidence["inputs_drifted"] is True
    relation = evidence["relation"]
    assert relation["changed"] is True
    assert (relation["realised"], relation["explained"]) == (pytest.approx(0.4), pytest.approx(0.15))
    assert relation["p_value"] < 0.001


def test_overdispersed_hits_need_more_of_an_excess_to_change_the_relation() -> None:
    rows = life(40, low={20: 360}, hit={20: 0.6}, expected={20: 0.3})
    loose = [e.evidence["relation"]["p_value"] for e in opened_errors(rows, calibrated())]
    strict = [e.evidence["relation"]["p_value"] for e in opened_errors(rows, calibrated(phi=4.0))]
    assert loose[0] < strict[0]


def opened_errors(rows: Sequence[Row], reference: ReferenceProfile) -> list[Decision]:
    found = of_kind(decide(rows, under(HITS, reference)), DecisionKind.DRIFT)
    return [decision for decision in found if "inputs_drifted" in decision.evidence]


def test_without_calibration_drifting_inputs_alone_decide_the_type() -> None:
    reference = replace(calibrated(), calibration=None)
    rows = life(40, low={20: 360}, hit={20: 0.6}, expected={20: 0.15})
    (opened,) = opened_errors(rows, reference)
    assert opened.subject == "1/PERFORMANCE_DEGRADATION"
    assert "relation" not in opened.evidence


def test_an_open_episode_keeps_its_type_and_takes_the_later_alarms() -> None:
    """Inputs start to drift while the errors' episode is open: it stays one drift of one type."""
    patient = replace(HITS, episodes=EpisodePolicy(quiet_windows=15))
    hit = {20: 0.7, 26: 0.5, 34: 0.3, 44: 0.9}
    decided = decide(life(90, low={24: 360, 44: 200}, hit=hit, expected={}), under(patient))
    assert drifts(decided) == ["1/CONCEPT_DRIFT", "1/DATA_DRIFT"]
    recoveries = [d.subject for d in of_kind(decided, DecisionKind.RECOVERY)]
    assert sorted(recoveries) == ["1/CONCEPT_DRIFT", "1/DATA_DRIFT"]


def test_a_second_drift_of_the_errors_may_be_of_another_type() -> None:
    hit = {20: 0.7, 30: 0.9, 70: 0.7, 80: 0.9}
    decided = decide(
        life(120, low={69: 360, 80: 200}, hit=hit, expected={70: 0.3, 80: 0.1}),
        under(HITS),
    )
    assert drifts(decided) == ["1/CONCEPT_DRIFT", "1/DATA_DRIFT", "1/PERFORMANCE_DEGRADATION"]
    opened, closed = of_kind(decided, DecisionKind.DRIFT), of_kind(decided, DecisionKind.RECOVERY)
    assert {each.cause for each in closed} == {each.key for each in opened}


def test_the_types_of_two_drifts_may_come_in_the_other_order_too() -> None:
    hit = {20: 0.7, 30: 0.9, 70: 0.7, 80: 0.9}
    low, expected = {19: 360, 30: 200}, {20: 0.3, 30: 0.1}
    decided = decide(life(120, low=low, hit=hit, expected=expected), under(HITS))
    assert drifts(decided) == ["1/DATA_DRIFT", "1/PERFORMANCE_DEGRADATION", "1/CONCEPT_DRIFT"]
    found, closed = of_kind(decided, DecisionKind.DRIFT), of_kind(decided, DecisionKind.RECOVERY)
    assert {each.cause for each in closed} == {each.key for each in found}


PROMISE = replace(HITS, errors=None, promise=PromisePolicy(metric="hit", tolerance=0.02))


def test_a_promise_broken_slowly_is_found_without_a_detector_of_changes() -> None:
    hit = {window: 0.9 - 0.002 * (window - 20) for window in range(20, 80)}
    rows = life(90, low={}, hit=hit, expected={})
    decided = decide(rows, under(PROMISE))
    (opened,) = of_kind(decided, DecisionKind.DRIFT)
    evidence = opened.evidence
    assert opened.subject == "1/PERFORMANCE_DEGRADATION"
    assert evidence["detector"] == "e-sr-promise"
    assert evidence["mean_before"] == 0.9
    assert evidence["tolerated"] == pytest.approx(0.88)
    assert evidence["log_e"] >= evidence["threshold"]
    assert "p_value" not in evidence
    assert evidence["reference_size"] == 20_000
    # the evidence covers the windows it names
    assert opened.window_end_ms - opened.window_start_ms == evidence["block_windows"] * LENGTH


def test_a_promise_within_its_tolerance_is_kept() -> None:
    assert decide(life(400, low={}, hit={0: 0.885}, expected={}), under(PROMISE)) == []


def test_nothing_was_promised_where_neither_policy_nor_profile_says_what() -> None:
    silent = replace(calibrated(), errors={})
    rows = life(40, low={}, hit={10: 0.2}, expected={})
    assert decide(rows, under(PROMISE, silent)) == []
    given = replace(PROMISE, promise=PromisePolicy(metric="hit", baseline=0.9, tolerance=0.02))
    assert drifts(decide(rows, under(given, silent))) == ["1/PERFORMANCE_DEGRADATION"]


def test_a_promise_and_a_change_at_one_time_are_one_drift() -> None:
    both = replace(PROMISE, errors=AdwinPolicy())
    decided = decide(life(60, low={}, hit={20: 0.5}, expected={}), under(both))
    (opened,) = of_kind(decided, DecisionKind.DRIFT)
    named = [opened.evidence["detector"], *(each["detector"] for each in opened.evidence.get("also", ()))]
    assert sorted(named) == ["bucket-adwin", "e-sr-promise"]


def test_a_clipped_error_is_promised_in_its_own_unit() -> None:
    policy = replace(
        POLICY, errors=None, promise=PromisePolicy(metric="abs_error_clipped", baseline=0.2, tolerance=0.1)
    )
    reference = replace(profile(), error_clip=2.0)
    calm = [inputs(w) for w in range(60)]
    within = [*calm, *(scores(w, mean=0.29) for w in range(60))]
    beyond = [*calm, *(scores(w, mean=0.29 if w < 20 else 0.8) for w in range(60))]
    assert decide(within, under(policy, reference)) == []
    (opened,) = of_kind(decide(beyond, under(policy, reference)), DecisionKind.DRIFT)
    assert opened.evidence["tolerated"] == pytest.approx(0.3)
    assert opened.evidence["mean_after"] == pytest.approx(0.8, abs=0.1)


ESTIMATE = replace(HITS, features=None, estimate=EstimatePolicy(tolerance=0.02))


def test_an_estimate_warns_before_the_outcomes_come() -> None:
    rows = [inputs(w, error_rate=0.1 if w < 20 else 0.3) for w in range(40)]
    rows += [scores(w, hit=0.9 if w < 20 else 0.7, horizon_s=10, n=400) for w in range(40)]
    decided = decide(rows, under(ESTIMATE))
    estimated, realised = of_kind(decided, DecisionKind.DRIFT)
    assert estimated.subject == "1/PERFORMANCE_DEGRADATION/estimate"
    assert estimated.evidence["drift_type"] == "PERFORMANCE_DEGRADATION"
    assert estimated.evidence["estimate"] is True
    assert estimated.evidence["severity"] == "warn"
    assert estimated.evidence["mean_after"] < estimated.evidence["tolerated"] < 0.9
    assert realised.subject == "1/CONCEPT_DRIFT"
    assert estimated.at_ms + 5 * LENGTH < realised.at_ms
    # the realised one asks for a new model, the estimate does not
    (asked,) = of_kind(decided, DecisionKind.RETRAIN)
    assert asked.cause == realised.key


def test_an_estimate_asks_for_a_new_model_where_the_policy_hears_warnings() -> None:
    hearing = replace(ESTIMATE, retrain=replace(ESTIMATE.retrain, min_severity="warn"))
    deaf = replace(hearing, retrain=replace(hearing.retrain, drift_types=("CONCEPT_DRIFT", "DATA_DRIFT")))
    rows = [inputs(w, error_rate=0.1 if w < 20 else 0.3) for w in range(30)]
    assert kinds(decide(rows, under(hearing)))[:2] == ["drift", "retrain"]
    assert kinds(decide(rows, under(deaf))) == ["drift"]


def test_an_estimate_recovers_and_never_escalates() -> None:
    levels = [0.1] * 20 + [0.3] * 20 + [0.1] * 60
    decided = decide([inputs(w, error_rate=level) for w, level in enumerate(levels)], under(ESTIMATE))
    assert kinds(decided) == ["drift", "recovery"]


def test_an_estimate_of_a_version_that_is_replaced_closes() -> None:
    rows = [inputs(w, error_rate=0.1 if w < 20 else 0.4) for w in range(24)]
    rows += [inputs(w, version="2") for w in range(24, 40)]
    decided = decide(rows, frozen((0, ESTIMATE), profiles=[calibrated(), replace(calibrated(), version="2")]))
    assert kinds(decided) == ["drift", "recovery"]
    assert decided[1].subject == "1/PERFORMANCE_DEGRADATION/estimate"
    assert decided[1].evidence["reason"] == "the version no longer serves"


def test_what_is_not_measured_of_a_profile_is_not_estimated() -> None:
    precise = replace(ESTIMATE, estimate=EstimatePolicy(figure="precision", tolerance=0.02))
    rows = [inputs(w, error_rate=0.1 if w < 10 else 0.4) for w in range(40)]
    assert decide(rows, under(precise)) == []
    given = replace(ESTIMATE, estimate=EstimatePolicy(figure="precision", baseline=0.9, tolerance=0.02))
    assert drifts(decide(rows, under(given))) == ["1/PERFORMANCE_DEGRADATION/estimate"]


def test_the_errors_overdispersion_comes_from_the_profile() -> None:
    """Windows whose hits swing together: without phi each swing is a drift."""
    swings = {window: 0.9 if window // 20 % 2 else 0.8 for window in range(200)}
    rows = life(200, low={}, hit=swings, expected={}, n=100)
    assert drifts(decide(rows, under(HITS))) != []
    assert decide(rows, under(HITS, calibrated(phi=30.0))) == []


def test_a_classic_over_errors_joins_their_episode() -> None:
    only = replace(
        HITS, errors=None, classics=(ClassicPolicy(detector="PageHinkley", params={"threshold": 1}),)
    )
    decided = decide(life(100, low={}, hit={50: 0.5}, expected={}), under(only))
    (opened,) = of_kind(decided, DecisionKind.DRIFT)
    assert opened.subject == "1/CONCEPT_DRIFT"
    assert opened.evidence["detector"] == "river-PageHinkley"
    assert opened.evidence["mean_after"] > opened.evidence["mean_before"]
    better = decide(life(100, low={}, hit={0: 0.5, 50: 0.9}, expected={}), under(only))
    assert better == []


def test_errors_that_shrink_alarm_nobody_whatever_the_classic_reports() -> None:
    """river's ADWIN reports a fall as well."""
    quick = ClassicPolicy(detector="ADWIN", params={"clock": 1, "grace_period": 1, "min_window_length": 1})
    only = replace(HITS, errors=None, classics=(quick,))
    worse = decide(life(80, low={}, hit={0: 0.9, 40: 0.1}, expected={}), under(only))
    better = decide(life(80, low={}, hit={0: 0.1, 40: 0.9}, expected={}), under(only))
    assert drifts(worse) == ["1/CONCEPT_DRIFT"]
    assert better == []
