"""e-SR on expected errors: is the performance expected to be worse than promised, before outcomes arrive?

What is judged is CBPE's estimate (`cbpe`): it moves when inputs move to where the model is less sure, and is
blind to changes of P(y | x). A finding is therefore a warning to look at, never a ground for promotion or
roll-back.

Each figure is one minus bad mass over all mass: wrong of all answers (accuracy), FP of TP + FP (precision),
FN of TP + FN (recall), (FP + FN)/2 of TP + (FP + FN)/2 (F1). An item brings at most mass one, split into bad
b and good g, and e^(b u + g v) <= 1 + b (e^u - 1) + g (e^v - 1) by convexity; so `promise`'s bet on the mass,
which need not be whole numbers, has expectation at most one while the expected bad share is at most the
tolerated one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from domain.drift import promise
from domain.drift.cbpe import ExpectedConfusion
from domain.drift.esr import check_sizes
from domain.drift.promise import SIZES, PromiseFinding, PromiseState
from domain.errors import InvalidField
from domain.plain import Json, read, write

Figure = Literal["accuracy", "precision", "recall", "f1"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatePolicy:
    """The expected `figure` shall not be below `baseline` by more than `tolerance`."""

    figure: Figure = "accuracy"
    baseline: float | None = None
    """None: what the reference profile measured."""
    tolerance: float
    false_alarms_per_window: float = 1e-4
    sizes: tuple[float, ...] = SIZES
    """Alternatives beyond the tolerance, in standard deviations of one item."""

    def __post_init__(self) -> None:
        owner = "EstimatePolicy"
        if self.baseline is not None and not 0 < self.baseline <= 1:
            raise InvalidField(owner, "baseline", "> 0 and <= 1, or null", self.baseline)
        if not 0 < self.tolerance < 1:
            raise InvalidField(owner, "tolerance", "> 0 and < 1", self.tolerance)
        if self.baseline is not None and self.tolerance >= self.baseline:
            raise InvalidField(owner, "tolerance", "below the baseline", self.tolerance)
        if not 0 < self.false_alarms_per_window < 1:
            raise InvalidField(owner, "false_alarms_per_window", "> 0 and < 1", self.false_alarms_per_window)
        check_sizes(owner, self.sizes)

    def to_json(self) -> Json:
        return write(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "EstimatePolicy":
        return read(cls, data)


def mass(figure: Figure, window: ExpectedConfusion) -> tuple[float, float]:
    """All mass and bad mass of a window: the figure is 1 - bad / all."""
    wrong = window.fp + window.fn
    match figure:
        case "accuracy":
            return window.n, wrong
        case "precision":
            return window.n1, window.fp
        case "recall":
            return window.tp + window.fn, window.fn
        case "f1":
            return window.tp + wrong / 2, wrong / 2


def step(
    policy: EstimatePolicy,
    state: PromiseState,
    window: ExpectedConfusion,
    baseline: float,
    phi: float = 1.0,
    baseline_n: float = math.inf,
) -> tuple[PromiseState, PromiseFinding | None]:
    """Add one closed window's expected confusion matrix.

    `baseline` is the policy's, or the profile's figure if that is None; then `baseline_n` is the mass it was
    measured on, and the tolerance at least three of its standard errors. The finding's mean, baseline and
    tolerated are in the figure's unit, its sample_size is mass. A window without mass changes nothing.
    """
    p0 = min(1.0, max(0.0, 1.0 - baseline))
    tolerated = promise.tolerated_rate(p0, policy.tolerance, phi, baseline_n)
    everything, bad = mass(policy.figure, window)
    on = promise.bets(p0, tolerated, policy.sizes)
    after, log_e, run = promise.fold(state, on, everything, bad, phi, policy.false_alarms_per_window)
    if run is None:
        return after, None
    return after, PromiseFinding(
        metric=policy.figure,
        log_e=log_e,
        threshold=-math.log(policy.false_alarms_per_window),
        mean=1.0 - run.bad / run.items,
        baseline=baseline,
        tolerated=1.0 - tolerated,
        evidence_windows=run.windows,
        sample_size=run.items,
        phi=phi,
    )
