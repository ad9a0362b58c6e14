"""The variance between batches is an estimate: Student's law for new plans, for old ones what they had."""

import math

import numpy as np
import pytest
from scipy.stats import norm, t

from domain.experiments.contrast import MATURE_BATCHES, student_factor
from domain.experiments.measure import Measure
from domain.experiments.plan import ExperimentPlan
from domain.experiments.state import ExperimentState
from domain.experiments.step import step
from domain.experiments.verdict import standings
from tests.experiments.streams import Body, plan, shadow_arm, split_arms, sticky_arms, windows


def as_before(chosen: ExperimentPlan) -> ExperimentPlan:
    """The record of a plan that was frozen when there was no other law."""
    document = chosen.to_json()
    del document["between_law"]
    return ExperimentPlan.of_record(document)


@pytest.mark.parametrize("batches", [20, 50, 200])
@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.0025])
def test_the_factor_turns_normal_quantiles_into_students(batches: int, alpha: float) -> None:
    z = math.sqrt(2 * math.log(1 / alpha) + 3)
    c = math.log(1 / alpha) + 2
    students = float(t.isf(norm.sf(z), batches - 1))
    # the first order of an expansion: what it leaves out falls with the square of the batches
    assert student_factor(batches, alpha) == pytest.approx((students / z) ** 2, rel=1.5 * (c / batches) ** 2)
    assert student_factor(batches, alpha) < (students / z) ** 2


def test_every_new_plan_has_the_law_and_no_old_one() -> None:
    new = plan()
    assert new.between_law == "student"
    assert ExperimentPlan.from_json(new.to_json()) == ExperimentPlan.of_record(new.to_json()) == new
    old = as_before(new)
    assert old.between_law is None
    assert "between_law" not in old.to_json()
    assert old.config_hash != new.config_hash
    assert (old.student_alpha(0.05), new.student_alpha(0.05)) == (None, 0.05)


def primaries(chosen: ExperimentPlan, arms: list[dict[str, Body]]) -> list[Measure]:
    """After every batch."""
    state, found = ExperimentState(), []
    for window in windows(arms):
        state, _ = step(chosen, state, window)
        found.append(standings(chosen, state)[0].primaries[0])
    return found


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_answers_that_depend_on_each_other_count_for_less_from_the_twentieth_batch_on(alpha: float) -> None:
    source = np.random.default_rng(1)
    levels = source.standard_normal(40)
    arms = [{"challenger-1": shadow_arm(level + source.standard_normal(100))} for level in levels]
    new = plan("SHADOW_MODE", alpha=alpha, harm=[])
    for k, (was, now) in enumerate(
        zip(primaries(as_before(new), arms), primaries(new, arms), strict=True), 1
    ):
        if k < MATURE_BATCHES:
            assert now == was
            continue
        assert was.v is not None
        assert now.v is not None
        assert was.lower is not None
        assert now.lower is not None
        assert now.v == pytest.approx(was.v * student_factor(k, alpha), rel=1e-12)
        assert (now.estimate, now.rho) == (was.estimate, was.rho)
        assert now.lower < was.lower


def test_where_events_explain_the_batches_nothing_changes() -> None:
    arms = split_arms(np.random.default_rng(2), 200, gain=0.0)
    new = plan(harm=[])
    was, now = primaries(as_before(new), arms), primaries(new, arms)
    same = sum(one.v == other.v for one, other in zip(was, now, strict=True))
    assert 19 <= same < 200
    assert was[-1].v is not None
    assert now[-1].v is not None
    assert was[-1].v <= now[-1].v <= was[-1].v * student_factor(200, 0.05)


def test_what_moves_all_units_of_an_arm_is_an_estimate_too() -> None:
    arms = sticky_arms(np.random.default_rng(3), 40, gain=0.0)
    new = plan("USER_SEGMENT", harm=[], batch={"min_outcomes": 50, "min_per_arm": 10})
    was, now = primaries(as_before(new), arms), primaries(new, arms)
    for one, other in zip(was, now, strict=True):
        assert one.units_v == other.units_v
        assert one.v is None or (other.v is not None and other.v >= one.v)
    assert was[-1].v is not None
    assert now[-1].v is not None
    assert now[-1].v > was[-1].v
