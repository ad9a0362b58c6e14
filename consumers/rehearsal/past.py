"""A model's past in the order of time, and the blocks of it that a rehearsal is made of."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from consumers.rehearsal.windows import Frame, Generator, PairedWindow, PastWindow, TalliedWindow
from domain.experiments.plan import ExperimentPlan

DAY_MS = 86_400_000
PARTS = 10
"""Windows that hold less than this part of a batch are joined, so a batch ends at most that much later."""
BLOCK_BATCHES = 4
"""A block is at least so many batches long, so that what a batch sees depends on time as it did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """Windows in order of time. `length_ms` is from the first one's start to the last one's end."""

    windows: Sequence[PastWindow]

    @property
    def start_ms(self) -> int:
        return self.windows[0].start_ms

    @property
    def length_ms(self) -> int:
        return max(window.end_ms for window in self.windows) - self.start_ms

    def count(self, metric: str) -> int:
        """Outcomes of `metric`."""
        return sum(window.moments(metric).n for window in self.windows)

    @property
    def arrived_share(self) -> float:
        """Part of the predictions whose outcome came in time."""
        predictions = sum(window.predictions[0] for window in self.windows)
        arrived = sum(window.predictions[1] for window in self.windows)
        return arrived / predictions if predictions else 1.0

    def mean(self, metric: str) -> float:
        """Of all outcomes; NaN of none."""
        found = [window.moments(metric) for window in self.windows]
        n = sum(each.n for each in found)
        return math.fsum(each.n * each.mean for each in found) / n if n else math.nan

    def variance(self, metric: str) -> float:
        """Of one outcome inside its window, which is what comparing inside batches leaves; NaN of none."""
        found = [window.moments(metric) for window in self.windows]
        freedom = sum(max(0, each.n - 1) for each in found)
        return math.fsum(each.M2 for each in found) / freedom if freedom else math.nan

    def in_order(self) -> Iterator[tuple[int, PastWindow, int]]:
        """From its beginning, and again, without an end: (round, window, how much later it takes place)."""
        length, turn = self.length_ms, 0
        while True:
            for window in self.windows:
                yield turn, window, turn * length
            turn += 1

    def in_blocks(self, block_ms: int, source: Generator) -> Iterator[tuple[int, PastWindow, int]]:
        """Blocks of consecutive windows from random places, one after the other, without an end.

        A block lasts `block_ms`, times without traffic included; at the past's end it goes on at its
        beginning (circular block bootstrap: Politis & Romano 1992). Inside a block windows depend on each
        other as they did, however slowly they change; from one block to the next they do not.
        """
        length, turn = self.length_ms, 0
        while True:
            first = int(source.integers(len(self.windows)))
            from_ms = self.windows[first].start_ms
            for step in range(len(self.windows)):
                at = first + step
                window = self.windows[at % len(self.windows)]
                round_ms = length if at >= len(self.windows) else 0
                if window.start_ms + round_ms - from_ms >= block_ms:
                    break
                yield turn, window, turn * block_ms + round_ms - (from_ms - self.start_ms)
            turn += 1


def block_ms(past: Past, plan: ExperimentPlan) -> int:
    """Four batches, by traffic and by label horizon, or a day if that is longer; at most the whole past."""
    outcomes = max(1, past.count(plan.primary.metric))
    batch_ms = past.length_ms * plan.batch.min_outcomes / outcomes
    needed_ms = max(_needed_ms(window.horizon_s, plan) for window in past.windows)
    wanted = max(BLOCK_BATCHES * max(batch_ms, needed_ms), DAY_MS)
    return min(past.length_ms, round(wanted))


W = TypeVar("W", TalliedWindow, PairedWindow)


def joined(windows: Sequence[W], plan: ExperimentPlan) -> list[W]:
    """Neighbours together until they hold a tenth of a batch: a batch needs both outcomes and time, so they
    are joined while either is below its tenth. A rehearsal then costs the same however short windows are."""
    found: list[W] = []
    for window in windows:
        last = found[-1] if found else None
        if last is not None and small(last.frame, last.moments(plan.primary.metric).n, plan):
            found[-1] = last.joined(window)
        else:
            found.append(window)
    return found


def small(frame: Frame, outcomes: int, plan: ExperimentPlan) -> bool:
    """Whether a window is less than a tenth of a batch."""
    needed_ms = _needed_ms(frame.horizon_s, plan)
    few = outcomes * PARTS < plan.batch.min_outcomes
    return few or (frame.end_ms - frame.start_ms) * PARTS < needed_ms


def outcomes_of_batch(past: Past, plan: ExperimentPlan) -> float:
    """How many a batch has in this traffic."""
    needed_ms = max(_needed_ms(window.horizon_s, plan) for window in past.windows)
    traffic = past.count(plan.primary.metric) * needed_ms / past.length_ms
    return max(traffic, plan.batch.min_outcomes)


def _needed_ms(horizon_s: int, plan: ExperimentPlan) -> float:
    """The least that a batch lasts by the plan's rule."""
    return plan.batch.horizon_multiple * max(horizon_s * 1_000, plan.period_ms or 0)


def moved(window: PastWindow, by_ms: int, not_before_ms: int) -> Frame:
    """When it takes place in a rehearsal; outcomes are complete in the order of windows."""
    frame = Frame(
        start_ms=window.start_ms + by_ms,
        end_ms=window.end_ms + by_ms,
        due_ms=window.due_ms + by_ms,
        horizon_s=window.horizon_s,
    )
    return frame if frame.due_ms >= not_before_ms else replace(frame, due_ms=not_before_ms)
