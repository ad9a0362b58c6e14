"""When windows begin, close and are forgotten. All times are event times in milliseconds."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowPolicy:
    """The settings of the window fold; every worker of a deployment must use the same ones.

    Raises ValueError naming the field when a value is out of range.
    """

    length_ms: int = 60_000
    slack_ms: int = 10_000
    """How far a record may be behind the newest of its own topic-partition before it is late."""
    grace_ms: int = 30_000
    """How long after it is due an outcome is still used."""
    max_horizon_s: int = 2_678_400
    memory_ms: int = -1
    """How long after a window's last cutoff its ids are remembered, so that a late correction is told
    from an orphan; -1 (the default) means as long as the grace."""

    def __post_init__(self) -> None:
        if self.memory_ms == -1:
            object.__setattr__(self, "memory_ms", self.grace_ms)
        for name, least in (
            ("length_ms", 1),
            ("slack_ms", 0),
            ("grace_ms", 0),
            ("max_horizon_s", 1),
            ("memory_ms", 0),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")

    def window(self, timestamp_ms: int) -> int:
        """Index of the window that `timestamp_ms` belongs to."""
        return timestamp_ms // self.length_ms

    def window_start(self, timestamp_ms: int) -> int:
        """Start in ms of the window that `timestamp_ms` belongs to."""
        return timestamp_ms // self.length_ms * self.length_ms

    def cutoff_ms(self, window_start_ms: int, horizon_s: int) -> int:
        """First moment at which an outcome for this window and horizon comes too late."""
        return window_start_ms + self.length_ms + horizon_s * 1000 + self.grace_ms

    def last_window_served(self, arrival_window: int) -> int:
        """Largest window an outcome that arrives in `arrival_window` can be used for."""
        return ((arrival_window + 1) * self.length_ms - 1 + self.slack_ms) // self.length_ms

    def last_arrival_window(self, finish_ms: int) -> int:
        """Largest arrival window whose outcomes may refer to a window that finishes at `finish_ms`."""
        return (finish_ms - 1 + self.slack_ms) // self.length_ms

    def to_json(self) -> dict[str, int]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, int]) -> "WindowPolicy":
        return cls(**{field.name: value[field.name] for field in fields(cls)})
