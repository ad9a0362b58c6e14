"""Hold-backs: the old version as a witness against the new one."""

from dataclasses import replace

import numpy as np
import pytest

from domain.errors import InvalidField
from domain.experiments.hold_back import HoldBack
from domain.experiments.plan import ExperimentPlan
from domain.experiments.reversal import reversed_plan
from tests.experiments.streams import arm, plan, run, windows

WON = plan(guardrails=[{"metric": "latency", "direction": "decrease", "margin": 1.0}], alpha=0.02, mde=0.1)
HELD = HoldBack(share=0.2, duration_ms=86_400_000)


def reversal(of: ExperimentPlan = WON) -> ExperimentPlan:
    return reversed_plan(of, HELD, experiment="back", version="1")


def test_the_winner_is_the_champion_and_the_old_champion_the_challenger() -> None:
    back = reversal()
    assert (back.champion.version, back.champion.share) == ("1", 0.8)
    assert [(each.version, each.share) for each in back.treatments] == [("0", 0.2)]
    assert (back.alpha, back.guardrails, back.mde, back.reverses) == (0.05, (), None, "e")
    assert ExperimentPlan.from_json(back.to_json()) == back


def test_of_several_challengers_the_losers_have_no_part_in_it() -> None:
    assert len(reversal(plan(treatments=3)).variants) == 2


@pytest.mark.parametrize("share,duration_ms", [(0.0, 1), (0.51, 1), (0.1, 0)])
def test_a_hold_back_has_limits(share: float, duration_ms: int) -> None:
    with pytest.raises(InvalidField):
        HoldBack(share=share, duration_ms=duration_ms)


def test_plans_without_one_keep_their_hash() -> None:
    body = plan().to_json()
    assert not {"hold_back", "reverses"} & body.keys()
    digest = "506504777b4a2bd8508f1e92bac7aeacba123d523c417332c5ccb7a5758a9aae"
    del body["between_law"]
    assert ExperimentPlan.of_record(body).config_hash == digest, "as it was before there were hold-backs"


def test_arms_that_get_other_shares_than_promised_block_a_promotion_and_no_roll_back() -> None:
    generator = np.random.default_rng(2)
    bodies = [
        {
            "champion": arm({"abs_error": generator.standard_normal(60) + 2.0}),
            "held_back": arm({"abs_error": generator.standard_normal(60)}),
        }
        for _ in range(60)
    ]
    back = reversal(plan(n_star=1_000))
    state, found = run(back, windows(bodies))
    assert state.invalid
    assert found is not None
    assert (found.kind, found.treatment) == ("PROMOTE", "held_back")
    assert run(replace(back, reverses=None), windows(bodies))[1] is None, "the control: a promotion waits"
