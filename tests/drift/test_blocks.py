"""Counts of windows add up in any grouping, and a block knows what its part of the season looks like."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.drift.blocks import Block, Seasonal, Tally, add, mixture
from domain.errors import InvalidField

SLOTS = ((60, 30, 10, 0, 0), (10, 30, 160, 0, 0), (0, 0, 0, 0, 0))


def tallied(slots: Sequence[int], n: int = 10) -> Block:
    whole: Block = {}
    for slot in slots:
        tally = Seasonal(slot=slot, references={"x": SLOTS}).tally("x", (n, 0, 0, 0, 0))
        whole = add(whole, {"x": tally} if tally else {})
    return whole


@given(st.lists(st.integers(0, 1), min_size=1), st.data())
def test_any_grouping_gives_the_same_block(slots: list[int], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(slots)))
    assert add(tallied(slots[:cut]), tallied(slots[cut:])) == tallied(slots)


def test_a_block_of_one_slot_is_compared_with_the_slots_own_counts() -> None:
    assert mixture(SLOTS, tallied([0, 0, 0])["x"].items) == SLOTS[0]


def test_a_block_of_two_slots_is_compared_with_their_mixture() -> None:
    """By hand: 30 of 40 items from slot 0 (100 reference items), 10 from slot 1 (200)."""
    expected = mixture(SLOTS, ((0, 30), (1, 10)))
    size = 40**2 / (30**2 / 100 + 10**2 / 200)
    assert math.fsum(expected) == pytest.approx(size)
    assert [cell / size for cell in expected] == pytest.approx([0.4625, 0.2625, 0.275, 0, 0])


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(1, 500)), min_size=1, max_size=6))
def test_a_mixture_is_never_worth_more_than_all_its_slots_together(slots: list[tuple[int, int]]) -> None:
    counts = [(m, 0, 0) for m, _ in slots]
    size = math.fsum(mixture(counts, tuple((slot, n) for slot, (_, n) in enumerate(slots))))
    assert min(m for m, _ in slots) * (1 - 1e-9) <= size <= sum(m for m, _ in slots) * (1 + 1e-9)


def test_slots_that_mix_as_the_reference_did_are_worth_all_of_it() -> None:
    whole = mixture(SLOTS, ((0, 10), (1, 20)))
    assert whole == pytest.approx([70, 60, 170, 0, 0])


def test_what_the_reference_never_saw_is_no_data() -> None:
    assert tallied([2, 0]) == tallied([0])


def test_a_feature_without_counts_per_slot_is_as_without_a_season() -> None:
    assert Seasonal(slot=5, references={}).tally("y", (1, 2)) == Tally((1, 2))


def test_a_block_without_items_has_an_empty_reference() -> None:
    assert mixture(SLOTS, ((0, 0), (1, 0))) == (0.0,) * 5


def test_a_slot_below_zero_is_refused_by_name() -> None:
    with pytest.raises(InvalidField, match=r"Seasonal\.slot must be >= 0"):
        Seasonal(slot=-1)
