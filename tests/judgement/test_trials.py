"""Experiments: evidence from their own rows only, and at most one verdict."""

from dataclasses import replace
from typing import Any

import pytest

from domain.judgement.decision import Decision, DecisionKind
from domain.judgement.judge import judge
from domain.judgement.rows import Row
from domain.judgement.state import ModelState
from domain.judgement.trials import DatedPlan, DatedShares
from tests.judgement.rows import GRACE, LENGTH, PLAN, decide, frozen, in_order, inputs, of_kind, scores, trial

DUE_MS = LENGTH + 1_000 + GRACE
"""From a window's start to when its scores fall due."""


def verdicts(rows: list[Row], **dates: Any) -> list[Decision]:
    return of_kind(decide(rows, frozen(plan=DatedPlan(plan=PLAN, **dates))), DecisionKind.VERDICT)


def windows(first: int, last: int, gain: float, epoch: int = 1) -> list[Row]:
    return [row for w in range(first, last) for row in trial(w, gain=gain, epoch=epoch)]


def test_a_better_challenger_is_promoted_once() -> None:
    (found,) = verdicts(windows(0, 30, gain=0.2))
    assert found.subject == "e"
    assert found.config_hash == PLAN.config_hash
    evidence = found.evidence
    assert (evidence["verdict"], evidence["version"], evidence["champion_version"]) == ("PROMOTE", "2", "1")
    assert found.at_ms < 29 * LENGTH


def test_no_gain_is_no_verdict() -> None:
    assert verdicts(windows(0, 60, gain=0.0)) == []


def test_shares_hold_for_their_epoch_and_for_nothing_that_was_judged_before() -> None:
    shares = {"champion": 0.9, "challenger": 0.1}
    dated = DatedPlan(plan=PLAN, ramps={2: DatedShares(at_ms=5_000, shares=shares)})
    found = [dated.shares(epoch, due_ms) for epoch, due_ms in ((1, 9_000), (2, 5_000), (2, 5_001))]
    assert found == [{}, {}, shares], "without any they are the plan's"


def test_rows_that_nobody_planned_are_not_evidence() -> None:
    others = [replace(row, key=replace(row.key, experiment="other")) for row in windows(0, 30, gain=0.2)]
    assert verdicts(others) == []


@pytest.mark.parametrize("last", [3, 4, 5, 8])
def test_what_falls_due_after_a_cancellation_is_not_evidence(last: int) -> None:
    everything = verdicts(windows(0, 30, gain=0.2))[0].at_ms
    cut = last * LENGTH + DUE_MS
    found = verdicts(windows(0, 30, gain=0.2), cancelled_at_ms=cut)
    assert [one.at_ms for one in found] == ([everything] if everything <= cut else [])


def test_what_fell_due_before_the_start_is_not_evidence() -> None:
    whole = verdicts(windows(10, 40, gain=0.2))
    later = verdicts(windows(0, 40, gain=0.2), started_at_ms=9 * LENGTH + DUE_MS)
    assert [(d.at_ms, d.evidence["outcomes"]) for d in later] == [
        (d.at_ms, d.evidence["outcomes"]) for d in whole
    ]


def test_epochs_of_an_allocation_are_strata_of_one_experiment() -> None:
    both = [*windows(0, 30, gain=0.2, epoch=1), *windows(0, 30, gain=0.2, epoch=2)]
    assert len(verdicts(both)) == 1


def test_partitions_of_an_arm_are_one_arm() -> None:
    parts = []
    for w in range(30):
        for row in trial(w, gain=0.2, n=20):
            parts += [replace(row, key=replace(row.key, partition=p)) for p in range(2)]
    (split,), (whole,) = verdicts(parts), verdicts(windows(0, 30, gain=0.2))
    assert split.at_ms == whole.at_ms
    assert split.evidence["outcomes"] == whole.evidence["outcomes"]
    assert split.evidence["arms"] == whole.evidence["arms"]


