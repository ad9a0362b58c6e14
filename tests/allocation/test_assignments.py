"""Whole assignments never move: golden vectors that routers in other languages can be held to."""

import json
from pathlib import Path
from typing import Any

import pytest

from domain.allocation.assign import Allocation
from domain.allocation.split import Arm, InvalidSplit

CASES = json.loads((Path(__file__).parent / "assignments.json").read_text(encoding="utf-8"))
ARMS = [Arm(name="old", share=0.8, champion=True), Arm(name="new", share=0.2, champion=False)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['strategy']}-{case['salt']}")
def test_an_assignment_is_the_same_as_on_the_day_it_was_written_down(case: dict[str, Any]) -> None:
    arms = [Arm(**arm) for arm in case["arms"]]
    allocation = Allocation(case["strategy"], case["salt"], arms, segments=case["segments"])
    for request in case["requests"]:
        answers = allocation.answers(
            request["prediction_id"], request["unit"], segment=request.get("segment")
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
