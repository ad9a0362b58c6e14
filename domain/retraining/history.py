"""One joined row of history: what was served, what every variant answered, and what really happened."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """A served prediction whose outcome side is closed."""

    prediction_id: str
    occurred_at_ms: int
    horizon_s: int
    version: str
    """The version whose answer was served."""
    prediction: float | str
    """The served answer."""
    answers: Mapping[str, float | str]
    """Version -> its logged answer to this request, shadow answers included."""
    features: Mapping[str, float | str | bool | None]
    actual: float | str
