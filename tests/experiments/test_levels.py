"""What arms score on their own: means, rates of hits, and gains as parts of the champion's mean."""

import math
from typing import Any

import numpy as np
import pytest

from domain.experiments.bernoulli import rate_sequence
from domain.experiments.levels import Level, Scored, levels
from domain.experiments.moments import Moments
from domain.experiments.performance import performances
from domain.experiments.plan import ExperimentPlan
from domain.experiments.ramps import planned
from domain.experiments.state import ExperimentState
from domain.experiments.step import step
from domain.experiments.verdict import report, standings
from domain.judgement.path import scored
from tests.experiments.streams import Body, arm, plan, windows

HIGHER = {"metric": "y", "direction": "increase"}
HITS = {"metric": "hit", "direction": "increase"}


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def lived(chosen: ExperimentPlan, arms: list[dict[str, Body]]) -> tuple[Scored, dict[str, Any]]:
    """What the arms scored, and the numbers after the last window; a verdict does not end it."""
    state = ExperimentState()
    for window in windows(arms):
        state, _ = step(chosen, state, window)
        assert state.verdict is None
    return scored(windows(arms)), report(chosen, state, standings(chosen, state))


def split(seed: int, base: float, gain: float, sd: float = 1.0, count: int = 30) -> list[dict[str, Body]]:
    source = generator(seed)
    return [
        {
            "champion": arm({"y": base + sd * source.standard_normal(60)}),
            "challenger-1": arm({"y": base + gain + sd * source.standard_normal(60)}),
        }
        for _ in range(count)
    ]


def undecided(**fields: Any) -> ExperimentPlan:
    """Ends with no verdict in these tests."""
    return plan(**({"primary": HIGHER, "harm": [], "minimums": {"batches": 10_000}} | fields))


def test_a_lift_is_the_gain_as_a_part_of_the_champions_mean() -> None:
    chosen = undecided()
    own, numbers = lived(chosen, split(1, 20.0, 1.0))
    found = levels(chosen, own, numbers)
    primary = numbers["treatments"]["challenger-1"]["primary"]
    champion, challenger = found["champion"], found["challenger-1"]
    assert (champion.lift, champion.rate_lower, champion.n) == (None, None, 1_800)
    assert challenger.lift == pytest.approx(primary["estimate"] / champion.mean)
    assert challenger.lift == pytest.approx(challenger.mean / champion.mean - 1, rel=1e-9)
    assert challenger.lift_lower is not None
    assert challenger.lift_upper is not None
    assert challenger.lift_lower < 0.05 < challenger.lift_upper
    # nearly those of the gain, whose base is known to a part in a thousand
    assert challenger.lift_lower == pytest.approx(primary["lower"] / champion.mean, rel=0.02)
    assert challenger.lift_upper == pytest.approx(primary["upper"] / champion.mean, rel=0.02)


def test_less_of_what_should_fall_is_a_positive_lift() -> None:
    falling = undecided(primary={"metric": "y", "direction": "decrease"})
    up = levels(undecided(), *lived(undecided(), split(2, 20.0, 1.0)))["challenger-1"]
    down = levels(falling, *lived(falling, split(2, 20.0, 1.0)))["challenger-1"]
    assert up.lift is not None
    assert down.lift is not None
    assert down.lift_lower is not None
    assert up.lift_upper is not None
    assert down.lift == pytest.approx(-up.lift)
    assert down.lift_lower == pytest.approx(-up.lift_upper)


@pytest.mark.parametrize("base", [0.0, 0.05, -20.0])
def test_there_is_no_part_of_a_mean_that_is_not_clearly_above_zero(base: float) -> None:
    chosen = undecided()
    found = levels(chosen, *lived(chosen, split(3, base, 0.1)))["challenger-1"]
    assert (found.lift, found.lift_lower, found.lift_upper) == (None, None, None)
    assert found.mean == pytest.approx(base + 0.1, abs=0.15)


def test_hits_have_bounds_of_their_own_rate() -> None:
    chosen, source = undecided(primary=HITS), generator(4)
    bodies = [
        {
            name: arm({"hit": source.binomial(1, rate, 100).astype(float)})
            for name, rate in (("champion", 0.5), ("challenger-1", 0.55))
        }
        for _ in range(30)
    ]
    own, numbers = lived(chosen, bodies)
    for name, level in levels(chosen, own, numbers).items():
        hits = round(own[name]["hit"].mean * 3_000)
        expected = rate_sequence(hits, 3_000, chosen.alpha, chosen.n_star / 2)
        assert (level.rate_lower, level.rate_upper) == (expected.lower, expected.upper)
        assert expected.lower < level.mean < expected.upper


def test_before_there_is_evidence_there_are_means_and_no_lift() -> None:
    chosen = undecided()
    own, numbers = lived(chosen, split(5, 20.0, 1.0, count=3))
    assert levels(chosen, own, numbers)["challenger-1"].lift is None
    assert levels(chosen, own, None)["challenger-1"].mean == own["challenger-1"]["y"].mean
    assert levels(chosen, {}, None) == {}
    assert levels(chosen, {"champion": {"z": Moments(3, 1.0, 1.0)}}, None) == {}


def test_a_ratio_has_no_level() -> None:
    ratio = {"metric": "profit", "denominator": "volume", "direction": "increase"}
    chosen = undecided(strategy="USER_SEGMENT", primary=ratio)
    assert levels(chosen, {"champion": {"profit": Moments(3, 1.0, 1.0)}}, None) == {}


def test_bounds_of_a_lift_are_wrong_at_any_look_in_at_most_alpha_of_the_runs() -> None:
    chosen, runs, wrong = undecided(), 60, 0
    for seed in range(runs):
        state, sides = ExperimentState(), set()
        own: dict[str, dict[str, Moments]] = {}
        for window in windows(split(100 + seed, 5.0, 0.5, count=40)):
            state, _ = step(chosen, state, window)
            for name, arms in scored([window]).items():
                known = own.setdefault(name, {})
                known["y"] = known.get("y", Moments()) + arms["y"]
            numbers = report(chosen, state, standings(chosen, state))
            found = levels(chosen, own, numbers)["challenger-1"]
            if found.lift_lower is not None and found.lift_upper is not None:
                sides |= {"lower"} if found.lift_lower > 0.1 else set()
                sides |= {"upper"} if found.lift_upper < 0.1 else set()
        wrong += len(sides)
    # of two sides; three standard errors of chance
    share = 2 * chosen.alpha
    assert wrong / runs <= share + 3 * math.sqrt(share / runs)


def test_performance_tells_levels_where_they_are_asked_for() -> None:
    chosen = undecided()
    own, numbers = lived(chosen, split(6, 20.0, 1.0))
    known = levels(chosen, own, numbers)
    champion, challenger = performances(chosen, planned(chosen), numbers, known)
    assert champion.level == known["champion"]
    assert challenger.to_json()["level"]["lift"] == known["challenger-1"].lift
    (plain, _) = performances(chosen, planned(chosen), numbers)
    assert plain.level is None
    assert "level" not in plain.to_json()
    assert isinstance(known["champion"], Level)
