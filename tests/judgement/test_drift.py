"""Rows of a serving version become episodes: one alarm for one drift."""

from dataclasses import replace
from typing import Any

from domain.drift.rollup import RollUpPolicy
from domain.judgement.decision import DecisionKind
from domain.judgement.policy import JudgementPolicy
from domain.judgement.rows import Row
from tests.judgement.rows import (
    LENGTH,
    POLICY,
    decide,
    frozen,
    inputs,
    kinds,
    of_kind,
    profile,
    scores,
)

DRIFTED = 360


def calm(first: int, last: int, **key: Any) -> list[Row]:
    return [inputs(window, **key) for window in range(first, last)]


def drifting(first: int, last: int, low: int = DRIFTED) -> list[Row]:
    return [inputs(window, low=low) for window in range(first, last)]


def test_a_model_without_drift_is_left_in_peace() -> None:
    assert decide([*calm(0, 40), *(scores(window) for window in range(40))]) == []


def test_one_drift_is_one_decision_and_two_drifts_are_two() -> None:
    rows = [*calm(0, 8), *drifting(8, 14), *calm(14, 40), *drifting(40, 46), *calm(46, 70)]
    decided = [d for d in decide(rows) if d.kind is not DecisionKind.RETRAIN]
    assert kinds(decided) == ["drift", "recovery", "drift", "recovery"]
    first, recovered, second, _ = decided
    assert first.subject == "1/DATA_DRIFT"
    assert first.at_ms == 9 * LENGTH
    assert first.evidence["features"] == ["x"]
    assert recovered.cause == first.key
    assert second.at_ms == 41 * LENGTH


def test_a_warning_escalates_within_its_episode() -> None:
    rows = [*calm(0, 4), *drifting(4, 7, low=270), *drifting(7, 10, low=390), *calm(10, 40)]
    decided = decide(rows)
    assert kinds(decided) == ["drift", "escalation", "retrain", "recovery"]
    opened, escalated, retrain, recovered = decided
    assert opened.evidence["severity"] == "warn"
    assert escalated.evidence["severity"] == "drift"
    assert {escalated.cause, retrain.cause, recovered.cause} == {opened.key}


def test_predictions_and_errors_have_episodes_of_their_own() -> None:
    rows = [inputs(window, predicted_low=380 if window > 10 else None) for window in range(30)]
    rows += [scores(window, mean=0.9 if window > 20 else 0.1) for window in range(30)]
    subjects = {d.subject for d in of_kind(decide(rows), DecisionKind.DRIFT)}
    assert subjects == {"1/PREDICTION_DRIFT", "1/CONCEPT_DRIFT"}


def test_errors_that_get_smaller_alarm_nobody() -> None:
    rows = [*calm(0, 40), *(scores(window, mean=0.9 if window < 20 else 0.1) for window in range(40))]
    assert decide(rows) == []


def test_what_a_shadow_sees_costs_nobody() -> None:
    shadows = [inputs(w, low=390, served=False, version="2", variant="b", experiment="x") for w in range(20)]
    shadows += [
        scores(w, mean=w / 20, served=False, version="2", variant="b", experiment="x") for w in range(20)
    ]
    assert decide([*calm(0, 20), *(scores(w) for w in range(20)), *shadows]) == []


def test_the_serving_version_is_the_one_that_answered_most() -> None:
    rows = [*drifting(0, 1), *(inputs(w, low=450, version="2", n=500) for w in range(1))]
    (retrain,) = of_kind(decide(rows), DecisionKind.RETRAIN)
    assert retrain.subject == "2"


def test_episodes_of_a_version_that_was_replaced_close_once() -> None:
    rows = [*calm(0, 4), *drifting(4, 6), *calm(6, 30, version="2")]
    decided = decide(rows)
    assert kinds(decided) == ["drift", "retrain", "recovery"]
    assert decided[2].evidence["reason"] == "the version no longer serves"
    assert decided[2].evidence["last_served_ms"] == 5 * LENGTH
    assert decided[2].cause == decided[0].key


def test_scores_that_come_after_a_version_is_gone_are_not_judged() -> None:
    late = [scores(w, mean=0.1 if w < 3 else 0.9, horizon_s=60) for w in range(6)]
    assert decide([*calm(0, 6), *calm(6, 30, version="2"), *late]) == []


