"""What an experiment remembers: sums over closed batches and the batch being filled.

Its size does not grow with time; a change of shares adds a few counts, and under USER_SEGMENT a phase.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from domain.experiments import mantel_haenszel
from domain.experiments.contrast import Contrast
from domain.experiments.evidence import log_e_two_sided
from domain.experiments.moments import Moments
from domain.experiments.plan import BINARY_METRICS, ExperimentPlan
from domain.experiments.ramps import Ramp, planned
from domain.experiments.rules import Goal, Limit
from domain.experiments.scores import Arm, Hits, OpenBatch, Totals
from domain.experiments.srm import ALARM_LOG_E, PRIOR_MASS, srm_log_e
from domain.experiments.sticky import Phase, Units, compare, counted, imbalance, merged
from domain.plain import Json, read, write

TUNING_BATCHES = 10
"""Batches whose variance tunes rho when the plan does not give it; earlier looks would have no rho."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One treatment against the champion on one metric, or on the ratio of two."""

    contrast: Contrast = field(default_factory=Contrast)
    hits: Hits = field(default_factory=Hits)
    odds: tuple[float, ...] = ()
    """Of a hit metric under PERCENTAGE_SPLIT: log likelihood ratio of each odds ratio of the plan's grid."""
    phases: Mapping[str, Phase] = field(default_factory=dict)
    """Under USER_SEGMENT, by allocation epoch: what the units' buckets scored."""
    unit_information: float | None = None
    """Under USER_SEGMENT: information per outcome, frozen once like the variance below."""
    unit_variance: float | None = None
    """Variance of the sum statistic per outcome, frozen once: rho = n_star * this / const(alpha)."""

    @property
    def ready(self) -> bool:
        """Whether there is anything to look at."""
        return self.unit_variance is not None and self.contrast.batches > 0

    @property
    def outcomes(self) -> tuple[int, int]:
        """Of treatment and champion."""
        if self.phases:
            one = sum(counted(phase.treatment) for phase in self.phases.values())
            return one, sum(counted(phase.control) for phase in self.phases.values())
        return self.contrast.n1, self.contrast.n0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surplus:
    """A treatment's part of what it and the champion had, less its share of it: sums over batches, of
    predictions (n) and of outcomes that arrived, and of their squares."""

    n: float = 0.0
    n_v: float = 0.0
    matched: float = 0.0
    matched_v: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentState:
    """Begin with `ExperimentState()`; only `step` makes others."""

    batch: OpenBatch = field(default_factory=OpenBatch)
    tracks: Mapping[str, Mapping[str, Track]] = field(default_factory=dict)
    """Per treatment and key of what is compared."""
    totals: Mapping[str, Totals] = field(default_factory=dict)
    """Per arm, closed batches only; so are all fields below but the last two."""
    batches: int = 0
    outcomes: int = 0
    first_ms: int = 0
    last_ms: int = 0
    max_log_e: Mapping[str, float] = field(default_factory=dict)
    """Per treatment, of the primary metric: the always-valid p-value is exp of minus this."""
    more_max_log_e: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """The same per treatment and key of the plan's further primaries."""
    ratio_log_e: float = 0.0
    """Largest evidence so far that predictions are not split as planned."""
    arrival_log_e: float = 0.0
    """The same for outcomes that arrived."""
    ramps: Mapping[str, Ramp] = field(default_factory=dict)
    """By allocation epoch, of those whose shares are not the plan's: their part of `totals`."""
    surplus: Mapping[str, Surplus] = field(default_factory=dict)
    """Under SWITCHBACK, by treatment: what `ramps` and `totals` cannot say, because one switch moves many."""
    began_ms: int | None = None
    """Start of the earliest window seen."""
    due_ms: int | None = None
    """Of the newest window seen."""
    verdict: str | None = None
    """Kind of the final verdict; a state that has one does not change any more."""

    @property
    def invalid(self) -> tuple[str, ...]:
        """Why promotion is blocked: sample_ratio, outcome_arrivals, both or nothing. It stays so."""
        checks = (("sample_ratio", self.ratio_log_e), ("outcome_arrivals", self.arrival_log_e))
        return tuple(name for name, log_e in checks if log_e >= ALARM_LOG_E)

    def track(self, treatment: str, metric: str) -> Track:
        return self.tracks.get(treatment, {}).get(metric, Track())

    def to_json(self) -> Json:
        plain = {name: getattr(self, name) for name in _PLAIN}
        tracks = {
            treatment: {
                metric: write(self.tracks[treatment][metric]) for metric in sorted(self.tracks[treatment])
            }
            for treatment in sorted(self.tracks)
        }
        body = plain | {
            "batch": self.batch.to_json(),
            "tracks": tracks,
            "totals": {arm: self.totals[arm].to_json() for arm in sorted(self.totals)},
            "max_log_e": {treatment: self.max_log_e[treatment] for treatment in sorted(self.max_log_e)},
        }
        if self.more_max_log_e:
            more = self.more_max_log_e
            body["more_max_log_e"] = {name: dict(sorted(more[name].items())) for name in sorted(more)}
        if self.ramps:
            body["ramps"] = {epoch: ramp.to_json() for epoch, ramp in self.ramps.items()}
        if self.surplus:
            body["surplus"] = {name: write(self.surplus[name]) for name in sorted(self.surplus)}
        return body

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ExperimentState":
        return cls(
            batch=OpenBatch.from_json(data["batch"]),
            tracks={
                treatment: {metric: read(Track, body) for metric, body in metrics.items()}
                for treatment, metrics in data["tracks"].items()
            },
            totals={arm: read(Totals, body) for arm, body in data["totals"].items()},
            max_log_e=dict(data["max_log_e"]),
            more_max_log_e={name: dict(each) for name, each in data.get("more_max_log_e", {}).items()},
            ramps={epoch: Ramp.from_json(ramp) for epoch, ramp in sorted(data.get("ramps", {}).items())},
            surplus={name: read(Surplus, each) for name, each in data.get("surplus", {}).items()},
            **{name: data[name] for name in _PLAIN},
        )


