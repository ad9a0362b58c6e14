"""What a version promised: the policy's figure, or the one that its reference profile measured."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from domain.drift.estimate import EstimatePolicy
from domain.drift.promise import PromisePolicy, badness, tolerated_rate
from domain.judgement.policy import JudgementPolicy
from domain.windows.profile import MetricReference, ReferenceProfile

_HIT = "hit"
CLIPPED = "abs_error_clipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A promised mean, and how sure it is."""

    mean: float
    phi: float
    """Overdispersion of the metric's window means."""
    n: float
    """Items that it was measured on; infinite for a figure that somebody promised."""

    @property
    def size(self) -> int | None:
        return None if math.isinf(self.n) else int(self.n)


def metric_baseline(policy: PromisePolicy, profile: ReferenceProfile | None) -> Baseline | None:
    """None if neither the policy nor the profile says what was promised."""
    measured = None if profile is None else profile.errors.get(policy.metric)
    return _baseline(policy.baseline, measured, 1.0 if measured is None else measured.phi)


def estimate_baseline(policy: EstimatePolicy, profile: ReferenceProfile) -> Baseline | None:
    """A profile measures accuracy, as hits; of the other figures only the policy can say what was promised.

    What CBPE estimates follows the predictions, so it is at least as overdispersed as they.
    """
    hits = profile.errors.get(_HIT)
    phi = max(
        1.0 if hits is None else hits.phi, 1.0 if profile.prediction is None else profile.prediction.phi
    )
    return _baseline(policy.baseline, hits if policy.figure == "accuracy" else None, phi)


def clip_of(metric: str, profile: ReferenceProfile | None) -> float:
    """The bound of a clipped error; 1 of any other metric."""
    if metric != CLIPPED or profile is None:
        return 1.0
    return profile.error_clip or 1.0


def unbreakable(policy: JudgementPolicy, profile: ReferenceProfile) -> Iterator[str]:
    """The parts `promise` and `estimate`, if nothing can be worse than what they tolerate."""
    promise, estimate = policy.promise, policy.estimate
    if promise is not None and (said := metric_baseline(promise, profile)) is not None:
        clip = clip_of(promise.metric, profile)
        p0 = badness(promise.metric, said.mean, clip)
        if tolerated_rate(p0, promise.tolerance / clip, said.phi, said.n) >= 1:
            yield "promise"
    if estimate is not None and (said := estimate_baseline(estimate, profile)) is not None:
        worst = tolerated_rate(1.0 - said.mean, estimate.tolerance, said.phi, said.n)
        if worst >= 1:
            yield "estimate"


def _baseline(promised: float | None, measured: MetricReference | None, phi: float) -> Baseline | None:
    if promised is not None:
        return Baseline(mean=promised, phi=phi, n=math.inf)
    return None if measured is None else Baseline(mean=measured.mean, phi=phi, n=measured.n)
