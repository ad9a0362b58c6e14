"""All that is remembered about one model between two instants, as plain JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from domain.drift.adwin import AdwinState
from domain.drift.classic import ClassicState
from domain.drift.episodes import EpisodeState
from domain.drift.esr import EsrState
from domain.drift.promise import PromiseState
from domain.drift.retrain import RetrainState
from domain.drift.rollup import RollUpState
from domain.judgement.decision import Key
from domain.judgement.relation import RelationState

GENESIS = "0" * 64
MOST_RECENT = 256
"""Windows whose starts are remembered for evidence that looks back as far as it must."""


class _State(Protocol):
    def to_json(self) -> dict[str, Any]: ...


@dataclass(slots=True)
class Watch:
    """The detectors and episodes of one version that has served."""

    served_at_ms: int
    """Start of the last window in which it served."""
    config_hash: str = ""
    """Policy that the detectors were begun with: another policy starts them afresh."""
    features: RollUpState = field(default_factory=RollUpState)
    predictions: RollUpState = field(default_factory=RollUpState)
    errors: AdwinState = field(default_factory=AdwinState)
    feature_scores: EsrState = field(default_factory=EsrState)
    prediction_scores: EsrState = field(default_factory=EsrState)
    prediction_level: AdwinState = field(default_factory=AdwinState)
    promise: PromiseState = field(default_factory=PromiseState)
    estimate: PromiseState = field(default_factory=PromiseState)
    classics: dict[str, ClassicState] = field(default_factory=dict)
    """By place in the policy's list."""
    relation: RelationState = field(default_factory=RelationState)
    episodes: dict[str, EpisodeState] = field(default_factory=dict)
    """By stream (`domain.judgement.streams`)."""
    openings: dict[str, Key] = field(default_factory=dict)
    """By stream: the decision that opened the episode which is open now."""
    recent: dict[str, list[int]] = field(default_factory=dict)
    """By stream: starts of the latest windows that its detectors saw, as far back as evidence goes."""

    def saw(self, stream: str, window_start_ms: int, longest: int) -> list[int]:
        """Note that detectors took this window; returns the latest ones with it."""
        self.recent[stream] = [*self.recent.get(stream, []), window_start_ms][-longest:]
        return self.recent[stream]

    def begin(self, config_hash: str) -> None:
        """Start the detectors afresh if their policy changed; episodes go on.

        Estimates that wait for outcomes stay as well: they are of the profile, whatever the policy.
        """
        if config_hash != self.config_hash:
            self.features, self.predictions = RollUpState(), RollUpState()
            self.errors, self.prediction_level = AdwinState(), AdwinState()
            self.feature_scores, self.prediction_scores = EsrState(), EsrState()
            self.promise, self.estimate = PromiseState(), PromiseState()
            self.classics, self.recent = {}, {}
            self.config_hash = config_hash

    def to_json(self) -> dict[str, Any]:
        return {
            "served_at_ms": self.served_at_ms,
            "config_hash": self.config_hash,
            "features": self.features.to_json(),
            "predictions": self.predictions.to_json(),
            "errors": self.errors.to_json(),
            "episodes": {name: state.to_json() for name, state in self.episodes.items()},
            "openings": {name: list(key) for name, key in self.openings.items()},
            "recent": {name: list(starts) for name, starts in self.recent.items()},
            **self._used(),
        }

    def _used(self) -> dict[str, Any]:
        """Of the parts that came after states had been stored, those in use."""
        parts: dict[str, tuple[_State, _State]] = {
            "feature_scores": (self.feature_scores, EsrState()),
            "prediction_scores": (self.prediction_scores, EsrState()),
            "prediction_level": (self.prediction_level, AdwinState()),
            "promise": (self.promise, PromiseState()),
            "estimate": (self.estimate, PromiseState()),
            "relation": (self.relation, RelationState()),
        }
        used = {name: part.to_json() for name, (part, unused) in parts.items() if part != unused}
        if self.classics:
            used["classics"] = {place: state.to_json() for place, state in self.classics.items()}
        return used

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Watch":
        return cls(
            served_at_ms=data["served_at_ms"],
            config_hash=data["config_hash"],
            features=RollUpState.from_json(data["features"]),
            predictions=RollUpState.from_json(data["predictions"]),
            errors=AdwinState.from_json(data["errors"]),
            episodes={name: EpisodeState.from_json(state) for name, state in data["episodes"].items()},
            openings={name: _key(parts) for name, parts in data["openings"].items()},
            recent={name: list(starts) for name, starts in data["recent"].items()},
            feature_scores=EsrState.from_json(data.get("feature_scores", EsrState().to_json())),
            prediction_scores=EsrState.from_json(data.get("prediction_scores", EsrState().to_json())),
            prediction_level=AdwinState.from_json(data.get("prediction_level", AdwinState().to_json())),
            promise=PromiseState.from_json(data.get("promise", {})),
            estimate=PromiseState.from_json(data.get("estimate", {})),
            classics={
                place: ClassicState.from_json(state) for place, state in data.get("classics", {}).items()
            },
            relation=RelationState.from_json(data.get("relation", RelationState().to_json())),
        )


@dataclass(slots=True)
class Trial:
    """One experiment: its evidence while it runs, its verdict afterwards."""

    evidence: dict[str, Any] | None
    """State of `domain.experiments`; None once decided or cancelled."""
    verdict: str | None = None
    last_due_ms: int = 0
    """When its latest row fell due, of its inputs or its scores."""
    epoch: int = -1
    """Latest allocation epoch of its score rows; -1 before the first."""
    looked: bool = False
    """Whether any batch was closed: only then was there anything that could have become a verdict."""

    def to_json(self) -> dict[str, Any]:
        return {
            "evidence": self.evidence,
            "verdict": self.verdict,
            "last_due_ms": self.last_due_ms,
            "epoch": self.epoch,
            "looked": self.looked,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Trial":
        evidence = data["evidence"]
        return cls(
            evidence=evidence,
            verdict=data["verdict"],
            last_due_ms=data["last_due_ms"],
            epoch=data["epoch"],
            # older states do not say; what is over is taken to have been looked at
            looked=data.get("looked", evidence is None or evidence["batches"] > 0),
        )

    @property
    def running(self) -> bool:
        return self.verdict is None


@dataclass(slots=True)
class ModelState:
    """Mutable while a judgement runs; only its JSON is kept."""

    tallies_digest: str = GENESIS
    serving: str = ""
    """The version that served most answers in the last window."""
    watches: dict[str, Watch] = field(default_factory=dict)
    trials: dict[str, Trial] = field(default_factory=dict)
    retrain: RetrainState = field(default_factory=RetrainState)

    def to_json(self) -> dict[str, Any]:
        return {
            "tallies_digest": self.tallies_digest,
            "serving": self.serving,
            "watches": {version: watch.to_json() for version, watch in self.watches.items()},
            "trials": {name: trial.to_json() for name, trial in self.trials.items()},
            "retrain": self.retrain.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ModelState":
        return cls(
            tallies_digest=data["tallies_digest"],
            serving=data["serving"],
            watches={version: Watch.from_json(watch) for version, watch in data["watches"].items()},
            trials={name: Trial.from_json(trial) for name, trial in data["trials"].items()},
            retrain=RetrainState.from_json(data["retrain"]),
        )


def _key(parts: list[str]) -> Key:
    kind, model, subject, window_start, at = parts
    return (kind, model, subject, window_start, at)
