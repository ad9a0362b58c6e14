"""How a model is watched: which detectors, and what an alarm leads to."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from domain.drift.adwin import AdwinPolicy
from domain.drift.episodes import EpisodePolicy
from domain.drift.retrain import RetrainPolicy
from domain.drift.rollup import RollUpPolicy
from domain.errors import InvalidField

Detector = TypeVar("Detector", RollUpPolicy, AdwinPolicy)

_OWNER = "policy.drift"
_SECTIONS = ("features", "predictions", "errors", "error_metric", "episodes")


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgementPolicy:
    """The parts of a model's policy that the judge obeys. None switches a detector off."""

    features: RollUpPolicy | None = RollUpPolicy()
    predictions: RollUpPolicy | None = RollUpPolicy()
    errors: AdwinPolicy | None = AdwinPolicy()
    error_metric: str = "abs_error_clipped"
    """A metric of the score rows; of hit rates the misses are watched."""
    episodes: EpisodePolicy = EpisodePolicy()
    retrain: RetrainPolicy = RetrainPolicy()

    def to_json(self) -> dict[str, Any]:
        """The `drift` and `retrain` sections of a policy document."""
        return {
            "drift": {
                "features": self.features.to_json() if self.features else None,
                "predictions": self.predictions.to_json() if self.predictions else None,
                "errors": self.errors.to_json() if self.errors else None,
                "error_metric": self.error_metric,
                "episodes": self.episodes.to_json(),
            },
            "retrain": self.retrain.to_json(),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "JudgementPolicy":
        """Read the `drift` and `retrain` sections; absent parts take their defaults. Raises InvalidField."""
        drift, retrain = _object(document, "policy", "drift"), _object(document, "policy", "retrain")
        # the calendar's part is the registry worker's: no verdict depends on it, so no hash holds it
        watched = {name: value for name, value in retrain.items() if name != "schedule"}
        for name in drift:
            if name not in _SECTIONS:
                raise InvalidField(_OWNER, name, "one of " + ", ".join(_SECTIONS), drift[name])
        default = cls()
        return cls(
            features=_detector(RollUpPolicy, drift, "features", default.features),
            predictions=_detector(RollUpPolicy, drift, "predictions", default.predictions),
            errors=_detector(AdwinPolicy, drift, "errors", default.errors),
            error_metric=_metric(drift.get("error_metric", default.error_metric)),
            episodes=EpisodePolicy.from_json(_object(drift, _OWNER, "episodes")),
            retrain=RetrainPolicy.from_json(watched),
        )

    def detectors_hash(self) -> str:
        """SHA-256 of the `drift` section: another one starts the detectors afresh."""
        return _sha256(self.to_json()["drift"])

    def hash(self) -> str:
        """SHA-256 of the canonical JSON; every drift decision carries it."""
        return _sha256(self.to_json())


def _sha256(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _detector(
    kind: type[Detector], drift: Mapping[str, Any], name: str, default: Detector | None
) -> Detector | None:
    if name not in drift:
        return default
    return None if drift[name] is None else kind.from_json(_object(drift, _OWNER, name))


def _object(parent: Mapping[str, Any], owner: str, name: str) -> Mapping[str, Any]:
    """The object under `name`, an empty one if absent."""
    value = parent.get(name, {})
    if not isinstance(value, Mapping):
        raise InvalidField(owner, name, "an object", value)
    return value


def _metric(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidField(_OWNER, "error_metric", "the name of a metric", value)
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedPolicy:
    """A policy and the first due time it governs."""

    effective_from_ms: int
    policy: JudgementPolicy


def in_force(policies: Sequence[DatedPolicy], at_ms: int) -> JudgementPolicy:
    """The latest policy effective at `at_ms`, or the defaults if there is none yet."""
    governing = [dated for dated in policies if dated.effective_from_ms <= at_ms]
    if not governing:
        return JudgementPolicy()
    return max(governing, key=lambda dated: dated.effective_from_ms).policy
