"""Arms at any time: counts, and what the rules see."""

import numpy as np
import pytest

from domain.experiments.performance import performances
from domain.experiments.ramps import planned
from domain.experiments.state import ExperimentState
from domain.experiments.verdict import report, standings
from tests.experiments.streams import plan, run, split_arms, windows

GUARDED = plan(
    minimums={"batches": 5, "outcomes_per_arm": 50},
    guardrails=[{"metric": "abs_error", "direction": "decrease", "margin": 0.5}],
)


def test_before_the_first_batch_there_are_arms_and_nothing_else() -> None:
    champion, challenger = performances(GUARDED, planned(GUARDED), None)
    assert (champion.champion, challenger.champion) == (True, False)
    assert (challenger.share, challenger.predictions, challenger.arrived_share) == (0.5, 0, 1.0)
    assert challenger.metric is None


@pytest.mark.parametrize("count", [1, 30])
def test_an_arm_says_what_the_rules_see(count: int) -> None:
    state, _ = run(GUARDED, windows(split_arms(np.random.default_rng(1), count, gain=0.0)))
    numbers = report(GUARDED, state, standings(GUARDED, state))
    champion, challenger = performances(GUARDED, planned(GUARDED), numbers)
    primary = numbers["treatments"]["challenger-1"]["primary"]
    assert (champion.outcomes, champion.log_e, champion.guardrails) == (50 * count, None, None)
    assert challenger.outcomes == 50 * count
    assert (challenger.estimate, challenger.log_e) == (primary["estimate"], primary["log_e"])
    assert challenger.guardrails == 1
    assert challenger.guardrails_held == (1 if count == 30 else 0)
    assert challenger.harmful is False


def test_a_shadow_has_no_shares() -> None:
    shadow = plan("SHADOW_MODE")
    state = ExperimentState()
    arms = performances(shadow, planned(shadow), report(shadow, state, standings(shadow, state)))
    assert [arm.share for arm in arms] == [None, None]
