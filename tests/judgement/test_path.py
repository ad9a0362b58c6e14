"""The path of an experiment is the judge's own, look by look."""

from dataclasses import replace

import pytest

from domain.experiments.scores import Totals
from domain.experiments.srm import srm_log_e
from domain.experiments.state import ExperimentState
from domain.experiments.verdict import report, standings
from domain.judgement.decision import DecisionKind
from domain.judgement.judge import judge
from domain.judgement.path import allocations, counted, looks, scored
from domain.judgement.rows import Row
from domain.judgement.state import ModelState
from domain.judgement.trials import DatedPlan
from tests.judgement.rows import GRACE, LENGTH, MODEL, PLAN, decide, frozen, in_order, inputs, of_kind, trial

DUE_MS = LENGTH + 1_000 + GRACE


def windows(first: int, last: int, gain: float = 0.0, epoch: int = 1, n: int = 40) -> list[Row]:
    return [row for w in range(first, last) for row in trial(w, gain=gain, epoch=epoch, n=n)]


def test_the_path_ends_with_the_verdict_and_the_evidence_of_the_judge() -> None:
    rows = in_order(windows(0, 30, gain=0.2))
    (verdict,) = of_kind(decide(rows, frozen(plan=DatedPlan(plan=PLAN))), DecisionKind.VERDICT)
    path = list(looks(DatedPlan(plan=PLAN), rows, LENGTH))
    assert [look.verdict for look in path] == [None] * (len(path) - 1) + ["PROMOTE"]
    assert path[-1].at_ms == verdict.at_ms
    assert path[-1].numbers == {name: verdict.evidence[name] for name in path[-1].numbers}
    assert [look.numbers["batches"] for look in path] == list(range(1, len(path) + 1))


@pytest.mark.parametrize("n,count", [(4, 25), (40, 12)])
def test_every_look_is_what_the_judge_held_at_that_time(n: int, count: int) -> None:
    rows = in_order([*windows(0, count, n=n), *(inputs(w) for w in range(count))])
    dated = DatedPlan(plan=PLAN)
    for look in looks(dated, rows, LENGTH):
        state = ModelState()
        list(judge(MODEL, state, [row for row in rows if row.due_ms <= look.at_ms], frozen(plan=dated)))
        evidence = state.trials["e"].evidence
        assert evidence is not None
        held = ExperimentState.from_json(evidence)
        assert look.numbers == report(PLAN, held, standings(PLAN, held))


def test_only_rows_that_count_are_on_the_path() -> None:
    rows = in_order(windows(0, 12))
    late = DatedPlan(plan=PLAN, started_at_ms=3 * LENGTH + DUE_MS, cancelled_at_ms=7 * LENGTH + DUE_MS)
    assert [look.at_ms for look in looks(late, rows, LENGTH)] == [w * LENGTH + DUE_MS for w in range(4, 8)]
    other = [replace(row, key=replace(row.key, experiment="other")) for row in rows]
    assert list(looks(DatedPlan(plan=PLAN), other, LENGTH)) == []


def test_what_arms_scored_is_of_every_window_that_counts() -> None:
    rows = in_order(windows(0, 12))
    late = DatedPlan(plan=PLAN, started_at_ms=3 * LENGTH + DUE_MS, cancelled_at_ms=7 * LENGTH + DUE_MS)
    found = list(counted(late, rows, LENGTH))
    assert [window.due_ms for window in found] == [w * LENGTH + DUE_MS for w in range(4, 8)]
    bodies = [row.body for row in rows if 4 * LENGTH <= row.key.window_start_ms < 8 * LENGTH]
    total = sum(
        body["metrics"]["abs_error"]["n"] for body in bodies if "abs_error" in body.get("metrics", {})
    )
    arms = scored(found)
    assert sum(arm["abs_error"].n for arm in arms.values() if "abs_error" in arm) == total
    assert scored([]) == {}


def test_allocations_add_up_to_the_whole_and_are_checked_one_by_one() -> None:
    split = replace(
        PLAN,
        strategy="PERCENTAGE_SPLIT",
        variants=tuple(replace(each, share=0.5) for each in PLAN.variants),
    )
    dated = DatedPlan(plan=split)
    rows = in_order([*windows(0, 6), *windows(6, 10, epoch=2), *windows(6, 8, epoch=1)])
    path = list(looks(dated, rows, LENGTH))
    first, second = allocations(dated, path)
    assert (first.epoch, second.epoch) == (1, 2)
    assert (first.first_ms, second.last_ms) == (path[0].at_ms, path[-1].at_ms)
    assert first.looks + second.looks == len(path)
    for name in ("champion", "challenger"):
        whole = first.arms[name] + second.arms[name]
        assert whole == Totals(**path[-1].numbers["arms"][name])
        assert second.arms[name].n == 40 * 4
    assert second.ratio_log_e == srm_log_e([160, 160], [0.5, 0.5])
    assert second.arrival_log_e == second.ratio_log_e


def test_a_shadow_splits_nothing_and_has_no_ratio() -> None:
    dated = DatedPlan(plan=PLAN)
    (found,) = allocations(dated, list(looks(dated, in_order(windows(0, 5)), LENGTH)))
    assert (found.ratio_log_e, found.arrival_log_e) == (None, None)
    assert allocations(dated, []) == []
