"""Rows to train on: a request, its features and what really happened; from the log also what was answered."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledRow:
    """A request whose outcome is known. Data from before a model's first version has nothing else."""

    prediction_id: str
    occurred_at_ms: int
    horizon_s: int
    features: Mapping[str, float | str | bool | None]
    actual: float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow(LabelledRow):
    """A served prediction whose outcome side is closed."""

    version: str
    """The version whose answer was served."""
    prediction: float | str
    """The served answer."""
    answers: Mapping[str, float | str]
    """Version -> its logged answer to this request, shadow answers included."""
