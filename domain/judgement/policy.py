"""How a model is watched: which detectors, and what an alarm leads to."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import orjson

from domain.drift.adwin import AdwinPolicy
from domain.drift.classic import WITHIN_UNIT, ClassicPolicy
from domain.drift.episodes import EpisodePolicy
from domain.drift.esr import EsrPolicy
from domain.drift.estimate import EstimatePolicy
from domain.drift.promise import UNBOUNDED, PromisePolicy
from domain.drift.retrain import RetrainPolicy
from domain.drift.rollup import RollUpPolicy
from domain.errors import InvalidField
from domain.plain import Json

_OWNER = "policy.drift"


class Part(Protocol):
    """A detector's policy."""

    def to_json(self) -> Json: ...


Read = Callable[[Mapping[str, Any]], Any]
P = TypeVar("P")

_FIRST: dict[str, Read] = {
    "features": RollUpPolicy.from_json,
    "predictions": RollUpPolicy.from_json,
    "errors": AdwinPolicy.from_json,
}
_LATER: dict[str, Read] = {
    "feature_scores": EsrPolicy.from_json,
    "prediction_scores": EsrPolicy.from_json,
    "prediction_level": AdwinPolicy.from_json,
    "promise": PromisePolicy.from_json,
    "estimate": EstimatePolicy.from_json,
}
"""Parts that are off by default, and then absent from the JSON: policies of before keep their hashes."""
_SECTIONS = (*_FIRST, *_LATER, "classics", "error_metric", "episodes")
MOST_CLASSICS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgementPolicy:
    """The parts of a model's policy that the judge obeys. None switches a detector off."""

    features: RollUpPolicy | None = RollUpPolicy()
    predictions: RollUpPolicy | None = RollUpPolicy()
    errors: AdwinPolicy | None = AdwinPolicy()
    """Of the error's level; only upward cuts alarm."""
    error_metric: str = "abs_error_clipped"
    """A metric of the score rows; of hit rates the misses are watched."""
    feature_scores: EsrPolicy | None = None
    """Location, scale and single cells of the features."""
    prediction_scores: EsrPolicy | None = None
    """The same of the prediction."""
    prediction_level: AdwinPolicy | None = None
    """Of the prediction's mean, both ways; `scale` in units of the reference's range."""
    promise: PromisePolicy | None = None
    """A metric that must not be worse than what was promised."""
    estimate: EstimatePolicy | None = None
    """Performance expected before outcomes arrive; it only warns."""
    classics: tuple[ClassicPolicy, ...] = ()
    """river's detectors over window means; each opens what the stream it reads opens."""
    episodes: EpisodePolicy = EpisodePolicy()
    retrain: RetrainPolicy = RetrainPolicy()

    def __post_init__(self) -> None:
        for each in self.classics:
            if each.detector in WITHIN_UNIT and self.error_metric in UNBOUNDED:
                limit = f"a metric between 0 and 1, which is all that {each.detector} understands"
                raise InvalidField(_OWNER, "error_metric", limit, self.error_metric)

    def to_json(self) -> dict[str, Any]:
        """The `drift` and `retrain` sections of a policy document."""
        first = {name: _written(getattr(self, name)) for name in _FIRST}
        later = {name: _written(part) for name in _LATER if (part := getattr(self, name)) is not None}
        classics = {"classics": [each.to_json() for each in self.classics]} if self.classics else {}
        return {
            "drift": {
                **first,
                **later,
                **classics,
                "error_metric": self.error_metric,
                "episodes": self.episodes.to_json(),
            },
            "retrain": self.retrain.to_json(),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "JudgementPolicy":
        """Read the `drift` and `retrain` sections; absent parts take their defaults.

        Raises InvalidField, whose owner is the path of the part in the document.
        """
        drift, retrain = _object(document, "policy", "drift"), _object(document, "policy", "retrain")
        # the calendar's part is the registry worker's: no verdict depends on it, so no hash holds it
        watched = {name: value for name, value in retrain.items() if name != "schedule"}
        for name in drift:
            if name not in _SECTIONS:
                raise InvalidField(_OWNER, name, "one of " + ", ".join(_SECTIONS), drift[name])
        default = cls()
        detectors = {
            name: None if drift[name] is None else _read(read, _object(drift, _OWNER, name), name)
            for name, read in (_FIRST | _LATER).items()
            if name in drift
        }
        return cls(
            **detectors,
            classics=_classics(drift.get("classics", [])),
            error_metric=_metric(drift.get("error_metric", default.error_metric)),
            episodes=_read(EpisodePolicy.from_json, _object(drift, _OWNER, "episodes"), "episodes"),
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


def _written(part: Part | None) -> Json | None:
    return None if part is None else part.to_json()


def _read(read: Callable[[Mapping[str, Any]], P], part: Mapping[str, Any], name: str) -> P:
    """Two parts may be of one kind: what is wrong is named by where it stands, not by its kind."""
    try:
        return read(part)
    except InvalidField as error:
        raise InvalidField(f"{_OWNER}.{name}", error.field, error.limit, error.value) from error


def _classics(listed: object) -> tuple[ClassicPolicy, ...]:
    if not isinstance(listed, (list, tuple)) or not all(isinstance(each, Mapping) for each in listed):
        raise InvalidField(_OWNER, "classics", "a list of objects", listed)
    if len(listed) > MOST_CLASSICS:
        raise InvalidField(_OWNER, "classics", f"at most {MOST_CLASSICS} detectors", len(listed))
    read = tuple(_read(ClassicPolicy.from_json, each, f"classics[{at}]") for at, each in enumerate(listed))
    for at, each in enumerate(read):
        if each in read[:at]:
            raise InvalidField(_OWNER, f"classics[{at}]", "another than those before it", each.to_json())
    return read


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
