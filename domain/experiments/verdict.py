"""The decision rules (statistics.md A5), applied at one look.

Harm goes first: of the plan's minimums it needs none, but it waits for the batch at which rho is frozen (the
first if the plan gives the metric's variance, otherwise min(10, minimums.batches)). Promotion needs the
primary and every guardrail shown at this very look, the minimums met and nothing invalid. Stopping without a
decision keeps the champion and says "no decision", which is not "no effect".

Of several primaries any one is enough, each at its part of alpha (Bonferroni: the union of false promotions
has at most alpha), as long as no primary is shown to lose, at `harm_alpha` each. Such a loss only ever holds
a promotion back, so it needs no correction; it does not roll back, which is what harm rules are for. This is
the rule of Schultzberg, Ankargren & Franberg, arXiv:2402.11609, for success metrics with tests of
deterioration beside them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from scipy.special import ndtri

from domain.experiments.evidence import always_valid_p
from domain.experiments.measure import POWER, Claim, Measure, limit_measure, primary_measure
from domain.experiments.plan import ExperimentPlan
from domain.experiments.rules import Goal, Limit
from domain.experiments.state import ExperimentState, weight_per_outcome
from domain.plain import Json, write

Kind = Literal["PROMOTE", "ROLL_BACK", "INCONCLUSIVE"]
HARM_MIN_OUTCOMES = 30
"""Per arm, before harm may be declared."""
HORIZON_FACTOR = 1.75
"""An always-valid test has the power of a fixed one after 1.71 times its size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How the experiment ends. INCONCLUSIVE keeps the champion."""

    kind: Kind
    treatment: str | None
    """The variant that won (PROMOTE) or did harm (ROLL_BACK); None when INCONCLUSIVE."""
    at_ms: int
    """When the newest window's outcomes were complete: the first moment at which this could be known."""
    rule: str
    """In words, with the numbers that fired."""
    evidence: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """All measures of one treatment."""

    treatment: str
    primary: Measure
    guardrails: tuple[Measure, ...]
    harm: tuple[Measure, ...]
    more_primaries: tuple[Measure, ...] = ()
    losses: tuple[Measure, ...] = ()
    """Of several primaries each: whether it is shown to get worse. Of a single one nothing."""

    @property
    def primaries(self) -> tuple[Measure, ...]:
        return (self.primary, *self.more_primaries)

    @property
    def gains(self) -> tuple[Measure, ...]:
        """The primaries that are shown."""
        return tuple(measure for measure in self.primaries if measure.shown)

    @property
    def wins(self) -> bool:
        lost = any(loss.shown for loss in self.losses)
        return bool(self.gains) and not lost and all(guardrail.shown for guardrail in self.guardrails)

    @property
    def harmful(self) -> Measure | None:
        """The first harm rule that is shown, by enough outcomes in both arms."""
        for measure in self.harm:
            outcomes = min(measure.treatment_outcomes, measure.champion_outcomes)
            if measure.shown and outcomes >= HARM_MIN_OUTCOMES:
                return measure
        return None


def standings(plan: ExperimentPlan, state: ExperimentState) -> tuple[Standing, ...]:
    """Where every treatment stands, in the plan's order. Costs the same however long the experiment runs."""
    return tuple(_standing(plan, state, treatment.name) for treatment in plan.treatments)


def _standing(plan: ExperimentPlan, state: ExperimentState, name: str) -> Standing:
    def limits(rules: Sequence[Goal | Limit], claim: Claim, alpha: float) -> tuple[Measure, ...]:
        tracks = [(rule, state.track(name, rule.key)) for rule in rules]
        return tuple(limit_measure(plan, track, rule, claim, alpha) for rule, track in tracks)

    primary, *more = (primary_measure(plan, state.track(name, goal.key), goal) for goal in plan.primaries)
    # a hold-back takes back what a loss would not have let through, so there a loss stops nothing
    watched = plan.primaries if plan.more_primaries and plan.reverses is None else ()
    return Standing(
        treatment=name,
        primary=primary,
        guardrails=limits(plan.guardrails, "better", plan.alpha),
        harm=limits(plan.harm, "worse", plan.harm_alpha),
        more_primaries=tuple(more),
        losses=limits(watched, "worse", plan.harm_alpha),
    )


