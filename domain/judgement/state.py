"""All that is remembered about one model between two instants, as plain JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from domain.drift.adwin import AdwinState
from domain.drift.episodes import EpisodeState
from domain.drift.retrain import RetrainState
from domain.drift.rollup import RollUpState
from domain.judgement.decision import Key

GENESIS = "0" * 64


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
    episodes: dict[str, EpisodeState] = field(default_factory=dict)
    """By drift type."""
    openings: dict[str, Key] = field(default_factory=dict)
    """By drift type: the decision that opened the episode which is open now."""
    recent: dict[str, list[int]] = field(default_factory=dict)
    """By drift type: starts of the latest windows that its roll-up saw, up to its longest block."""

    def saw(self, drift_type: str, window_start_ms: int, longest_block: int) -> None:
        """Note that a roll-up took this window."""
        self.recent[drift_type] = [*self.recent.get(drift_type, []), window_start_ms][-longest_block:]

    def begin(self, config_hash: str) -> None:
        """Start the detectors afresh if their policy changed; episodes go on."""
        if config_hash != self.config_hash:
            self.features, self.predictions, self.errors = RollUpState(), RollUpState(), AdwinState()
            self.recent = {}
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
        }

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