def test_a_shadow_without_rows_of_its_champion_waits() -> None:
    alone = [row for row in windows(0, 10, gain=0.0) if row.key.variant == "challenger"]
    assert verdicts([*alone, *(scores(w) for w in range(10))]) == []


def relabelled(row: Row, version: str) -> Row:
    return replace(row, key=replace(row.key, version=version))


def test_another_model_behind_the_challengers_label_is_not_promoted_on_its_answers() -> None:
    rows = windows(0, 30, gain=0.2)
    wrong = [relabelled(row, "99") if row.key.variant == "challenger" else row for row in rows]
    assert verdicts(wrong) == []
    honest = [row for w in range(30) for row in trial(w, gain=0.0)]
    foreign = [relabelled(row, "99") for row in rows if row.key.variant == "challenger"]
    assert verdicts([*honest, *foreign]) == []


def test_a_shadow_is_not_compared_with_another_model_behind_the_champions_label() -> None:
    rows = [
        relabelled(row, "99") if row.key.variant == "champion" else row for row in windows(0, 30, gain=0.2)
    ]
    assert verdicts(rows) == []


def test_a_batch_is_of_one_allocation() -> None:
    plan = replace(
        PLAN, batch=replace(PLAN.batch, min_outcomes=60), minimums=replace(PLAN.minimums, batches=3)
    )
    rows = [*windows(0, 1, gain=0.2, epoch=1), *windows(1, 60, gain=0.2, epoch=2)]
    (found,) = of_kind(decide(rows, frozen(plan=DatedPlan(plan=plan))), DecisionKind.VERDICT)
    assert found.evidence["first_window_ms"] == LENGTH  # the window before waited alone, and was left out
    late = [*rows, *(row for w in range(2, 60) for row in trial(w, gain=-0.5, epoch=1))]
    (same,) = of_kind(decide(late, frozen(plan=DatedPlan(plan=plan))), DecisionKind.VERDICT)
    assert same.evidence["treatments"] == found.evidence["treatments"]


@pytest.mark.parametrize("rows_until", [0, 3])
def test_an_experiment_without_rows_ends_by_time(rows_until: int) -> None:
    plan = replace(PLAN, max_duration_ms=5 * LENGTH)
    rows = [*windows(0, rows_until, gain=0.0), *(inputs(w) for w in range(30))]
    started = DatedPlan(plan=plan, started_at_ms=0)
    (found,) = of_kind(decide(rows, frozen(plan=started)), DecisionKind.VERDICT)
    assert found.evidence["verdict"] == "INCONCLUSIVE"
    assert "no rows" in found.evidence["rule"]
    newest_ms = (rows_until - 1) * LENGTH + DUE_MS if rows_until else 0
    assert 0 <= found.at_ms - newest_ms - 5 * LENGTH < LENGTH
    assert verdicts([inputs(w) for w in range(30)]) == []


def test_inputs_keep_an_experiment_open_whose_outcomes_take_longer_than_it_may_be_silent() -> None:
    plan = replace(PLAN, max_duration_ms=5 * LENGTH)
    arm: dict[str, Any] = {"experiment": "e", "variant": "champion", "epoch": 1}
    alive = [inputs(w, **arm) for w in range(30)]
    assert of_kind(decide(alive, frozen(plan=DatedPlan(plan=plan))), DecisionKind.VERDICT) == []


@pytest.mark.parametrize("count,looked", [(1, False), (2, False), (3, True), (9, True)])
def test_a_trial_remembers_whether_it_was_looked_at_also_when_it_is_cancelled(
    count: int, looked: bool
) -> None:
    rows = [row for w in range(count) for row in trial(w, n=4)]
    cancelled = DatedPlan(plan=PLAN, cancelled_at_ms=count * LENGTH + DUE_MS)
    state = ModelState()
    list(judge("m", state, in_order([*rows, *(inputs(w) for w in range(60))]), frozen(plan=cancelled)))
    found = ModelState.from_json(state.to_json()).trials["e"]
    assert (found.verdict, found.evidence, found.looked) == ("CANCELLED", None, looked)
