"""One rule's numbers at one look: what was estimated, how sure it is, and what it needs to be."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from scipy.special import ndtri

from domain.experiments import mantel_haenszel, mcnemar
from domain.experiments.evidence import log_e_one_sided, one_sided_bounds, rho_one_sided
from domain.experiments.plan import ExperimentPlan
from domain.experiments.rules import Goal, Limit
from domain.experiments.state import Track
from domain.experiments.sticky import compare
from domain.plain import LATER

Claim = Literal["better", "worse"]
POWER = 0.8
"""Of the test of fixed size that sizes are compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """Gains are in units of the metric and positive when users are better off, whatever the direction.

    `lower` and `upper` are one-sided bounds at level 1 - alpha each, valid at every look.
    """

    metric: str
    """Or numerator/denominator."""
    direction: str
    claim: Claim
    """What is to be shown: gain > -margin (better) or gain < -margin (worse)."""
    margin: float
    alpha: float
    threshold: float
    """Log e-value that shows the claim."""
    log_e: float | None = None
    """None, like the rest, before there is anything to look at."""
    estimate: float | None = None
    lower: float | None = None
    upper: float | None = None
    rho: float | None = None
    v: float | None = None
    weight: float = 0.0
    batches: int = 0
    treatment_outcomes: int = 0
    champion_outcomes: int = 0
    contrast_log_e: float | None = None
    mcnemar_log_e: float | None = None
    only_treatment_right: int = 0
    only_champion_right: int = 0
    odds_log_e: float | None = field(default=None, metadata=LATER)
    """Of the exact test of hits; like the bounds below only under PERCENTAGE_SPLIT."""
    odds_ratio_lower: float | None = field(default=None, metadata=LATER)
    """Odds of a hit, treatment to champion, whatever the direction; None where the grid ends before."""
    odds_ratio_upper: float | None = field(default=None, metadata=LATER)
    units_v: float | None = field(default=None, metadata=LATER)
    """The units' part of `v`; only under USER_SEGMENT, where `weight` is the information."""

    @property
    def shown(self) -> bool:
        """Whether the evidence suffices, minimums aside."""
        return self.log_e is not None and self.log_e >= self.threshold


def primary_measure(plan: ExperimentPlan, track: Track, goal: Goal) -> Measure:
    """Evidence for promotion by one primary: alpha is shared out among primaries and treatments.

    Hit metrics of a shadow experiment take the smaller of two e-values: the exact sequential McNemar, which
    trusts that events are independent, and the paired contrast, whose between-batch variance sees overlapping
    outcomes. The smaller one is valid if either is.
    """
    measure = limit_measure(plan, track, goal, "better", plan.primary_alpha)
    if not track.hits.n or goal.margin > 0 or measure.log_e is None:
        return measure
    b, c = track.hits.b, track.hits.c
    exact = mcnemar.log_e(b, c) if goal.direction == "increase" else mcnemar.log_e(c, b)
    return replace(
        measure,
        log_e=min(exact, measure.log_e),
        mcnemar_log_e=exact,
        only_treatment_right=b,
        only_champion_right=c,
    )


def limit_measure(
    plan: ExperimentPlan, track: Track, rule: Goal | Limit, claim: Claim, alpha: float
) -> Measure:
    """Evidence that the gain is above (better) or below (worse) minus the rule's margin."""
    blank = Measure(
        metric=rule.key,
        direction=rule.direction,
        claim=claim,
        margin=rule.margin,
        alpha=alpha,
        threshold=math.log(1 / alpha),
    )
    if plan.strategy == "USER_SEGMENT":
        return _over_units(plan, track, rule, blank)
    measure = _over_batches(plan, track, rule, blank)
    return _with_odds(plan, track, measure) if track.odds else measure


