"""Bucket-ADWIN: has the level of an error stream changed, and which way?

ADWIN2 (Bifet & Gavaldà 2007) keeps an exponential histogram of items and drops its oldest part when two
sub-windows have different means. Here the smallest bucket is a closed window's tally (n, mean, M2), so a
window costs one step however many items it has, and delays are those of the item-level detector.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from domain.errors import InvalidField
from domain.plain import Json, read, write


@dataclass(frozen=True, slots=True, kw_only=True)
class AdwinPolicy:
    """`delta` is the confidence of a cut, `phi` the overdispersion, `scale` the range of one item's value."""

    delta: float = 0.002
    cap: int = 5
    """Buckets per size before the two oldest merge."""
    min_windows: int = 2
    """Windows to have seen, and still to hold, before anything is tested."""
    phi: float = 1.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        owner = "AdwinPolicy"
        if not 0 < self.delta < 1:
            raise InvalidField(owner, "delta", "> 0 and < 1", self.delta)
        if self.cap < 2:
            raise InvalidField(owner, "cap", ">= 2", self.cap)
        if self.min_windows < 2:
            raise InvalidField(owner, "min_windows", ">= 2", self.min_windows)
        if not self.phi >= 1:
            raise InvalidField(owner, "phi", ">= 1", self.phi)
        if not self.scale >= 0:
            raise InvalidField(owner, "scale", ">= 0", self.scale)

    def to_json(self) -> Json:
        return write(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "AdwinPolicy":
        return read(cls, data)


@dataclass(frozen=True, slots=True)
class Bucket:
    """2**level windows merged into one tally."""

    level: int
    n: int
    mean: float
    M2: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AdwinState:
    """Buckets, oldest first; sizes never grow towards the newest."""

    buckets: tuple[Bucket, ...] = ()

    @property
    def n(self) -> int:
        """Items in the window that ADWIN holds to be of one level."""
        return sum(bucket.n for bucket in self.buckets)

    @property
    def mean(self) -> float | None:
        """Present level of the stream; None before the first item."""
        if not self.buckets:
            return None
        return math.fsum(bucket.n * bucket.mean for bucket in self.buckets) / self.n

    def to_json(self) -> Json:
        return {"buckets": [[b.level, b.n, b.mean, b.M2] for b in self.buckets]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "AdwinState":
        return cls(buckets=tuple(Bucket(level, n, mean, M2) for level, n, mean, M2 in data["buckets"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class AdwinFinding:
    """The clearest cut of this step. Only an upward one means that an error got worse."""

    upward: bool
    mean_before: float
    mean_after: float
    statistic: float
    """Absolute difference of the two means."""
    threshold: float
    sample_size: int
    """Items on both sides of the cut."""
    windows_after: int
    """Windows on its newer side."""


def step(
    policy: AdwinPolicy, state: AdwinState, n: int, mean: float, M2: float
) -> tuple[AdwinState, AdwinFinding | None]:
    """Add one closed window of `n` values with this mean and sum of squared deviations.

    While some cut separates two levels the oldest bucket is dropped, whichever way the level moved. An empty
    window changes nothing.
    """
    if n <= 0:
        return state, None
    buckets = _compressed([*state.buckets, Bucket(0, n, mean, M2)], policy.cap)
    found = None
    while sum(2**bucket.level for bucket in buckets) >= policy.min_windows:
        cut = _clearest_cut(policy, buckets)
        if cut is None:
            break
        found = found or cut
        del buckets[0]
    return AdwinState(buckets=tuple(buckets)), found


def _merged(a: Bucket, b: Bucket, level: int = 0) -> Bucket:
    """Chan's update of count, mean and sum of squares."""
    n = a.n + b.n
    gap = b.mean - a.mean
    return Bucket(level, n, a.mean + gap * b.n / n, a.M2 + b.M2 + gap * gap * a.n * b.n / n)


def _compressed(buckets: list[Bucket], cap: int) -> list[Bucket]:
    level = 0
    while True:
        same = [i for i, bucket in enumerate(buckets) if bucket.level == level]
        if len(same) <= cap:
            return buckets
        first, second = same[:2]
        buckets[first : second + 1] = [_merged(buckets[first], buckets[second], level + 1)]
        level += 1


def _clearest_cut(policy: AdwinPolicy, buckets: Sequence[Bucket]) -> AdwinFinding | None:
    """The cut with the largest ratio of difference to threshold, if that ratio exceeds one."""
    total = buckets[0]
    for bucket in buckets[1:]:
        total = _merged(total, bucket)
    variance = total.M2 / total.n
    confidence = math.log(2 * math.log(max(total.n, 3)) / policy.delta)
    best: AdwinFinding | None = None
    old = buckets[0]
    windows_after = sum(2**bucket.level for bucket in buckets)
    for before, bucket in pairwise(buckets):
        windows_after -= 2**before.level
        new_n = total.n - old.n
        new_mean = (total.mean * total.n - old.mean * old.n) / new_n
        spread = policy.phi * (1 / old.n + 1 / new_n)
        threshold = math.sqrt(2 * spread * variance * confidence) + 2 / 3 * spread * confidence * policy.scale
        gap = abs(old.mean - new_mean)
        if gap > threshold and (best is None or gap * best.threshold > best.statistic * threshold):
            best = AdwinFinding(
                upward=new_mean > old.mean,
                mean_before=old.mean,
                mean_after=new_mean,
                statistic=gap,
                threshold=threshold,
                sample_size=total.n,
                windows_after=windows_after,
            )
        old = _merged(old, bucket)
    return best
