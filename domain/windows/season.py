"""A season: which part of the day, the week or another period a window belongs to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from domain.windows.profile_error import ProfileError, reading

DAY_MS: Final = 86_400_000
WEEK_MS: Final = 7 * DAY_MS
LEAST_SLOTS: Final = 2
MOST_SLOTS: Final = 168
"""The hours of a week: every slot has a histogram of its own, and each wants its rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Season:
    """A period cut into equal slots, counted from 1970-01-01T00:00Z (a Thursday)."""

    period_ms: int
    slots: int

    def __post_init__(self) -> None:
        if not LEAST_SLOTS <= self.slots <= MOST_SLOTS:
            raise ProfileError(f"slots must be {LEAST_SLOTS} to {MOST_SLOTS}, not {self.slots}")
        if self.period_ms < self.slots:
            raise ProfileError(f"period_ms must be at least 1 ms a slot ({self.slots}), not {self.period_ms}")

    def slot(self, start_ms: int) -> int:
        """The slot, 0 to slots - 1, of a window that starts at `start_ms`."""
        return start_ms % self.period_ms * self.slots // self.period_ms

    def slot_start_ms(self, slot: int) -> int:
        """Where in the period a slot begins: the first ms that belongs to it."""
        return -(-slot * self.period_ms // self.slots)

    def to_json(self) -> dict[str, int]:
        return {"period_ms": self.period_ms, "slots": self.slots}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Season":
        """Inverse of `to_json`; raises ProfileError."""
        with reading():
            return cls(period_ms=int(value["period_ms"]), slots=int(value["slots"]))
