"""Detectors over one version's score rows: the error's level, the promise, and river's classics."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from domain.drift import adwin, promise
from domain.drift.promise import worse
from domain.judgement import assignment, classics, streams
from domain.judgement.alarms import Alarm, of_adwin, of_promise
from domain.judgement.decision import Decision
from domain.judgement.promised import clip_of, metric_baseline
from domain.judgement.state import MOST_RECENT, Watch
from domain.judgement.streams import Context

Moments = Mapping[str, Any]


def judge_errors(context: Context, watch: Watch, body: Mapping[str, Any]) -> Iterator[Decision]:
    """Fold one window's errors of a serving version into its detectors."""
    policy, metrics = context.policy, body.get("metrics", {})
    assignment.realise(context, watch, metrics)
    errors, promised = metrics.get(policy.error_metric), None
    if policy.promise is not None:
        promised = metrics.get(policy.promise.metric)
    level = _level(context, watch, errors)
    kept = _promise(context, watch, promised)
    means = {}
    if errors is not None and classics.reading(policy.classics, classics.ERRORS):
        clip = clip_of(policy.error_metric, context.profile)
        means[classics.ERRORS] = worse(policy.error_metric, errors["mean"], clip)
    if level is None and kept is None and not means:
        return
    start_ms = context.instant.window_start_ms
    looks_back = kept is not None or means
    recent = watch.saw(classics.ERRORS, start_ms, MOST_RECENT) if looks_back else [start_ms]
    alarms = [*(level or ()), *(kept or ()), *classics.step(watch, policy.classics, means)]
    opening = assignment.opening(context, watch, alarms)
    yield from streams.step(context, watch, assignment.error_stream(watch), alarms, recent, opening)


def _level(context: Context, watch: Watch, moments: Moments | None) -> list[Alarm] | None:
    """Bucket-ADWIN; None if it has nothing to look at."""
    detector, metric = context.policy.errors, context.policy.error_metric
    if detector is None or moments is None:
        return None
    mean = worse(metric, moments["mean"])
    measured = context.profile.errors.get(metric) if context.profile is not None else None
    # a clipped error lies between 0 and the clip: that is the range the bound speaks of
    detector = replace(
        detector,
        scale=detector.scale * clip_of(metric, context.profile),
        phi=max(detector.phi, 1.0 if measured is None else measured.phi),
    )
    watch.errors, found = adwin.step(detector, watch.errors, moments["n"], mean, moments["M2"])
    return [of_adwin(found, metric, detector.phi)] if found is not None and found.upward else []


def _promise(context: Context, watch: Watch, moments: Moments | None) -> list[Alarm] | None:
    """e-SR against the promise; None without a promise, or without a word on what was promised."""
    policy = context.policy.promise
    if policy is None or moments is None:
        return None
    promised = metric_baseline(policy, context.profile)
    clip = clip_of(policy.metric, context.profile)
    if promised is None:
        return None
    watch.promise, found = promise.step(
        policy, watch.promise, moments["n"], moments["mean"], promised.mean, promised.phi, clip, promised.n
    )
    return [] if found is None else [of_promise(found, promised.size)]
