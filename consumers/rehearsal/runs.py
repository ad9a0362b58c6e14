"""Many rehearsals of one plan, each from a generator of its own: run k of a seed is the same whatever the
number of runs, and effects are compared on the same pasts."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from consumers.rehearsal import synthetic
from consumers.rehearsal.arms import Arms, Effect
from consumers.rehearsal.past import Past, outcomes_of_batch
from consumers.rehearsal.play import Ended, play
from domain.errors import InvalidField
from domain.experiments.measure import POWER
from domain.experiments.plan import ExperimentPlan
from domain.experiments.state import weight_per_outcome

PATIENCE = 5
"""A plan without any horizon of its own is given up after so many times n_star outcomes."""
LONGEST = 20
"""Any plan is after so many times: its mde may be out of reach."""


def limit_of(plan: ExperimentPlan, outcomes_of_batch: float = 0.0) -> int:
    """Outcomes after which a rehearsal is given up, in a traffic that gives so many to a batch. A plan's own
    horizon comes earlier."""
    if plan.max_outcomes is not None:
        return plan.max_outcomes + plan.batch.min_outcomes
    least = PATIENCE * plan.minimums.batches * max(outcomes_of_batch, plan.batch.min_outcomes)
    bounded = plan.mde is not None or plan.max_duration_ms is not None
    return math.ceil(max(plan.n_star * (LONGEST if bounded else PATIENCE), least))


def no_effect(plan: ExperimentPlan, base_rate: float | None = None) -> Effect:
    """The best challenger that must not be promoted: equal, or worse by the margin that a goal allows."""
    return Effect(gain=-plan.primary.margin, base_rate=base_rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsals:
    """Of one plan. `seed` and the run's number are all that a run's randomness depends on."""

    plan: ExperimentPlan
    seed: int

    def over(
        self, past: Past, effect: Effect, runs: int, *, block_ms: int | None, units: Sequence[str] = ()
    ) -> Iterator[Ended]:
        """Over blocks of a past; without `block_ms` over the past as it was, so that only the arms differ."""
        limit = limit_of(self.plan, outcomes_of_batch(past, self.plan))
        for run in range(runs):
            source = self._source(run)
            windows = past.in_order() if block_ms is None else past.in_blocks(block_ms, source)
            arms = Arms(self.plan, effect, units, f"{self.seed}/{run}", source)
            yield play(self.plan, windows, arms, limit, source)

    def made_up(self, mode: str, effect: Effect, runs: int, scales: Mapping[str, float]) -> Iterator[Ended]:
        """Over a made-up past for each run."""
        limit = limit_of(self.plan)
        for run in range(runs):
            source = self._source(run)
            windows = synthetic.windows(self.plan, mode, scales, source)
            arms = Arms(self.plan, effect, synthetic.units_of(self.plan), f"{self.seed}/{run}", source)
            yield play(self.plan, windows, arms, limit, source)

    def _source(self, run: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, run])))


def fixed_size(plan: ExperimentPlan, gain: float, variance: float) -> int | None:
    """Outcomes that a test of fixed size needs for the gain with power 0.8; `variance` of one outcome, or of
    one difference under SHADOW_MODE. None without a gain, and where units or periods are split: their
    outcomes are no sample."""
    if not gain or plan.strategy in ("USER_SEGMENT", "SWITCHBACK") or not variance > 0:
        return None
    return math.ceil(
        (_reach(plan) / gain) ** 2 * variance / weight_per_outcome(plan, plan.treatments[0].name)
    )


def default_mde(plan: ExperimentPlan, variance: float) -> float:
    """The plan's, or the gain that a test of n_star outcomes finds with power 0.8; `variance` of one outcome.

    Raises InvalidField for a ratio without an mde: what one outcome adds to a ratio is not known.
    """
    if plan.mde is not None:
        return plan.mde
    if plan.primary.denominator is not None:
        raise InvalidField("ExperimentPlan", "mde", "given where the goal is a ratio", None)
    weight = weight_per_outcome(plan, plan.treatments[0].name)
    return _reach(plan) * math.sqrt(variance / (plan.n_star * weight))


def _reach(plan: ExperimentPlan) -> float:
    return float(ndtri(1 - plan.primary_alpha) + ndtri(POWER))
