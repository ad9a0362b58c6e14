"""Whole assignments never move: golden vectors that routers in other languages can be held to."""

import json
from pathlib import Path
from typing import Any

import pytest

from domain.allocation.assign import Allocation, TimeMissing
from domain.allocation.split import Arm, InvalidSplit

CASES = json.loads((Path(__file__).parent / "assignments.json").read_text(encoding="utf-8"))
ARMS = [Arm(name="old", share=0.8, champion=True), Arm(name="new", share=0.2, champion=False)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['strategy']}-{case['salt']}")
def test_an_assignment_is_the_same_as_on_the_day_it_was_written_down(case: dict[str, Any]) -> None:
    arms = [Arm(**arm) for arm in case["arms"]]
    allocation = Allocation(
        case["strategy"], case["salt"], arms, segments=case["segments"], period_ms=case.get("period_ms")
    )
    for request in case["requests"]:
        answers = allocation.answers(
            request["prediction_id"],
            request["unit"],
            segment=request.get("segment"),
            at_ms=request.get("at_ms"),
        )
        assert [{"arm": each.arm, "served": each.served} for each in answers] == request["answers"]


def test_named_segments_split_their_units_as_user_segment_would_and_no_others() -> None:
    everyone = Allocation("USER_SEGMENT", "salt", ARMS)
    named = Allocation("NAMED_SEGMENTS", "salt", ARMS, segments=["vip"])
    for unit in (f"u{n}" for n in range(200)):
        assert named.answers("r", unit, segment="vip") == everyone.answers("r", unit)
        assert named.answers("r", unit, segment="retail") == named.answers("r", unit) == ()


@pytest.mark.parametrize("strategy,segments", [("NAMED_SEGMENTS", []), ("USER_SEGMENT", ["vip"])])
def test_segments_and_their_strategy_belong_together(strategy: str, segments: list[str]) -> None:
    with pytest.raises(InvalidSplit, match="segments"):
        Allocation(strategy, "salt", ARMS, segments=segments)


def test_a_unit_keeps_its_arm_for_a_period_and_is_drawn_anew_in_the_next() -> None:
    allocation = Allocation("SWITCHBACK", "salt", ARMS, period_ms=1_000)

    def arm(at_ms: int, unit: str | None) -> str:
        return allocation.answers(f"r{at_ms}", unit, at_ms=at_ms)[0].arm

    for unit in (None, "BRENT"):
        periods = [{arm(1_000 * period + at, unit) for at in (0, 500, 999)} for period in range(2_000)]
        assert all(len(arms) == 1 for arms in periods)
        # binomial sd of a fifth of 2,000 is 18: four of them
        assert abs(sum(arms == {"new"} for arms in periods) - 400) < 72
    together = sum(arm(1_000 * period, None) == arm(1_000 * period, "BRENT") for period in range(2_000))
    assert abs(together - 0.68 * 2_000) < 90, "units switch on their own"


def test_a_switchback_needs_a_period_and_the_time_of_each_request() -> None:
    for strategy, period_ms in (("SWITCHBACK", None), ("SWITCHBACK", 0), ("USER_SEGMENT", 1_000)):
        with pytest.raises(InvalidSplit, match="period"):
            Allocation(strategy, "salt", ARMS, period_ms=period_ms)
    with pytest.raises(TimeMissing, match="'r1' names no time"):
        Allocation("SWITCHBACK", "salt", ARMS, period_ms=1_000).answers("r1")