_PLAIN = (
    "batches",
    "outcomes",
    "first_ms",
    "last_ms",
    "ratio_log_e",
    "arrival_log_e",
    "began_ms",
    "due_ms",
    "verdict",
)


def fold(plan: ExperimentPlan, state: ExperimentState) -> ExperimentState:
    """Close the open batch: add it to the sums as one stratum and begin an empty one."""
    batch = state.batch
    counts = batch.outcomes(plan).values()
    new = {variant.name: batch.arms.get(variant.name, Arm()).totals for variant in plan.variants}
    totals = {name: state.totals.get(name, Totals()) + each for name, each in new.items()}
    ramps, epoch = dict(state.ramps), str(batch.epoch)
    if batch.shares:
        ramps[epoch] = ramps.get(epoch, Ramp(batch.shares)).extended(new)
    after = replace(
        state,
        batch=OpenBatch(),
        totals=totals,
        ramps={epoch: ramps[epoch] for epoch in sorted(ramps)},
        surplus=_switched(plan, state, batch.shares, new) if plan.strategy == "SWITCHBACK" else {},
        batches=state.batches + 1,
        outcomes=state.outcomes + (min(counts) if plan.strategy == "SHADOW_MODE" else sum(counts)),
        first_ms=min(state.first_ms, batch.first_ms) if state.batches else batch.first_ms,
        last_ms=max(state.last_ms, batch.last_ms),
        tracks={
            treatment.name: {
                key: _grown(plan, state.track(treatment.name, key), batch, treatment.name, rule)
                for key, rule in plan.compared.items()
            }
            for treatment in plan.treatments
        },
    )
    return _checked(plan, _tuned(plan, after))


def weight_per_outcome(plan: ExperimentPlan, treatment: str) -> float:
    """How much one outcome adds to the contrast's weight, by the plan's shares."""
    if plan.strategy == "SHADOW_MODE":
        return 1.0
    share = next(variant.share for variant in plan.treatments if variant.name == treatment)
    return share * plan.champion.share / (share + plan.champion.share)


def _grown(plan: ExperimentPlan, track: Track, batch: OpenBatch, treatment: str, rule: Goal | Limit) -> Track:
    metric = rule.metric
    arm, control = batch.arms.get(treatment, Arm()), batch.arms.get(plan.champion.name, Arm())
    if plan.strategy == "SHADOW_MODE":
        stratum = Contrast.of_pairs(arm.paired.get(metric, Moments()))
        return replace(
            track, contrast=track.contrast + stratum, hits=track.hits + arm.hits.get(metric, Hits())
        )
    if plan.strategy == "USER_SEGMENT":
        phase = Phase(_units(arm, rule), _units(control, rule))
        track = replace(track, phases=merged(track.phases, {str(batch.epoch): phase}))
    if rule.denominator is not None:
        return track
    one, zero = arm.metrics.get(metric, Moments()), control.metrics.get(metric, Moments())
    binary = metric in BINARY_METRICS and not (one.with_x and zero.with_x)
    contrast = track.contrast + Contrast.of_batch(one, zero, binary=binary)
    exact = metric in BINARY_METRICS and bool(plan.odds_grid)
    odds = _odds(plan, track, one, zero) if exact else ()
    return replace(track, contrast=contrast, odds=odds)


