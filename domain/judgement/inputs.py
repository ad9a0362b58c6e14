"""Detectors over one version's input rows: features, the prediction, and the performance they let expect."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import Any

from domain.drift import adwin, esr, estimate, rollup
from domain.drift.adwin import AdwinPolicy
from domain.drift.blocks import Seasonal
from domain.drift.cbpe import ExpectedConfusion
from domain.drift.esr import EsrPolicy, EsrState
from domain.drift.rollup import RollUpPolicy, RollUpState
from domain.judgement import classics, relation, streams
from domain.judgement.alarms import Alarm, of_adwin, of_promise, of_roll_up, of_scores
from domain.judgement.decision import Decision
from domain.judgement.promised import estimate_baseline
from domain.judgement.state import MOST_RECENT, Watch
from domain.judgement.streams import DATA_DRIFT, ESTIMATE, PREDICTION_DRIFT, Context
from domain.windows.profile import FeatureReference, ReferenceProfile

_PREDICTION = "prediction"


def judge_inputs(context: Context, watch: Watch, body: Mapping[str, Any]) -> Iterator[Decision]:
    """Fold one window's inputs of a serving version into its detectors."""
    profile = context.profile
    if profile is not None and "features" in body:
        yield from _features(context, watch, profile, body["features"])
    if profile is not None or "prediction" in body:
        yield from _predictions(context, watch, profile, body)
    if profile is not None and profile.calibration is not None and "estimate" in body:
        yield from _estimate(context, watch, profile, ExpectedConfusion.from_json(body["estimate"]))


def _features(
    context: Context, watch: Watch, profile: ReferenceProfile, window: Mapping[str, Sequence[int]]
) -> Iterator[Decision]:
    policy = context.policy
    means = classics.feature_means(policy.classics, profile, window)
    if policy.features is None and policy.feature_scores is None and not means:
        return
    recent = watch.saw(DATA_DRIFT, context.instant.window_start_ms, _longest(policy.features, policy))
    seen = _Seen(context, profile.features, window)
    alarms: list[Alarm] = []
    if policy.features is not None:
        watch.features, alarm = seen.roll_up(policy.features, watch.features)
        alarms += [alarm] if alarm else []
    if policy.feature_scores is not None:
        watch.feature_scores, alarm = seen.scores(policy.feature_scores, watch.feature_scores)
        alarms += [alarm] if alarm else []
    alarms += classics.step(watch, policy.classics, means)
    yield from streams.step(context, watch, DATA_DRIFT, alarms, recent)


def _predictions(
    context: Context, watch: Watch, profile: ReferenceProfile | None, body: Mapping[str, Any]
) -> Iterator[Decision]:
    policy = context.policy
    reference = profile.prediction if profile is not None else None
    bins = body.get("prediction_bins") if reference is not None else None
    level = _level(context, reference, body.get("prediction"))
    watched = policy.prediction_level is not None and reference is not None
    named = classics.reading(policy.classics, _PREDICTION)
    histograms = bins is not None and (policy.predictions or policy.prediction_scores)
    if not (histograms or (level is not None and (watched or named))):
        return
    recent = watch.saw(
        PREDICTION_DRIFT, context.instant.window_start_ms, _longest(policy.predictions, policy)
    )
    alarms: list[Alarm] = []
    if reference is not None and bins is not None:
        seen = _Seen(context, {_PREDICTION: reference}, {_PREDICTION: bins})
        if policy.predictions is not None:
            watch.predictions, alarm = seen.roll_up(policy.predictions, watch.predictions)
            alarms += [alarm] if alarm else []
        if policy.prediction_scores is not None:
            watch.prediction_scores, alarm = seen.scores(policy.prediction_scores, watch.prediction_scores)
            alarms += [alarm] if alarm else []
    if level is not None:
        if policy.prediction_level is not None and profile is not None and reference is not None:
            detector = _level_policy(policy.prediction_level, profile, reference)
            n, mean, m2 = level
            watch.prediction_level, found = adwin.step(detector, watch.prediction_level, n, mean, m2)
            alarms += [of_adwin(found, _PREDICTION, detector.phi)] if found else []
        alarms += classics.step(watch, policy.classics, {_PREDICTION: level[1]})
    yield from streams.step(context, watch, PREDICTION_DRIFT, alarms, recent)


