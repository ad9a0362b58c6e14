"""One joined row of history: what was served, what every variant answered, and what really happened."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """A request whose outcome is known; it has no answers if it comes from before the first version."""

    prediction_id: str
    occurred_at_ms: int
    horizon_s: int
    features: Mapping[str, float | str | bool | None]
    actual: float | str
    version: str | None = None
    """The version whose answer was served."""
    prediction: float | str | None = None
    """The served answer."""
    answers: Mapping[str, float | str] = field(default_factory=dict)
    """Version -> its logged answer to this request, shadow answers included."""