def unmet_minimums(plan: ExperimentPlan, state: ExperimentState) -> tuple[str, ...]:
    """What promotion still waits for, in words; empty when all minimums are met."""
    minimums, unmet = plan.minimums, []
    if state.batches < minimums.batches:
        unmet.append(f"{state.batches} of {minimums.batches} batches")
    tracks = [state.track(each.name, goal.key) for each in plan.treatments for goal in plan.primaries]
    outcomes = min(min(track.outcomes) for track in tracks)
    if outcomes < minimums.outcomes_per_arm:
        unmet.append(f"{outcomes} of {minimums.outcomes_per_arm} outcomes in the smallest arm")
    if state.last_ms - state.first_ms < minimums.season_ms:
        unmet.append(f"{state.last_ms - state.first_ms} of {minimums.season_ms} ms of the season")
    arrived = min((total.arrived_share for total in state.totals.values()), default=1.0)
    if arrived < minimums.arrived_share:
        unmet.append(f"{arrived:.4f} of {minimums.arrived_share} of the outcomes arrived")
    return tuple(unmet)


def decide(
    plan: ExperimentPlan, state: ExperimentState, ranking: Sequence[Standing], at_ms: int
) -> Verdict | None:
    """The verdict of a look after a closed batch, if there is one."""
    for standing in ranking:
        harm = standing.harmful
        if harm is not None:
            words = f"{standing.treatment} is worse on {harm.metric}: {_compared(harm)}"
            return verdict(plan, state, ranking, "ROLL_BACK", words, at_ms, standing.treatment)
    ready = not unmet_minimums(plan, state)
    winners = [standing for standing in ranking if standing.wins]
    # what is invalid blocks promotions and never a roll-back, which the promotion of a held-back version is
    if winners and ready and (not state.invalid or plan.reverses is not None):
        best = min(winners, key=_rank)
        words = f"{best.treatment} is better on " + ", and on ".join(
            f"{gain.metric}: {_compared(gain)}" for gain in best.gains
        )
        if best.losses:
            words += f"; none of {len(best.losses)} primaries is shown to lose"
        if best.guardrails:
            words += f"; {len(best.guardrails)} guardrails hold"
        return verdict(plan, state, ranking, "PROMOTE", words, at_ms, best.treatment)
    if ready and _futile(plan, ranking):
        gains = " or ".join(f"{plan.mde_of(goal.key)} on {goal.key}" for goal in plan.primaries)
        words = f"no treatment can gain {gains}"
        return verdict(plan, state, ranking, "INCONCLUSIVE", words, at_ms)
    return None


def horizon(plan: ExperimentPlan, state: ExperimentState, end_ms: int) -> str | None:
    """Why the experiment must stop now without a decision, in words; None while it may go on."""
    began_ms = end_ms if state.began_ms is None else state.began_ms
    if plan.max_duration_ms is not None and end_ms - began_ms >= plan.max_duration_ms:
        return f"reached the horizon of {plan.max_duration_ms} ms"
    limit = max_outcomes(plan, state)
    # a large MDE may give a size that ends before promotion is even allowed
    early = plan.max_outcomes is None and state.batches < plan.minimums.batches
    if limit is not None and state.outcomes >= limit and not early:
        return f"reached the horizon of {limit} outcomes"
    return None