def _units(arm: Arm, rule: Goal | Limit) -> Units:
    sums = arm.units.get(rule.metric, {})
    if rule.denominator is None:
        return sums
    bases = arm.units.get(rule.denominator, {})
    every = sorted({*sums, *bases})
    return {b: (*sums.get(b, (0.0, 0.0)), bases.get(b, (0.0, 0.0))[1]) for b in every}


def _odds(plan: ExperimentPlan, track: Track, one: Moments, zero: Moments) -> tuple[float, ...]:
    # a mean of zeros and ones times their number is a whole number but for rounding
    ones, zeros = round(one.mean * one.n), round(zero.mean * zero.n)
    ratios = mantel_haenszel.log_likelihood_ratios(ones, one.n, zero.n, ones + zeros, plan.odds_grid)
    before = track.odds or (0.0,) * len(ratios)
    return tuple(known + new for known, new in zip(before, ratios, strict=True))


def _tuned(plan: ExperimentPlan, state: ExperimentState) -> ExperimentState:
    """Freeze the variance that tunes rho, once per track: rho must never follow the data afterwards."""
    tracks: dict[str, dict[str, Track]] = {}
    for treatment, metrics in state.tracks.items():
        tracks[treatment] = {}
        for metric, track in metrics.items():
            if track.unit_variance is None:
                variance = _unit_variance(plan, state, treatment, metric)
                track = replace(track, unit_variance=variance)
            if track.unit_information is None and track.phases:
                track = replace(track, unit_information=_unit_information(plan, state, treatment, metric))
            tracks[treatment][metric] = track
    return replace(state, tracks=tracks)


def _unit_variance(plan: ExperimentPlan, state: ExperimentState, treatment: str, metric: str) -> float | None:
    if metric in plan.variances:
        return plan.variances[metric] * weight_per_outcome(plan, treatment)
    contrast = state.track(treatment, metric).contrast
    if state.batches < min(TUNING_BATCHES, plan.minimums.batches) or contrast.batches == 0:
        return None
    if plan.strategy == "SHADOW_MODE":
        outcomes = float(contrast.n1)
    else:
        outcomes = (contrast.n1 + contrast.n0) / _share_of_both(plan, treatment)
    # about the estimate, so that an effect does not pass for noise; identical answers have no variance yet
    variance = contrast.statistic(contrast.estimate).v
    return variance / outcomes if variance > 0 else None


def _unit_information(plan: ExperimentPlan, state: ExperimentState, treatment: str, key: str) -> float | None:
    if key in plan.variances:
        return weight_per_outcome(plan, treatment) / plan.variances[key]
    found = compare(state.track(treatment, key).phases)
    if state.batches < min(TUNING_BATCHES, plan.minimums.batches) or found is None:
        return None
    outcomes = (found.treatment_outcomes + found.champion_outcomes) / _share_of_both(plan, treatment)
    return found.information / outcomes


def _share_of_both(plan: ExperimentPlan, treatment: str) -> float:
    share = next(variant.share for variant in plan.treatments if variant.name == treatment)
    return share + plan.champion.share


def _checked(plan: ExperimentPlan, state: ExperimentState) -> ExperimentState:
    """Sample-ratio checks; under SHADOW_MODE every request goes to all arms and there is no ratio.

    Under USER_SEGMENT outcomes alone are checked, over units: score rows count no predictions by unit.
    """
    if plan.strategy == "SHADOW_MODE":
        return state
    if plan.strategy == "USER_SEGMENT":
        return replace(state, arrival_log_e=max(state.arrival_log_e, _units_log_e(plan, state)))
    if plan.strategy == "SWITCHBACK":
        ratio, arrival = _switches_log_e(plan, state)
        return replace(
            state,
            ratio_log_e=max(state.ratio_log_e, ratio),
            arrival_log_e=max(state.arrival_log_e, arrival),
        )
    ratio = _split_log_e(plan, state, lambda total: total.n)
    arrival = _split_log_e(plan, state, lambda total: total.matched)
    return replace(
        state,
        ratio_log_e=max(state.ratio_log_e, ratio),
        arrival_log_e=max(state.arrival_log_e, arrival),
    )


