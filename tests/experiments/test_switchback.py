"""Arms that switch by period: batches are long, and the split is checked over batches."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import orjson
import pytest

from domain.experiments.plan import ExperimentPlan
from domain.experiments.scores import WindowScores
from domain.experiments.state import ExperimentState
from domain.experiments.step import step
from tests.experiments.streams import MINUTE_MS, arm, plan, run, windows

PLAN = plan(
    "SWITCHBACK",
    period_ms=2 * MINUTE_MS,
    minimums={"batches": 5, "outcomes_per_arm": 50},
    batch={"min_outcomes": 20},
)


def market(count: int, seed: int, share: float = 0.5, gain: float = 0.0) -> Iterator[WindowScores]:
    """One market: all of a period's requests have the same arm, and the same luck."""
    generator = np.random.default_rng(seed)
    treated, luck = False, 0.0
    for number, window in enumerate(windows({} for _ in range(count))):
        if number % 2 == 0:
            treated, luck = generator.random() < share, generator.standard_normal()
        errors = luck + 0.3 * generator.standard_normal(30) - gain * treated
        name = "challenger-1" if treated else "champion"
        yield replace(window, arms={name: arm({"abs_error": errors})})


def test_a_batch_holds_five_periods_at_least() -> None:
    state, closed = ExperimentState(), []
    for window in market(60, seed=1):
        before = state.batches
        state, _ = step(PLAN, state, window)
        if state.batches > before:
            closed.append(window.window_end_ms)
    lengths = np.diff([0, *closed])
    assert len(closed) >= 4
    assert min(lengths) >= 5 * 2 * MINUTE_MS


@pytest.mark.parametrize("seed", range(8))
def test_switches_by_the_plans_shares_are_no_mismatch(seed: int) -> None:
    state, _ = run(plan("SWITCHBACK", period_ms=2 * MINUTE_MS, harm=[]), market(600, seed))
    assert state.invalid == ()


def test_switches_by_other_shares_are_found() -> None:
    quiet = plan("SWITCHBACK", period_ms=2 * MINUTE_MS, harm=[], minimums={"batches": 10_000})
    state, _ = run(quiet, market(2_000, seed=1, share=0.25))
    assert state.invalid == ("sample_ratio", "outcome_arrivals")


def test_equal_arms_are_seldom_told_apart_although_a_period_shares_its_luck() -> None:
    verdicts = [run(PLAN, market(400, seed))[1] for seed in range(100)]
    # 5 % each for promotion and harm; binomial, four standard deviations
    assert sum(found is not None for found in verdicts) <= 22


def test_a_gain_is_found() -> None:
    _, found = run(PLAN, market(2_000, seed=3, gain=0.7))
    assert found is not None
    assert (found.kind, found.treatment) == ("PROMOTE", "challenger-1")


def test_it_goes_on_from_its_json_to_the_same_bytes() -> None:
    whole, _ = run(PLAN, market(100, seed=2))
    again = ExperimentState()
    for window in market(100, seed=2):
        again, _ = step(PLAN, ExperimentState.from_json(orjson.loads(orjson.dumps(again.to_json()))), window)
    assert orjson.dumps(again.to_json()) == orjson.dumps(whole.to_json())
    assert ExperimentPlan.from_json(PLAN.to_json()) == PLAN
