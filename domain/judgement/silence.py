"""Detectors that are switched on and yet can say nothing of a version: what they read is not there."""

from collections.abc import Iterator
from dataclasses import dataclass

from domain.drift.classic import ClassicPolicy
from domain.errors import InvalidField
from domain.judgement.classics import FEATURE
from domain.judgement.policy import JudgementPolicy
from domain.judgement.promised import CLIPPED, estimate_baseline, metric_baseline, unbreakable
from domain.windows.metrics import VALUE_PREFIX
from domain.windows.profile import ReferenceProfile

_OF_TASK = {
    "regression": ("abs_error", "squared_error", "sign_hit", "directional_return", "abs_error_clipped"),
    "probability": ("log_loss", "brier", "hit"),
    "label": ("hit",),
}
_NO_PROFILE = "the version has no reference profile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Silent:
    """A detector that is switched on and silent."""

    detector: str
    """Its part of the `drift` section."""
    why: str


def silent(policy: JudgementPolicy, profile: ReferenceProfile | None) -> tuple[Silent, ...]:
    """All of them, in the order of the document; empty if every detector can speak."""
    reasons = [
        *(("features", why) for why in _features(policy, profile)),
        *(("feature_scores", why) for why in _feature_scores(policy, profile)),
        *_predictions(policy, profile),
        *_errors(policy, profile),
        *_classics(policy, profile),
    ]
    return tuple(Silent(detector=detector, why=why) for detector, why in reasons)


def check_streams(policy: JudgementPolicy, profile: ReferenceProfile) -> None:
    """Raises InvalidField for a classic that reads a feature which is no number in this profile."""
    for at, each in enumerate(policy.classics):
        reference = profile.features.get(each.stream.removeprefix(FEATURE))
        if each.stream.startswith(FEATURE) and reference is not None and reference.kind != "numeric":
            limit = f"a numeric feature; it is categorical in version {profile.version}"
            raise InvalidField(f"policy.drift.classics[{at}]", "stream", limit, each.stream)


def _features(policy: JudgementPolicy, profile: ReferenceProfile | None) -> Iterator[str]:
    if policy.features is not None:
        yield from _named(policy.features.features, profile)


def _feature_scores(policy: JudgementPolicy, profile: ReferenceProfile | None) -> Iterator[str]:
    if policy.feature_scores is not None:
        yield from _named(policy.feature_scores.features, profile)


def _named(names: tuple[str, ...], profile: ReferenceProfile | None) -> Iterator[str]:
    if profile is None:
        yield _NO_PROFILE
        return
    if not profile.features:
        yield "the reference profile has no features"
        return
    unknown = [name for name in names if name not in profile.features]
    if unknown:
        yield f"not in the reference profile: {', '.join(unknown)}"


def _predictions(policy: JudgementPolicy, profile: ReferenceProfile | None) -> Iterator[tuple[str, str]]:
    reference = None if profile is None else profile.prediction
    why = _NO_PROFILE if profile is None else "the reference profile has no prediction"
    for name in ("predictions", "prediction_scores", "prediction_level"):
        if getattr(policy, name) is None:
            continue
        if reference is None:
            yield name, why
        elif name == "prediction_level" and reference.kind != "numeric":
            yield name, "the prediction is no number"


def _errors(policy: JudgementPolicy, profile: ReferenceProfile | None) -> Iterator[tuple[str, str]]:
    if policy.errors is not None and (why := _unmeasured(policy.error_metric, profile)):
        yield "errors", why
    if policy.promise is not None:
        why = _unmeasured(policy.promise.metric, profile)
        if why is None and metric_baseline(policy.promise, profile) is None:
            metric = policy.promise.metric
            why = f"no baseline: the policy names none, and the reference profile does not measure {metric}"
        if why is not None:
            yield "promise", why
    if policy.estimate is not None:
        if profile is None or profile.calibration is None:
            yield "estimate", "the reference profile has no calibration"
        elif estimate_baseline(policy.estimate, profile) is None:
            figure = policy.estimate.figure
            yield (
                "estimate",
                f"no baseline: the policy names none, and the reference profile does not measure {figure}",
            )
    if profile is not None:
        for part in unbreakable(policy, profile):
            yield part, "nothing can be worse than its baseline by more than what is tolerated"


def _unmeasured(metric: str, profile: ReferenceProfile | None) -> str | None:
    """Why score rows do not hold a metric, if that is known."""
    if metric == CLIPPED and (profile is None or profile.error_clip is None):
        return _NO_PROFILE if profile is None else "the reference profile has no error_clip"
    if profile is None or metric.startswith(VALUE_PREFIX) or metric in _OF_TASK[profile.task]:
        return None
    return f"{metric} is not measured of task {profile.task}"


def _classics(policy: JudgementPolicy, profile: ReferenceProfile | None) -> Iterator[tuple[str, str]]:
    for at, each in enumerate(policy.classics):
        if why := _unread(each, policy, profile):
            yield f"classics[{at}]", f"{each.detector}: {why}"


def _unread(each: ClassicPolicy, policy: JudgementPolicy, profile: ReferenceProfile | None) -> str | None:
    if each.stream == "errors":
        return _unmeasured(policy.error_metric, profile)
    if each.stream == "prediction":
        label = profile is not None and profile.task == "label"
        return "the prediction is no number" if label else None
    if profile is None:
        return _NO_PROFILE
    name = each.stream.removeprefix(FEATURE)
    reference = profile.features.get(name)
    if reference is None:
        return f"not in the reference profile: {name}"
    if reference.kind != "numeric":
        return f"{name} is no number"
    return None if reference.means else f"the reference profile does not hold the bin means of {name}"
