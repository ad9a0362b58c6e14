"""Shares that change while an experiment runs: who may get how much, and what was promised when."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import orjson
import pytest

from domain.experiments.ramps import InvalidRamp, Shares, planned, ramped
from domain.experiments.scores import WindowScores
from domain.experiments.state import ExperimentState
from domain.experiments.step import step
from tests.experiments.streams import arm, plan, run, sticky_arms, windows

PLAN = plan(minimums={"batches": 5, "outcomes_per_arm": 50}, batch={"min_outcomes": 50})
STAGES: list[Shares] = [{}, *({"champion": 1 - share, "challenger-1": share} for share in (0.1, 0.25, 0.9))]


def ramp(stages: list[Shares], seed: int = 1, length: int = 40) -> Iterator[WindowScores]:
    """Requests drawn by each stage's shares (none: the plan's) while the base rate drifts."""
    generator = np.random.default_rng(seed)
    for number, window in enumerate(windows({} for _ in range(length * len(stages)))):
        epoch, shares = 1 + number // length, stages[number // length]
        treated = generator.random(200) < (shares or planned(PLAN))["challenger-1"]
        errors = generator.standard_normal(200) + number / 10
        arms = {"champion": arm({"abs_error": errors[~treated]})}
        arms["challenger-1"] = arm({"abs_error": errors[treated]})
        yield replace(window, arms=arms, epoch=epoch, shares=shares)


@pytest.mark.parametrize(
    "wanted,problem",
    [
        ({}, "no share is given"),
        ({"champion": 0.4}, "is the champion"),
        ({"other": 0.4}, "no challenger other, only challenger-1, challenger-2"),
        ({"challenger-1": 0.0}, "above 0 and below 1, and is 0"),
        ({"challenger-1": 1.0}, "above 0 and below 1, and is 1"),
        ({"challenger-1": float("nan")}, "above 0 and below 1"),
        ({"challenger-1": 0.7}, "leave nothing to the champion"),
        ({"challenger-1": 0.3}, "these already"),
    ],
)
def test_shares_that_cannot_be_given_are_refused_in_a_sentence(wanted: Shares, problem: str) -> None:
    two = plan(treatments=2)
    current = {"champion": 0.4, "challenger-1": 0.3, "challenger-2": 0.3}
    with pytest.raises(InvalidRamp, match=problem):
        ramped(two, current, wanted)


def test_a_shadow_has_no_shares_to_change() -> None:
    with pytest.raises(InvalidRamp, match="shadow"):
        ramped(plan("SHADOW_MODE"), {}, {"challenger-1": 0.1})


def test_whom_nobody_names_keeps_its_share_and_the_champion_gets_the_rest() -> None:
    current = {"champion": 0.4, "challenger-1": 0.3, "challenger-2": 0.3}
    after = ramped(plan(treatments=2), current, {"challenger-2": 0.1})
    assert after == {"champion": 0.6, "challenger-1": 0.3, "challenger-2": 0.1}


@pytest.mark.parametrize("seed", range(5))
def test_a_ramp_is_no_sample_ratio_mismatch_where_each_epoch_kept_its_promise(seed: int) -> None:
    state, found = run(PLAN, ramp(STAGES, seed))
    assert found is None
    assert state.invalid == ()
    assert set(state.ramps) == {"2", "3", "4"}


def test_the_same_arrivals_against_the_plans_shares_are_a_mismatch() -> None:
    silent = [replace(window, shares={}) for window in ramp(STAGES)]
    state, _ = run(PLAN, silent)
    assert state.invalid == ("sample_ratio", "outcome_arrivals"), "the control: pooled counts must alarm"


def test_a_promise_that_one_epoch_breaks_is_found() -> None:
    broken = [replace(w, shares=STAGES[1] if w.epoch == 3 else w.shares) for w in ramp(STAGES)]
    state, _ = run(PLAN, broken)
    assert state.invalid == ("sample_ratio", "outcome_arrivals")


def test_a_ramp_goes_on_from_its_json_to_the_same_bytes() -> None:
    whole, _ = run(PLAN, ramp(STAGES))
    again = ExperimentState()
    for window in ramp(STAGES):
        again, _ = step(PLAN, ExperimentState.from_json(orjson.loads(orjson.dumps(again.to_json()))), window)
    assert orjson.dumps(again.to_json()) == orjson.dumps(whole.to_json())


def test_without_a_ramp_the_state_is_what_it_always_was() -> None:
    state, _ = run(PLAN, ramp([{}]))
    body = state.to_json()
    assert "ramps" not in body
    assert "shares" not in body["batch"]
    assert ExperimentState.from_json(body) == state


def test_units_are_checked_against_the_shares_of_each_epoch() -> None:
    sticky = plan("USER_SEGMENT", minimums={"batches": 5, "outcomes_per_arm": 50})
    made = list(windows(sticky_arms(np.random.default_rng(3), 200, gain=0.0)))
    kept = [replace(window, epoch=2, shares={"champion": 0.52, "challenger-1": 0.48}) for window in made]
    broken = [replace(window, epoch=2, shares={"champion": 0.95, "challenger-1": 0.05}) for window in made]
    assert run(sticky, kept)[0].invalid == ()
    assert run(sticky, broken)[0].invalid == ("outcome_arrivals",)