def _split_log_e(plan: ExperimentPlan, state: ExperimentState, count: Callable[[Totals], int]) -> float:
    """Summed over phases: all epochs with the plan's shares are one, every other is its own."""
    names, ramps = [variant.name for variant in plan.variants], state.ramps.values()
    rest = [count(state.totals[name]) - sum(count(ramp.totals[name]) for ramp in ramps) for name in names]
    log_e = srm_log_e(rest, [variant.share for variant in plan.variants])
    for ramp in ramps:
        counts = [count(ramp.totals[name]) for name in names]
        log_e += srm_log_e(counts, [ramp.shares[name] for name in names])
    return log_e


def _switched(
    plan: ExperimentPlan, state: ExperimentState, shares: Mapping[str, float], new: Mapping[str, Totals]
) -> dict[str, Surplus]:
    """With one more batch. Its switches are no coin tosses of requests, but batches are of each other."""
    given = shares or planned(plan)
    champion, found = plan.champion.name, {}
    for treatment in (variant.name for variant in plan.treatments):
        known, ours, theirs = state.surplus.get(treatment, Surplus()), new[treatment], new[champion]
        share = given[treatment] / (given[treatment] + given[champion])
        n = ours.n - share * (ours.n + theirs.n)
        matched = ours.matched - share * (ours.matched + theirs.matched)
        found[treatment] = Surplus(
            n=known.n + n,
            n_v=known.n_v + n * n,
            matched=known.matched + matched,
            matched_v=known.matched_v + matched * matched,
        )
    return found


def _switches_log_e(plan: ExperimentPlan, state: ExperimentState) -> tuple[float, float]:
    """Of predictions and of outcomes that arrived: the mean of the e-values of all treatments."""
    ratio, arrival = [], []
    for treatment in plan.treatments:
        share = treatment.share / (treatment.share + plan.champion.share)
        rho, each = PRIOR_MASS * share * (1 - share), state.surplus[treatment.name]
        ratio.append(log_e_two_sided(each.n, each.n_v, rho))
        arrival.append(log_e_two_sided(each.matched, each.matched_v, rho))
    return _mean_of(ratio), _mean_of(arrival)


def _units_log_e(plan: ExperimentPlan, state: ExperimentState) -> float:
    """Evidence that units are not split as planned: the mean of the e-values of all treatments."""
    every = []
    for treatment in plan.treatments:
        share = treatment.share / (treatment.share + plan.champion.share)
        ramped = {epoch: _of_both(ramp, treatment.name, plan) for epoch, ramp in state.ramps.items()}
        s, v = imbalance(state.track(treatment.name, plan.primary.key).phases, share, ramped)
        # the prior of srm: the share lies within about 1 / sqrt(prior mass)
        every.append(log_e_two_sided(s, v, PRIOR_MASS * share * (1 - share)))
    return _mean_of(every)


def _mean_of(every: list[float]) -> float:
    """Logarithm of the mean of e-values, from their logarithms."""
    largest = max(every)
    return largest + math.log(math.fsum(math.exp(one - largest) for one in every) / len(every))


def _of_both(ramp: Ramp, treatment: str, plan: ExperimentPlan) -> float:
    """The treatment's share of what it and the champion get."""
    return ramp.shares[treatment] / (ramp.shares[treatment] + ramp.shares[plan.champion.name])


def progressed(state: ExperimentState, treatment: str, log_es: Mapping[str, float | None]) -> ExperimentState:
    """With the running maxima of the evidence by each primary's key, the plan's first one first."""
    (_, first), *more = log_es.items()
    if first is not None:
        largest = max(first, state.max_log_e.get(treatment, -math.inf))
        state = replace(state, max_log_e={**state.max_log_e, treatment: largest})
    known = dict(state.more_max_log_e.get(treatment, {}))
    known |= {key: max(log_e, known.get(key, -math.inf)) for key, log_e in more if log_e is not None}
    if known:
        state = replace(state, more_max_log_e={**state.more_max_log_e, treatment: known})
    return state
