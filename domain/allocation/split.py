"""Which arm owns which buckets, so that a ramp moves as few units as it must.

The split is a function of the shares alone: whoever knows an experiment's current shares knows every arm's
buckets, without the history of the ramp. Each of m challengers owns the start of its own m-th part of the
buckets and grows into it; the champion has the rest. While every challenger has at most 1/m of the traffic
(with one challenger: always), a change of shares moves exactly the buckets that change their share.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from .buckets import BUCKETS

# of a share of 0.07 as a float only 699.9999… buckets are left
_ROUNDING = 1e-6


class InvalidSplit(ValueError):
    """Arms that cannot be given traffic; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One variant and its share of the traffic, 0..1."""

    name: str
    share: float
    champion: bool


@dataclass(frozen=True, slots=True)
class Split:
    """Consecutive ranges of buckets: `names[i]` owns the buckets from `starts[i]` to the next start."""

    starts: tuple[int, ...]
    names: tuple[str, ...]

    def arm_of(self, bucket: int) -> str:
        """The arm that owns `bucket` (0..9,999)."""
        return self.names[bisect_right(self.starts, bucket) - 1]

    def size_of(self, name: str) -> int:
        """How many buckets the arm owns."""
        ends = (*self.starts[1:], BUCKETS)
        return sum(
            end - start
            for start, end, owner in zip(self.starts, ends, self.names, strict=True)
            if owner == name
        )


def split_of(arms: Sequence[Arm]) -> Split:
    """The split of `arms`, exactly one of them the champion. Raises InvalidSplit."""
    _check(arms)
    champion = next(arm.name for arm in arms if arm.champion)
    sizes = _sizes(arms)
    owners = _owners([(arm.name, sizes[arm.name]) for arm in arms if not arm.champion], champion)
    starts = [0] + [at for at in range(1, BUCKETS) if owners[at] != owners[at - 1]]
    return Split(tuple(starts), tuple(owners[at] for at in starts))


def _owners(challengers: Sequence[tuple[str, int]], champion: str) -> list[str]:
    owners = [champion] * BUCKETS
    overflow: list[str] = []
    for index, (name, size) in enumerate(challengers):
        start, end = (BUCKETS * at // len(challengers) for at in (index, index + 1))
        inside = min(size, end - start)
        owners[start : start + inside] = [name] * inside
        overflow += [name] * (size - inside)
    # what does not fit at home takes the champion's last buckets, which challengers at home reach last
    free = [at for at in range(BUCKETS - 1, -1, -1) if owners[at] == champion]
    for at, name in zip(free, overflow, strict=False):
        owners[at] = name
    return owners


def _sizes(arms: Sequence[Arm]) -> dict[str, int]:
    """Whole buckets per arm; what rounding leaves goes to the champion, without its share to the others."""
    sizes = {arm.name: math.floor(arm.share * BUCKETS + _ROUNDING) for arm in arms}
    left = BUCKETS - sum(sizes.values())
    takers = [arm.name for arm in arms if arm.champion and arm.share > 0] or [
        arm.name for arm in arms if arm.share > 0
    ]
    for turn in range(left):
        sizes[takers[turn % len(takers)]] += 1
    return sizes


def _check(arms: Sequence[Arm]) -> None:
    if sum(arm.champion for arm in arms) != 1:
        raise InvalidSplit("exactly one arm must be the champion")
    if len({arm.name for arm in arms}) != len(arms):
        raise InvalidSplit("two arms have the same name")
    if any(not 0 <= arm.share <= 1 for arm in arms):
        raise InvalidSplit("a share must be between 0 and 1")
    total = math.fsum(arm.share for arm in arms)
    if abs(total - 1) > _ROUNDING:
        raise InvalidSplit(f"the shares must add up to 1, not {total:g}")
