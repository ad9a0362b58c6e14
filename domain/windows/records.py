"""What a fold reads: decoded predictions and outcomes, as the shell hands them over."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


class PredictionRecord(Protocol):
    """One decoded prediction. Absent names are None; `horizon_s` is seconds until the outcome is due."""

    @property
    def prediction_id(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def variant(self) -> str | None: ...
    @property
    def experiment(self) -> str | None: ...
    @property
    def epoch(self) -> int: ...
    @property
    def served(self) -> bool: ...
    @property
    def prediction(self) -> float | str: ...
    @property
    def features(self) -> Mapping[str, float | str | bool | None]: ...
    @property
    def unit(self) -> str | None: ...
    @property
    def covariate(self) -> float | None: ...
    @property
    def horizon_s(self) -> int: ...


class OutcomeRecord(Protocol):
    """One decoded outcome."""

    @property
    def prediction_id(self) -> str: ...
    @property
    def actual(self) -> float | str: ...
    @property
    def values(self) -> Mapping[str, float]: ...


@dataclass(frozen=True, slots=True)
class Invalid:
    """A record that cannot be used, and why. `moves_time` is False only when its timestamp itself is a lie."""

    reason: str
    moves_time: bool
