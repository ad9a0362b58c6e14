"""How often a plan's rules promote a challenger that is no better: on the model's own past, or a made-up one.

On the log that is an A/A test of the user's own data: each prediction of the champion is put into an arm by
the plan's own allocation, under a salt drawn per run, and scored with the outcome that the windows use. If
the log is shorter than the experiment it is gone through again, as other requests of the same units. Rows do
not know single records: there the windows are resampled in blocks and the arms drawn from their moments.
Under SHADOW_MODE nothing can be relabelled, because both answer: differences are drawn from those of earlier
challengers less their mean, or without any as if two models had nothing in common.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from consumers.rehearsal.arms import Effect
from consumers.rehearsal.past import block_ms
from consumers.rehearsal.play import Ended
from consumers.rehearsal.rates import Rate, Summary, runs_needed
from consumers.rehearsal.runs import Rehearsals, default_mde, no_effect
from consumers.services.pasts import Known
from domain.errors import DomainError
from domain.experiments.plan import BINARY_METRICS, ExperimentPlan

Watched = Callable[[str, int, Iterator[Ended]], Sequence[Ended]]
"""Exhausts the last, which are so many, for somebody who waits: label, how many, rehearsals."""
OWN = "own"
"""The model's own past; all other modes are made up."""


class TooFewRuns(DomainError):
    """Not even without a single false promotion could so few runs show that the plan is calibrated."""

    def __init__(self, runs: int, alpha: float) -> None:
        super().__init__(
            f"{runs} runs cannot show that false promotions are at most {alpha:g}: "
            f"it takes {runs_needed(alpha):,}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One mode's answer."""

    mode: str
    equal: Summary
    """Of a challenger that is no better."""
    better: Summary
    """Of one that is better by the mde."""

    def holds(self, alpha: float) -> bool:
        """Whether the upper bound of its false promotions is at most alpha."""
        return self.equal.promoted.upper <= alpha

    @property
    def power(self) -> Rate:
        return self.better.promoted


def _unwatched(label: str, runs: int, rehearsals: Iterator[Ended]) -> Sequence[Ended]:
    return list(rehearsals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrating:
    """Calibrates one plan."""

    plan: ExperimentPlan
    known: Known | None
    """None if only made-up pasts are asked for."""
    seed: int

    @property
    def mde(self) -> float:
        """Of the primary metric."""
        metric = self.plan.primary.metric
        if self.known is not None:
            return default_mde(self.plan, self.known.variance(self.plan, metric))
        shadow = self.plan.strategy == "SHADOW_MODE"
        scale = 0.5 if metric in BINARY_METRICS else self.scales.get(metric, 1.0)
        return default_mde(self.plan, scale**2 * (2 if shadow else 1))

    @property
    def scales(self) -> Mapping[str, float]:
        """Standard deviations that made-up values take: the plan's, else the past's."""
        pairs = 2 if self.plan.strategy == "SHADOW_MODE" else 1
        found = {}
        for metric in self.plan.metrics:
            variance = self.plan.variances.get(metric)
            if variance is None and self.known is not None:
                variance = self.known.variance(self.plan, metric)
            if variance is not None and variance > 0:
                found[metric] = math.sqrt(variance / pairs)
        return found

    def cell(self, mode: str, runs: int, watched: Watched = _unwatched) -> Cell:
        """`runs` rehearsals without an effect, and a quarter as many with the mde."""
        better = max(1, runs // 4)
        none = no_effect(self.plan, self._base_rate(mode))
        some = Effect(gain=self.mde, base_rate=none.base_rate)
        return Cell(
            mode=mode,
            equal=Summary.of(watched(f"{mode}, equal", runs, self._rehearsed(mode, none, runs))),
            better=Summary.of(watched(f"{mode}, better", better, self._rehearsed(mode, some, better))),
        )

    def _base_rate(self, mode: str) -> float | None:
        if mode == OWN and self.known is not None:
            return self.known.base_rate(self.plan)
        # made-up hits are the larger half
        return 0.5 if self.plan.primary.metric in BINARY_METRICS else None

    def _rehearsed(self, mode: str, effect: Effect, runs: int) -> Iterator[Ended]:
        rehearsals = Rehearsals(plan=self.plan, seed=self.seed)
        if mode != OWN:
            return rehearsals.made_up(mode, effect, runs, self.scales)
        if self.known is None:
            raise ValueError("there is no past")
        past = self.known.past
        block = None if self.known.source == "log" else block_ms(past, self.plan)
        return rehearsals.over(past, effect, runs, block_ms=block, units=self.known.units)