def _estimate(
    context: Context, watch: Watch, profile: ReferenceProfile, expected: ExpectedConfusion
) -> Iterator[Decision]:
    """What the inputs let expect: it warns by itself, and waits for outcomes to be compared with."""
    if expected.error_rate is not None:
        start_ms = context.instant.window_start_ms
        watch.relation = relation.expect(watch.relation, start_ms, expected.error_rate)
    policy = context.policy.estimate
    promised = None if policy is None else estimate_baseline(policy, profile)
    if policy is None or promised is None:
        return
    recent = watch.saw(ESTIMATE, context.instant.window_start_ms, MOST_RECENT)
    watch.estimate, found = estimate.step(
        policy, watch.estimate, expected, promised.mean, promised.phi, promised.n
    )
    alarms = [] if found is None else [of_promise(found, promised.size, estimated=True)]
    yield from streams.step(context, watch, ESTIMATE, alarms, recent)


@dataclass(frozen=True)
class _Seen:
    """One window's histograms beside their references, those of its season slot where there are any."""

    context: Context
    references: Mapping[str, FeatureReference]
    window: Mapping[str, Sequence[int]]

    def roll_up(self, policy: RollUpPolicy, state: RollUpState) -> tuple[RollUpState, Alarm | None]:
        slot = self._slot()
        seasonal = None
        if slot is not None:
            by_slot = {name: each.seasonal for name, each in self.references.items() if each.seasonal}
            seasonal = Seasonal(slot=slot, references=by_slot)
        after, found = rollup.step(policy, state, self.references, self.window, seasonal)
        return after, None if found is None else of_roll_up(found, self.references)

    def scores(self, policy: EsrPolicy, state: EsrState) -> tuple[EsrState, Alarm | None]:
        slot = self._slot()
        references, window = dict(self.references), dict(self.window)
        if slot is not None:
            for name, reference in self.references.items():
                if not reference.seasonal:
                    continue
                if sum(reference.seasonal[slot]):
                    references[name] = _of_slot(reference, slot)
                else:
                    # the reference saw nothing at this time of the season: the window says nothing
                    window.pop(name, None)
        after, found = esr.step(policy, state, references, window)
        if found is None:
            return after, None
        compared = {name: reference.counts for name, reference in references.items()}
        return after, of_scores(found, self.references, compared, window)

    def _slot(self) -> int | None:
        season = self.context.profile.season if self.context.profile is not None else None
        return None if season is None else season.slot(self.context.instant.window_start_ms)


def _of_slot(reference: FeatureReference, slot: int) -> FeatureReference:
    return replace(reference, counts=reference.seasonal[slot], seasonal=())


def _longest(roll_up: RollUpPolicy | None, policy: Any) -> int:
    """Windows whose starts are to be remembered: as many as the evidence may look back on."""
    longest = roll_up.longest_block if roll_up is not None else 1
    looks_back = policy.feature_scores or policy.prediction_scores or policy.classics
    return max(longest, MOST_RECENT) if looks_back else longest


def _level(
    context: Context, reference: FeatureReference | None, moments: Mapping[str, Any] | None
) -> tuple[int, float, float] | None:
    """Count, mean and M2 of the predictions; a season's usual move of the mean is taken off."""
    if moments is None:
        return None
    usual = 0.0
    profile = context.profile
    if profile is not None and profile.season is not None and reference is not None and reference.means:
        slot = profile.season.slot(context.instant.window_start_ms)
        whole, then = _mean(reference, reference.counts), _mean(reference, reference.seasonal[slot])
        usual = then - whole if whole is not None and then is not None else 0.0
    return moments["n"], moments["mean"] - usual, moments["M2"]


def _mean(reference: FeatureReference, counts: Sequence[int]) -> float | None:
    numbers = counts[: reference.bins]
    n = sum(numbers)
    return fsum(c * mean for c, mean in zip(numbers, reference.means, strict=True)) / n if n else None


def _level_policy(policy: AdwinPolicy, profile: ReferenceProfile, reference: FeatureReference) -> AdwinPolicy:
    """With the reference's overdispersion, and its range as the unit of `scale`; probabilities have 1."""
    unit = 1.0
    if profile.task != "probability":
        marks = reference.means or reference.edges
        # a constant has no range, and a bound without one would hold nothing
        unit = (marks[-1] - marks[0] if len(marks) > 1 else 0.0) or 1.0
    return replace(policy, phi=max(policy.phi, reference.phi), scale=policy.scale * unit)