def test_without_a_profile_only_errors_are_watched() -> None:
    rows = [*drifting(0, 20), *(scores(w, mean=0.9 if w > 9 else 0.1) for w in range(20))]
    subjects = [d.subject for d in of_kind(decide(rows, frozen(profiles=())), DecisionKind.DRIFT)]
    assert subjects == ["1/CONCEPT_DRIFT"]


def test_a_profile_counts_from_the_window_in_which_it_takes_effect() -> None:
    configuration = frozen(profiles=[profile(effective_from_ms=5 * LENGTH)])
    (opened,) = of_kind(decide(drifting(0, 8), configuration), DecisionKind.DRIFT)
    assert opened.window_start_ms == 5 * LENGTH


def test_a_detector_can_be_switched_off() -> None:
    off = replace(POLICY, features=None, predictions=None, errors=None)
    rows = [*drifting(0, 20), *(scores(w, mean=w / 20) for w in range(20))]
    assert decide(rows, frozen((0, off))) == []


def test_a_new_policy_counts_from_its_time_and_starts_the_detectors_afresh() -> None:
    off = replace(POLICY, features=None)
    rows = drifting(0, 12)
    (opened,) = of_kind(decide(rows, frozen((0, off), (6 * LENGTH + 1, POLICY))), DecisionKind.DRIFT)
    assert opened.at_ms == 7 * LENGTH
    assert opened.evidence["block_windows"] == 1
    assert opened.config_hash == POLICY.hash()


def test_what_was_counted_under_an_old_policy_does_not_count_under_the_new_one() -> None:
    def needing(items: int) -> JudgementPolicy:
        return replace(POLICY, features=RollUpPolicy(levels=3, min_items=items))

    # 500 items are needed, so blocks of two windows: were the old windows kept, 4 and 5 would be one
    rows = [inputs(window, low=DRIFTED) for window in range(12)]
    configuration = frozen((0, needing(10**9)), (5 * LENGTH + 1, needing(500)))
    (opened,) = of_kind(decide(rows, configuration), DecisionKind.DRIFT)
    assert opened.at_ms == 7 * LENGTH
    assert opened.window_start_ms == 5 * LENGTH


def test_a_new_policy_leaves_an_open_episode_open() -> None:
    stricter = replace(POLICY, retrain=replace(POLICY.retrain, budget=5))
    rows = [*calm(0, 4), *drifting(4, 8), *calm(8, 30)]
    decided = decide(rows, frozen((0, POLICY), (6 * LENGTH, stricter)))
    assert kinds(decided) == ["drift", "retrain", "recovery"]


def test_partitions_count_as_one_model() -> None:
    whole = [*calm(0, 6), *drifting(6, 12), *calm(12, 30)]
    parts = [
        inputs(
            int(row.key.window_start_ms / LENGTH), n=200, low=row.body["features"]["x"][0] // 2, partition=p
        )
        for row in whole
        for p in range(2)
    ]
    one, two = decide(whole), decide(parts)
    assert [(d.kind, d.at_ms, d.evidence.get("statistic")) for d in one] == [
        (d.kind, d.at_ms, d.evidence.get("statistic")) for d in two
    ]
    assert one[0].evidence["tallies_digest"] != two[0].evidence["tallies_digest"]


def test_one_changed_row_changes_every_later_decision_and_no_earlier_one() -> None:
    rows = [*calm(0, 4), *drifting(4, 8), *calm(8, 30), *drifting(30, 34)]
    changed = [inputs(20, low=201) if row.key.window_start_ms == 20 * LENGTH else row for row in rows]
    before, after = decide(rows), decide(changed)
    assert kinds(before) == kinds(after)
    same = [a.body() == b.body() for a, b in zip(before, after, strict=True)]
    assert same == [decision.at_ms <= 20 * LENGTH for decision in before]
    assert [a.key for a in before] == [a.key for a in after]


def test_the_evidence_begins_with_the_first_window_of_the_block_even_over_gaps() -> None:
    """Windows without traffic, such as weekends, are not part of a block and do not shift where it begins."""
    windows = [0, 7, 8, 15]
    found = [
        decision
        for low in range(250, 360, 5)
        for decision in of_kind(decide([inputs(w, low=low) for w in windows]), DecisionKind.DRIFT)
    ]
    assert {1, 4} <= {decision.evidence["block_windows"] for decision in found}
    for decision in found:
        seen = [w for w in windows if (w + 1) * LENGTH <= decision.window_end_ms]
        first = seen[-decision.evidence["block_windows"]]
        assert decision.window_start_ms == first * LENGTH