def _over_batches(plan: ExperimentPlan, track: Track, rule: Goal | Limit, blank: Measure) -> Measure:
    """By the contrast."""
    if not track.ready or track.unit_variance is None:
        return blank
    claim, alpha = blank.claim, blank.alpha
    contrast = track.contrast
    rho = rho_one_sided(track.unit_variance * plan.n_star, alpha)
    # a loss turns into a gain by its sign, and so does the null hypothesis
    sign = 1.0 if rule.direction == "increase" else -1.0
    null = contrast.statistic(-sign * rule.margin, plan.student_alpha(alpha))
    gain_sum = sign * null.s
    log_e = log_e_one_sided(gain_sum if claim == "better" else -gain_sum, null.v, rho)
    estimate = sign * contrast.estimate
    v = contrast.statistic(contrast.estimate, plan.student_alpha(alpha)).v
    bounds = one_sided_bounds(estimate, v, contrast.W, alpha, rho)
    return replace(
        blank,
        log_e=log_e,
        estimate=estimate,
        lower=bounds.lower,
        upper=bounds.upper,
        rho=rho,
        v=null.v,
        weight=contrast.W,
        batches=contrast.batches,
        treatment_outcomes=contrast.n1,
        champion_outcomes=contrast.n0,
        contrast_log_e=log_e,
    )


def _over_units(plan: ExperimentPlan, track: Track, rule: Goal | Limit, blank: Measure) -> Measure:
    """By the buckets of units, in information time.

    Buckets do not know that one market moves all units of an arm; batches do. Of a mean, what batches differ
    by more than their events explain is added to the variance, as two-way clustering does (Cameron, Gelbach &
    Miller 2011). A ratio is summed over units only.
    """
    found = compare(track.phases)
    rho = _information_rho(plan, track, rule, blank.alpha)
    if found is None or rho is None:
        return blank
    sign = 1.0 if rule.direction == "increase" else -1.0

    def variance(null: float) -> float:
        return found.v + found.information**2 * _shared_variance(track, null, plan.student_alpha(blank.alpha))

    v = variance(-sign * rule.margin)
    gain_sum = sign * found.s + rule.margin * found.information
    log_e = log_e_one_sided(gain_sum if blank.claim == "better" else -gain_sum, v, rho)
    around = variance(found.estimate)
    bounds = one_sided_bounds(sign * found.estimate, around, found.information, blank.alpha, rho)
    return replace(
        blank,
        log_e=log_e,
        estimate=sign * found.estimate,
        lower=bounds.lower,
        upper=bounds.upper,
        rho=rho,
        v=v,
        weight=found.information,
        batches=track.contrast.batches,
        treatment_outcomes=found.treatment_outcomes,
        champion_outcomes=found.champion_outcomes,
        units_v=found.v,
    )


def _shared_variance(track: Track, null: float, student_alpha: float | None) -> float:
    """Of the difference of means: what moves all units of an arm together, by the spread between batches."""
    if not track.contrast.W:
        return 0.0
    by_batch = track.contrast.statistic(null, student_alpha)
    return max(0.0, by_batch.between - by_batch.within) / track.contrast.W**2


def _information_rho(plan: ExperimentPlan, track: Track, rule: Goal | Limit, alpha: float) -> float | None:
    """From the information that the mde needs, else from what the first batches say n_star will bring."""
    mde = plan.mde_of(rule.key)
    if mde is not None:
        wanted = (float(ndtri(1 - alpha)) + float(ndtri(POWER))) / mde
        return rho_one_sided(wanted * wanted, alpha)
    if track.unit_information is None:
        return None
    return rho_one_sided(track.unit_information * plan.n_star, alpha)


def _with_odds(plan: ExperimentPlan, track: Track, measure: Measure) -> Measure:
    """Hits of split requests take the smaller of exact and contrast e-value, which is valid if either is.

    Rare events and small arms need the exact one. Overlapping outcomes need the other: of two equal models
    whose outcomes overlap by 20 events one is promoted in 51 % of runs by the exact test alone and in 3 % by
    the smaller (`python -m bench.experiments`, table "overlap"). A margin is a difference of rates; what odds
    ratio that is depends on the base rate, so there the contrast decides alone.
    """
    grid, sums = plan.odds_grid, track.odds
    bounds = mantel_haenszel.odds_bounds(grid, sums, measure.alpha)
    measure = replace(
        measure,
        odds_ratio_lower=math.exp(bounds.lower) if bounds.lower > -math.inf else None,
        odds_ratio_upper=math.exp(bounds.upper) if bounds.upper < math.inf else None,
    )
    if measure.margin > 0 or measure.log_e is None:
        return measure
    upwards = (measure.direction == "increase") == (measure.claim == "better")
    evidence = mantel_haenszel.log_e_above if upwards else mantel_haenszel.log_e_below
    exact = evidence(grid, sums)
    return replace(measure, odds_log_e=exact, log_e=min(exact, measure.log_e))
