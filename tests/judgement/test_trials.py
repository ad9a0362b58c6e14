"""Experiments: evidence from their own rows only, and at most one verdict."""

from dataclasses import replace

import pytest

from domain.judgement.decision import Decision, DecisionKind
from domain.judgement.rows import Row
from domain.judgement.trials import DatedPlan
from tests.judgement.rows import GRACE, LENGTH, PLAN, decide, frozen, of_kind, scores, trial

DUE_MS = LENGTH + 1_000 + GRACE
"""From a window's start to when its scores fall due."""


def verdicts(rows: list[Row], **dates: int) -> list[Decision]:
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
