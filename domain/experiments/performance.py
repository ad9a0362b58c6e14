"""How each arm of an experiment does, at any time: of closed batches only, as the rules see them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from domain.experiments.levels import Level
from domain.experiments.plan import ExperimentPlan
from domain.experiments.ramps import Shares
from domain.experiments.scores import Totals
from domain.plain import LATER, Json, write


@dataclass(frozen=True, slots=True, kw_only=True)
class PrimaryPerformance:
    """A challenger on one of the further primaries; fields as those of `VariantPerformance`."""

    metric: str
    threshold: float
    estimate: float | None = None
    lower: float | None = None
    upper: float | None = None
    log_e: float | None = None
    p_value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantPerformance:
    """One arm. The champion is what others are compared with: of its own it has counts only."""

    variant: str
    version: str
    champion: bool
    share: float | None
    """Of the traffic now; None in shadow mode, where every arm answers every request."""
    predictions: int = 0
    outcomes: int = 0
    missing: int = 0
    """Predictions whose outcome did not come in time."""
    arrived_share: float = 1.0
    metric: str | None = None
    """The primary, or numerator/denominator; None, like all below, of the champion."""
    estimate: float | None = None
    """Gain over the champion in the metric's units, positive when users are better off; None, like all below,
    before there is anything to look at."""
    lower: float | None = None
    upper: float | None = None
    """One-sided bounds, each valid at every look."""
    log_e: float | None = None
    threshold: float | None = None
    """Log e-value that a promotion needs."""
    p_value: float | None = None
    """Always valid: it never rises again."""
    guardrails_held: int | None = None
    guardrails: int | None = None
    """How many there are."""
    harmful: bool | None = None
    """Whether any harm rule has the evidence that it needs."""
    more_primaries: tuple[PrimaryPerformance, ...] = field(default=(), metadata=LATER)
    losing: tuple[str, ...] = field(default=(), metadata=LATER)
    """Of several primaries, those that are shown to get worse: while there are any, nothing is promoted."""
    level: Level | None = field(default=None, metadata=LATER)
    """What it scored on its own, where that was asked for and there is anything."""

    def to_json(self) -> Json:
        return write(self)


def performances(
    plan: ExperimentPlan,
    shares: Shares,
    numbers: Mapping[str, Any] | None,
    own: Mapping[str, Level] | None = None,
) -> tuple[VariantPerformance, ...]:
    """Every arm in the plan's order, by `numbers` of `domain.experiments.verdict.report` (or a verdict's
    evidence); None before the first batch. `own` are their levels by name."""
    found = []
    for variant in plan.variants:
        arms = {} if numbers is None else numbers["arms"]
        total = Totals(**arms.get(variant.name, {}))
        compared = {}
        if numbers is not None and not variant.champion:
            compared = _compared(numbers["treatments"][variant.name])
        found.append(
            VariantPerformance(
                variant=variant.name,
                version=variant.version,
                champion=variant.champion,
                share=None if plan.strategy == "SHADOW_MODE" else shares.get(variant.name, 0.0),
                predictions=total.n,
                outcomes=total.matched,
                missing=total.missing,
                arrived_share=total.arrived_share,
                level=None if own is None else own.get(variant.name),
                **compared,
            )
        )
    return tuple(found)


_PRIMARY = ("metric", "estimate", "lower", "upper", "log_e", "threshold", "p_value")


def _compared(found: Mapping[str, Any]) -> dict[str, Any]:
    primary, guardrails = found["primary"], found["guardrails"]
    return {
        **{name: primary[name] for name in _PRIMARY[:-1]},
        "p_value": found["p_value"],
        "guardrails": len(guardrails),
        "guardrails_held": sum(_shown(each) for each in guardrails),
        "harmful": any(_shown(each) for each in found["harm"]),
        "more_primaries": tuple(
            PrimaryPerformance(**{name: more[name] for name in _PRIMARY})
            for more in found.get("more_primaries", ())
        ),
        "losing": tuple(loss["metric"] for loss in found.get("losses", ()) if _shown(loss)),
    }


def _shown(measure: Mapping[str, Any]) -> bool:
    return measure["log_e"] is not None and bool(measure["log_e"] >= measure["threshold"])
