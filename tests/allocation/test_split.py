"""Shares become buckets: exact sizes, and no unit moves that need not."""

from operator import ne

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.allocation.buckets import BUCKETS
from domain.allocation.split import Arm, InvalidSplit, Split, split_of

shares = st.integers(0, BUCKETS).map(lambda buckets: buckets / BUCKETS)


def two(share: float) -> Split:
    return split_of(
        [
            Arm(name="champion", share=1 - share, champion=True),
            Arm(name="challenger", share=share, champion=False),
        ]
    )


def many(challengers: list[float]) -> Split:
    arms = [Arm(name=f"c{at}", share=share, champion=False) for at, share in enumerate(challengers)]
    return split_of([*arms, Arm(name="champion", share=max(0.0, 1 - sum(challengers)), champion=True)])


def owners(split: Split) -> list[str]:
    ends = (*split.starts[1:], BUCKETS)
    ranges = zip(split.starts, ends, split.names, strict=True)
    return [name for start, end, name in ranges for _ in range(end - start)]


def moved(before: Split, after: Split) -> int:
    return sum(map(ne, owners(before), owners(after)))


def test_the_owner_of_a_bucket_is_found_at_both_ends_of_its_range() -> None:
    split = many([0.1, 0.2])
    for bucket in {at + by for at in (*split.starts, BUCKETS) for by in (-1, 0)} & set(range(BUCKETS)):
        assert split.arm_of(bucket) == owners(split)[bucket]


@given(shares)
def test_an_arm_owns_its_share_of_the_buckets(share: float) -> None:
    assert two(share).size_of("challenger") == round(share * BUCKETS)
    assert two(share).size_of("champion") == BUCKETS - round(share * BUCKETS)


@given(shares, shares)
def test_with_one_challenger_only_the_changed_share_moves(before: float, after: float) -> None:
    assert moved(two(before), two(after)) == abs(round(before * BUCKETS) - round(after * BUCKETS))


@given(st.lists(st.tuples(st.integers(0, 2_500), st.integers(0, 2_500)), min_size=4, max_size=4))
def test_with_four_challengers_of_at_most_a_quarter_only_the_changed_shares_move(
    ramp: list[tuple[int, int]],
) -> None:
    before, after = ([sizes[side] / BUCKETS for sizes in ramp] for side in (0, 1))
    assert moved(many(before), many(after)) == sum(abs(old - new) for old, new in ramp)


@given(st.lists(st.integers(0, 100), min_size=2, max_size=6).filter(any))
def test_every_bucket_has_one_owner_whatever_the_shares(weights: list[int]) -> None:
    total = sum(weights)
    arms = [Arm(name=f"v{n}", share=w / total, champion=n == 0) for n, w in enumerate(weights)]
    split = split_of(arms)
    assert sum(split.size_of(arm.name) for arm in arms) == BUCKETS
    assert all(abs(split.size_of(arm.name) - arm.share * BUCKETS) <= len(arms) for arm in arms)
    assert all(split.size_of(arm.name) == 0 for arm in arms if arm.share == 0)


def test_a_ramp_never_takes_a_unit_from_the_challenger() -> None:
    owned: set[int] = set()
    for share in (0.05, 0.1, 0.25, 0.5, 1.0):
        now = {bucket for bucket, name in enumerate(owners(two(share))) if name == "challenger"}
        assert owned <= now
        owned = now


@pytest.mark.parametrize(
    ("arms", "problem"),
    [
        ([("a", 0.5, False), ("b", 0.5, False)], "exactly one arm must be the champion"),
        ([("a", 0.5, True), ("a", 0.5, False)], "same name"),
        ([("a", 0.5, True), ("b", 0.4, False)], "add up to 1, not 0.9"),
        ([("a", 1.5, True), ("b", -0.5, False)], "between 0 and 1"),
        ([("a", float("nan"), True)], "between 0 and 1"),
    ],
)
def test_arms_that_cannot_share_the_traffic_are_refused(
    arms: list[tuple[str, float, bool]], problem: str
) -> None:
    with pytest.raises(InvalidSplit, match=problem):
        split_of([Arm(name=name, share=share, champion=champion) for name, share, champion in arms])
