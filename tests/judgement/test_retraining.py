"""When open episodes ask for a new model."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from domain.drift.retrain import RetrainPolicy
from domain.judgement.decision import Decision, DecisionKind
from domain.judgement.policy import JudgementPolicy
from domain.judgement.rows import Row
from domain.judgement.trials import DatedPlan
from tests.judgement.rows import LENGTH, PLAN, POLICY, decide, frozen, inputs, of_kind, trial


def asking(**settings: Any) -> JudgementPolicy:
    return replace(POLICY, retrain=RetrainPolicy(**{"cooldown_ms": 0, "budget": 100, **settings}))


def two_drifts() -> list[Row]:
    return [inputs(w, low=360 if 4 <= w < 8 or 30 <= w < 34 else 200) for w in range(50)]


def requests(rows: list[Row], policy: JudgementPolicy, plan: DatedPlan | None = None) -> list[Decision]:
    return of_kind(decide(rows, frozen((0, policy), plan=plan)), DecisionKind.RETRAIN)


def test_each_episode_asks_once() -> None:
    decided = decide(two_drifts(), frozen((0, asking())))
    opened = of_kind(decided, DecisionKind.DRIFT)
    asked = of_kind(decided, DecisionKind.RETRAIN)
    assert [one.cause for one in asked] == [one.key for one in opened]
    assert [one.at_ms for one in asked] == [5 * LENGTH, 31 * LENGTH]
    assert asked[0].subject == "1"
    assert asked[0].evidence["drift_types"] == ["DATA_DRIFT"]
    assert asked[0].evidence["episodes"] == ["|".join(opened[0].key)]


@pytest.mark.parametrize(
    ("settings", "times"),
    [
        ({"cooldown_ms": 26 * LENGTH}, [5, 31]),
        ({"cooldown_ms": 28 * LENGTH}, [5, 33]),
        ({"cooldown_ms": 100 * LENGTH}, [5]),
        ({"budget": 1, "budget_window_ms": 100 * LENGTH}, [5]),
        ({"budget": 0}, []),
        ({"drift_types": ("CONCEPT_DRIFT",)}, []),
    ],
)
def test_requests_are_limited_by_the_policy(settings: dict[str, object], times: list[int]) -> None:
    assert [one.at_ms // LENGTH for one in requests(two_drifts(), asking(**settings))] == times


def test_an_episode_that_stays_open_asks_again_where_the_policy_says_so() -> None:
    asked = [one.at_ms // LENGTH for one in requests(two_drifts(), asking(repeat_ms=3 * LENGTH))]
    assert asked[:2] == [5, 8]
    assert 31 in asked
    assert all(later - earlier >= 3 for earlier, later in pairwise(asked))


def test_a_warning_asks_only_where_the_policy_says_so() -> None:
    rows = [inputs(w, low=270 if 4 <= w < 8 else 200) for w in range(20)]
    assert requests(rows, asking()) == []
    assert len(requests(rows, asking(min_severity="warn"))) == 1


def test_a_running_experiment_holds_the_request_until_it_is_cancelled() -> None:
    drift = [inputs(w, low=360 if w >= 6 else 200) for w in range(30)]
    evidence = [row for w in range(4) for row in trial(w)]
    held = requests([*drift, *evidence], asking(), DatedPlan(plan=PLAN))
    assert held == []
    ordinary = [row for w in range(30) for row in trial(w) if row.key.variant == "champion"]
    served = [replace(row, key=replace(row.key, variant="", experiment="", epoch=0)) for row in ordinary]
    cancelled = DatedPlan(plan=PLAN, cancelled_at_ms=10 * LENGTH)
    (asked,) = requests([*drift, *evidence, *served], asking(), cancelled)
    assert 10 * LENGTH < asked.at_ms <= 11 * LENGTH + 500
    (asked,) = requests([*drift, *evidence], asking(hold_while_experiment=False), DatedPlan(plan=PLAN))
    assert asked.at_ms == 7 * LENGTH


def test_an_experiment_without_a_row_holds_the_request_from_its_start() -> None:
    drift = [inputs(w, low=360 if w >= 6 else 200) for w in range(30)]
    assert requests(drift, asking(), DatedPlan(plan=PLAN, started_at_ms=2 * LENGTH)) == []
    (early,) = requests(drift, asking(), DatedPlan(plan=PLAN, started_at_ms=20 * LENGTH))
    assert early.at_ms == 7 * LENGTH
    (later,) = requests(
        drift, asking(), DatedPlan(plan=PLAN, started_at_ms=2 * LENGTH, cancelled_at_ms=15 * LENGTH)
    )
    assert later.at_ms == 16 * LENGTH
    ending = replace(PLAN, max_duration_ms=10 * LENGTH)
    (ended,) = requests(drift, asking(), DatedPlan(plan=ending, started_at_ms=2 * LENGTH))
    assert ended.at_ms == 12 * LENGTH