def max_outcomes(plan: ExperimentPlan, state: ExperimentState) -> int | None:
    """The plan's, or from the MDE once the variance is known: 1.75 times the fixed-size test of power 0.8, of
    the primary and challenger that need most.

    Shares are the plan's, also after a ramp. Where a challenger then gets less than planned an outcome tells
    less, and the horizon comes before the test has that power: it keeps the champion too often, and never
    promotes falsely. A plan that is to be ramped up from little gives `max_outcomes` itself.
    """
    if plan.max_outcomes is not None:
        return plan.max_outcomes
    z = float(ndtri(1 - plan.primary_alpha) + ndtri(POWER))
    largest = None
    for treatment, goal in product(plan.treatments, plan.primaries):
        mde = plan.mde_of(goal.key)
        if mde is None:
            continue
        track = state.track(treatment.name, goal.key)
        # information, the inverse variance of the estimate, that one outcome brings
        information = track.unit_information
        if plan.strategy != "USER_SEGMENT" and track.unit_variance is not None:
            information = weight_per_outcome(plan, treatment.name) ** 2 / track.unit_variance
        if information is None:
            return None
        largest = max(largest or 0.0, z * z / (mde * mde * information))
    return None if largest is None else math.ceil(HORIZON_FACTOR * largest)


def verdict(
    plan: ExperimentPlan,
    state: ExperimentState,
    ranking: Sequence[Standing],
    kind: Kind,
    words: str,
    at_ms: int,
    treatment: str | None = None,
) -> Verdict:
    """With everything needed to check it by hand."""
    evidence = {
        "experiment": plan.experiment,
        "model": plan.model,
        "config_hash": plan.config_hash,
        "strategy": plan.strategy,
        "kind": kind,
        "treatment": treatment,
        "rule": words,
        "at_ms": at_ms,
    }
    return Verdict(
        kind=kind,
        treatment=treatment,
        at_ms=at_ms,
        rule=words,
        evidence=evidence | report(plan, state, ranking),
    )


def report(plan: ExperimentPlan, state: ExperimentState, ranking: Sequence[Standing]) -> Json:
    """The present numbers of all rules as plain JSON; closed batches only."""
    treatments = {}
    for standing in ranking:
        largest = state.max_log_e.get(standing.treatment)
        treatments[standing.treatment] = {
            "primary": write(standing.primary),
            "guardrails": [write(measure) for measure in standing.guardrails],
            "harm": [write(measure) for measure in standing.harm],
            "max_log_e": largest,
            "p_value": None if largest is None else always_valid_p(largest),
        }
        if plan.more_primaries:
            known = state.more_max_log_e.get(standing.treatment, {})
            more = [_with_p(measure, known.get(measure.metric)) for measure in standing.more_primaries]
            losses = [write(measure) for measure in standing.losses]
            treatments[standing.treatment] |= {"more_primaries": more, "losses": losses}
    return {
        "first_window_ms": state.first_ms,
        "last_window_ms": state.last_ms,
        "batches": state.batches,
        "outcomes": state.outcomes,
        "arms": {arm: state.totals[arm].to_json() for arm in sorted(state.totals)},
        "treatments": treatments,
        "unmet_minimums": list(unmet_minimums(plan, state)),
        "invalid": list(state.invalid),
        "ratio_log_e": state.ratio_log_e,
        "arrival_log_e": state.arrival_log_e,
        "max_outcomes": max_outcomes(plan, state),
    }


def _with_p(measure: Measure, largest: float | None) -> Json:
    p_value = None if largest is None else always_valid_p(largest)
    return write(measure) | {"max_log_e": largest, "p_value": p_value}


def _rank(standing: Standing) -> tuple[int, float]:
    """Winners by the first primary that they are shown to gain on, and there by the largest lower bound:
    bounds of different metrics are in different units."""
    order = [measure.shown for measure in standing.primaries].index(True)
    lower = standing.primaries[order].lower
    return order, math.inf if lower is None else -lower


def _futile(plan: ExperimentPlan, ranking: Sequence[Standing]) -> bool:
    """Every upper bound is under the effect that is worth having."""
    return all(
        (mde := plan.mde_of(measure.metric)) is not None and measure.upper is not None and measure.upper < mde
        for standing in ranking
        for measure in standing.primaries
    )


def _compared(measure: Measure) -> str:
    margin = f" against a margin of {measure.margin}" if measure.margin else ""
    return (
        f"gain {measure.estimate:.6g} [{measure.lower:.6g}, {measure.upper:.6g}]{margin}, "
        f"log e {measure.log_e:.4f} >= {measure.threshold:.4f}"
    )
