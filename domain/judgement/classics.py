"""river's detectors beside our own: each takes its stream's window mean, and alarms into that stream."""

from collections.abc import Mapping, Sequence
from math import fsum

from domain.drift import classic
from domain.drift.classic import ClassicFinding, ClassicPolicy, ClassicState
from domain.drift.metrics import DriftMetrics
from domain.judgement.alarms import Alarm
from domain.judgement.state import Watch
from domain.windows.profile import ReferenceProfile

ERRORS = "errors"
FEATURE = "feature:"


def reading(policies: Sequence[ClassicPolicy], stream: str) -> bool:
    """Whether any of them reads `stream`."""
    return any(policy.stream == stream for policy in policies)


def feature_means(
    policies: Sequence[ClassicPolicy], profile: ReferenceProfile, window: Mapping[str, Sequence[int]]
) -> dict[str, float]:
    """Mean of each feature that a detector reads, by stream: a bin counts as its mean in the reference.

    None for a window without numbers, and for a feature whose bin means the reference does not hold.
    """
    means: dict[str, float] = {}
    for name in sorted({each.stream.removeprefix(FEATURE) for each in policies if _of_feature(each)}):
        reference, counts = profile.features.get(name), window.get(name)
        if reference is None or counts is None or not reference.means:
            continue
        numbers = counts[: reference.bins]
        if n := sum(numbers):
            total = fsum(c * mean for c, mean in zip(numbers, reference.means, strict=True))
            means[FEATURE + name] = total / n
    return means


def _of_feature(policy: ClassicPolicy) -> bool:
    return policy.stream.startswith(FEATURE)


def step(watch: Watch, policies: Sequence[ClassicPolicy], means: Mapping[str, float]) -> list[Alarm]:
    """Feed every detector whose stream has a mean now. Of errors only a rise alarms."""
    alarms = []
    for at, policy in enumerate(policies):
        if policy.stream not in means:
            continue
        state = watch.classics.get(str(at), ClassicState())
        watch.classics[str(at)], found = classic.step(policy, state, means[policy.stream])
        if found is not None and (found.upward or policy.stream != ERRORS):
            alarms.append(_alarm(found))
    return alarms


def _alarm(found: ClassicFinding) -> Alarm:
    def describe() -> DriftMetrics:
        feature = found.stream.removeprefix(FEATURE) if found.stream.startswith(FEATURE) else None
        return DriftMetrics(
            detector=f"river-{found.detector}",
            severity="drift",
            # river's detectors give away no statistic: this is how far the means are apart
            statistic=abs(found.mean_after - found.mean_before),
            threshold=0.0,
            sample_size=found.sample_size,
            block_windows=found.evidence_windows,
            features=() if feature is None else (feature,),
            own={
                "metric": found.stream,
                "mean_before": found.mean_before,
                "mean_after": found.mean_after,
                "sample_unit": "windows",
            },
        )

    return Alarm(
        severity="drift",
        evidence_windows=found.evidence_windows,
        windows_after=found.evidence_windows,
        describe=describe,
    )
