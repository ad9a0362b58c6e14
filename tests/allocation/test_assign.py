"""Who answers and who is served, by strategy."""

import pytest

from domain.allocation.assign import Allocation, Answer, UnitMissing
from domain.allocation.split import Arm, InvalidSplit

ARMS = [Arm(name="old", share=0.8, champion=True), Arm(name="new", share=0.2, champion=False)]


def test_a_percentage_split_draws_by_request() -> None:
    allocation = Allocation("PERCENTAGE_SPLIT", "salt", ARMS)
    drawn = [allocation.answers(f"r{n}", "same unit")[0].arm for n in range(5_000)]
    # binomial sd of a fifth of 5,000 is 28: four of them
    assert abs(drawn.count("new") - 1_000) < 115


def test_a_user_segment_keeps_a_unit_with_its_arm() -> None:
    allocation = Allocation("USER_SEGMENT", "salt", ARMS)
    for unit in ("BRENT", "WTI", "GAS"):
        assert len({allocation.answers(f"r{n}", unit) for n in range(50)}) == 1


def test_a_user_segment_refuses_a_request_without_a_unit() -> None:
    with pytest.raises(UnitMissing, match="'r1' names no unit"):
        Allocation("USER_SEGMENT", "salt", ARMS).answers("r1")


def test_in_shadow_mode_all_answer_and_the_champion_is_served() -> None:
    arms = [Arm(name="old", share=1, champion=True), Arm(name="new", share=1, champion=False)]
    answers = Allocation("SHADOW_MODE", "salt", arms).answers("r1")
    assert answers == (Answer("old", True), Answer("new", False))


@pytest.mark.parametrize("strategy", ["PERCENTAGE_SPLIT", "USER_SEGMENT", "SHADOW_MODE"])
def test_exactly_one_answer_is_served(strategy: str) -> None:
    allocation = Allocation(strategy, "salt", ARMS)
    assert all(sum(a.served for a in allocation.answers(f"r{n}", f"u{n}")) == 1 for n in range(200))


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(InvalidSplit, match="BY_MOON"):
        Allocation("BY_MOON", "salt", ARMS)


def test_a_shadow_without_a_champion_is_refused() -> None:
    with pytest.raises(InvalidSplit, match="champion"):
        Allocation("SHADOW_MODE", "salt", [Arm(name="new", share=1, champion=False)])
