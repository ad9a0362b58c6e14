"""What each arm scored on its own, beside the comparison that decides: for people, no verdict rests on it.

The mean of the primary metric; of hits where their rate lies, at all looks together, if hits are independent
(`domain.experiments.bernoulli`); and the gain as a part of the champion's mean, by the delta method.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from domain.experiments.bernoulli import rate_sequence
from domain.experiments.evidence import one_sided_bounds
from domain.experiments.lift import Mean, lift
from domain.experiments.moments import Moments
from domain.experiments.plan import BINARY_METRICS, ExperimentPlan

Scored = Mapping[str, Mapping[str, Moments]]
"""By arm and metric: the outcomes of all windows that count."""
CLEAR = 5.0
"""Standard errors by which the champion's mean must lie above zero, for a part of it to mean anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One arm on the primary metric. The champion has no lift."""

    metric: str
    n: int
    mean: float
    rate_lower: float | None = None
    """Of hits: at level 1 - alpha, two-sided."""
    rate_upper: float | None = None
    lift: float | None = None
    """Gain as a part of the champion's mean, positive when users are better off; None, like its bounds, while
    there is no gain yet or that mean is not clearly above zero."""
    lift_lower: float | None = None
    """One-sided bounds at the alpha of the gain's, each valid at every look."""
    lift_upper: float | None = None


def levels(plan: ExperimentPlan, scored: Scored, numbers: Mapping[str, Any] | None) -> Mapping[str, Level]:
    """Of every arm that has outcomes of the primary metric, by name; nothing if the primary is a ratio.

    `numbers` are those of `domain.experiments.verdict.report`, None before the first batch.
    """
    metric = plan.primary.metric
    if plan.primary.denominator is not None:
        return {}
    champion = scored.get(plan.champion.name, {}).get(metric, Moments())
    found = {}
    for variant in plan.variants:
        own = scored.get(variant.name, {}).get(metric, Moments())
        if not own.n:
            continue
        lifted = None
        if numbers is not None and not variant.champion:
            lifted = _lift(numbers["treatments"][variant.name]["primary"], own, champion)
        share = 1.0 if plan.strategy == "SHADOW_MODE" else variant.share
        rate = _rate(own, plan.alpha, plan.n_star * share) if metric in BINARY_METRICS else (None, None)
        gain, lower, upper = lifted or (None, None, None)
        found[variant.name] = Level(
            metric=metric,
            n=own.n,
            mean=own.mean,
            rate_lower=rate[0],
            rate_upper=rate[1],
            lift=gain,
            lift_lower=lower,
            lift_upper=upper,
        )
    return found


def _rate(own: Moments, alpha: float, n_star: float) -> tuple[float, float]:
    found = rate_sequence(round(own.mean * own.n), own.n, alpha, n_star)
    return found.lower, found.upper


def _lift(primary: Mapping[str, Any], own: Moments, champion: Moments) -> tuple[float, float, float] | None:
    if primary["log_e"] is None or min(own.n, champion.n) < 2:
        return None
    treatment, control = _mean(own), _mean(champion)
    if not control.value > CLEAR * control.variance**0.5:
        return None
    # a gain is positive when users are better off, a difference when the treatment's metric is higher
    sign = 1.0 if primary["direction"] == "increase" else -1.0
    weight = primary["weight"]
    difference = Mean(sign * primary["estimate"], primary["v"] / weight**2)
    part = lift(difference, treatment.variance, control)
    if not part.variance > 0:
        return None
    v, rho = part.variance * weight**2, primary["rho"] / control.value**2
    gain = sign * part.value
    bounds = one_sided_bounds(gain, v, weight, primary["alpha"], rho)
    return gain, bounds.lower, bounds.upper


def _mean(moments: Moments) -> Mean:
    return Mean(moments.mean, moments.M2 / (moments.n - 1) / moments.n)
