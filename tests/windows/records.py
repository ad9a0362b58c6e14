"""Records as a decoder would hand them over, and logs of one partition."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from domain.windows.records import Feature, Invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    prediction_id: str
    model: str = "m"
    version: str = "1"
    variant: str | None = None
    experiment: str | None = None
    epoch: int = 0
    served: bool = True
    prediction: float | str = 0.0
    features: Mapping[str, Feature] = field(default_factory=dict)
    unit: str | None = None
    covariate: float | None = None
    horizon_s: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    prediction_id: str
    actual: float | str = 0.0
    values: Mapping[str, float] = field(default_factory=dict)


PredictionEntry = tuple[int, Prediction | Invalid | None]
"""(timestamp, record); None is a heartbeat."""
OutcomeEntry = tuple[int, Outcome | Invalid | None]


@dataclass(frozen=True, slots=True)
class Log:
    """Both topics of one partition."""

    predictions: list[PredictionEntry]
    outcomes: list[OutcomeEntry]
