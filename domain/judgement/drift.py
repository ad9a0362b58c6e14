"""The drift half of a judgement: detectors over one version's merged rows, and the episodes they open.

Inputs roll up into DATA_DRIFT and PREDICTION_DRIFT; the error level, watched by bucket-ADWIN, into
CONCEPT_DRIFT. A version is judged only in windows in which it served: a shadow's drift costs nobody.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from domain.drift import adwin, episodes, rollup
from domain.drift.adwin import AdwinFinding
from domain.drift.episodes import EpisodeState, Escalated, Opened, Recovered, Severity
from domain.drift.rollup import RollUpFinding, RollUpPolicy, RollUpState
from domain.judgement.decision import Decision, DecisionKind, Key
from domain.judgement.policy import JudgementPolicy
from domain.judgement.rows import Instant
from domain.judgement.state import ModelState, Watch
from domain.windows.profile import ReferenceProfile

DATA_DRIFT = "DATA_DRIFT"
PREDICTION_DRIFT = "PREDICTION_DRIFT"
CONCEPT_DRIFT = "CONCEPT_DRIFT"
_HITS = ("hit", "sign_hit")
_PREDICTION = "prediction"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """What a detector found, ready to become evidence."""

    severity: Severity
    evidence_windows: int
    finding: Mapping[str, Any]
    first_window_ms: int | None = None
    """Start of the first window of the evidence; None: the window that alarmed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a step of one version may look at."""

    model: str
    version: str
    policy: JudgementPolicy
    profile: ReferenceProfile | None
    instant: Instant
    length_ms: int
    digest: str


def judge_inputs(context: Context, watch: Watch, body: Mapping[str, Any]) -> Iterator[Decision]:
    """Fold one window's inputs of a serving version into its roll-ups."""
    policy, profile = context.policy, context.profile
    if profile is None:
        return
    if policy.features is not None and "features" in body:
        watch.saw(DATA_DRIFT, context.instant.window_start_ms, policy.features.longest_block)
        watch.features, found = _roll_up(policy.features, watch.features, profile.features, body["features"])
        yield from _episode(context, watch, DATA_DRIFT, _from_roll_up(found, watch.recent[DATA_DRIFT]))
    if policy.predictions is not None and profile.prediction is not None and "prediction_bins" in body:
        references = {_PREDICTION: profile.prediction}
        bins = {_PREDICTION: body["prediction_bins"]}
        watch.saw(PREDICTION_DRIFT, context.instant.window_start_ms, policy.predictions.longest_block)
        watch.predictions, found = _roll_up(policy.predictions, watch.predictions, references, bins)
        alarm = _from_roll_up(found, watch.recent[PREDICTION_DRIFT])
        yield from _episode(context, watch, PREDICTION_DRIFT, alarm)


def judge_errors(context: Context, watch: Watch, body: Mapping[str, Any]) -> Iterator[Decision]:
    """Fold one window's errors of a serving version into its ADWIN."""
    policy = context.policy
    moments = body.get("metrics", {}).get(policy.error_metric)
    if policy.errors is None or moments is None:
        return
    mean = 1.0 - moments["mean"] if policy.error_metric in _HITS else moments["mean"]
    detector = policy.errors
    if policy.error_metric == "abs_error_clipped" and context.profile and context.profile.error_clip:
        # a clipped error lies between 0 and the clip: that is the range the bound speaks of
        detector = replace(detector, scale=detector.scale * context.profile.error_clip)
    watch.errors, found = adwin.step(detector, watch.errors, moments["n"], mean, moments["M2"])
    yield from _episode(context, watch, CONCEPT_DRIFT, _from_adwin(found, policy.error_metric))


def retire(state: ModelState, context: Context, version: str) -> Iterator[Decision]:
    """A version that stopped serving: whatever was open closes, and its detectors are forgotten."""
    watch = state.watches.pop(version)
    for drift_type, opening in sorted(watch.openings.items()):
        evidence = {"reason": "the version no longer serves", "last_served_ms": watch.served_at_ms}
        yield _decision(context, DecisionKind.RECOVERY, drift_type, evidence, opening)


def _roll_up(
    policy: RollUpPolicy, state: RollUpState, references: Mapping[str, Any], window: Mapping[str, Any]
) -> tuple[RollUpState, RollUpFinding | None]:
    return rollup.step(policy, state, references, window)


def _from_roll_up(found: RollUpFinding | None, recent: Sequence[int]) -> Alarm | None:
    if found is None:
        return None
    return Alarm(
        severity=found.severity,
        evidence_windows=found.block_windows,
        first_window_ms=recent[-found.block_windows],
        finding={
            "detector": "roll-up-chi-square",
            "severity": found.severity,
            "statistic": found.statistic,
            "p_value": found.p_value,
            "threshold": found.threshold,
            "tolerance": found.tolerance,
            "sample_size": found.sample_size,
            "features": list(found.features),
            "effect_sizes": dict(found.effect_sizes),
            "block_windows": found.block_windows,
        },
    )


def _from_adwin(found: AdwinFinding | None, metric: str) -> Alarm | None:
    if found is None or not found.upward:
        return None
    return Alarm(
        severity="drift",
        evidence_windows=1,
        finding={
            "detector": "bucket-adwin",
            "severity": "drift",
            "metric": metric,
            "statistic": found.statistic,
            "threshold": found.threshold,
            "mean_before": found.mean_before,
            "mean_after": found.mean_after,
            "sample_size": found.sample_size,
            "block_windows": 1,
        },
    )


def _episode(context: Context, watch: Watch, drift_type: str, alarm: Alarm | None) -> Iterator[Decision]:
    state = watch.episodes.get(drift_type, EpisodeState())
    after, change = episodes.step(
        context.policy.episodes,
        state,
        alarm.severity if alarm else None,
        context.instant.due_ms,
        alarm.evidence_windows if alarm else 1,
    )
    watch.episodes[drift_type] = after
    finding = alarm.finding if alarm else {}
    first_ms = alarm.first_window_ms if alarm else None
    match change:
        case Opened():
            decision = _decision(context, DecisionKind.DRIFT, drift_type, finding, None, first_ms)
            watch.openings[drift_type] = decision.key
            yield decision
        case Escalated():
            opening = watch.openings[drift_type]
            yield _decision(context, DecisionKind.ESCALATION, drift_type, finding, opening, first_ms)
        case Recovered():
            opening = watch.openings.pop(drift_type)
            evidence = {"reason": "quiet long enough", "opened_at_ms": change.opened_at_ms}
            yield _decision(context, DecisionKind.RECOVERY, drift_type, evidence, opening)
        case None:
            pass


def _decision(
    context: Context,
    kind: DecisionKind,
    drift_type: str,
    finding: Mapping[str, Any],
    cause: Key | None,
    first_window_ms: int | None = None,
) -> Decision:
    instant = context.instant
    evidence = {
        **finding,
        "version": context.version,
        "drift_type": drift_type,
        "tallies_digest": context.digest,
    }
    if cause is not None:
        evidence["cause"] = list(cause)
    return Decision(
        kind=kind,
        model=context.model,
        subject=f"{context.version}/{drift_type}",
        at_ms=instant.due_ms,
        window_start_ms=instant.window_start_ms if first_window_ms is None else first_window_ms,
        window_end_ms=instant.window_start_ms + context.length_ms,
        config_hash=context.policy.hash(),
        evidence=evidence,
        cause=cause,
    )
