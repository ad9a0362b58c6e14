"""What one run of the fault suite consists of, as plain values; its randomness follows from `seed`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from domain.windows.policy import WindowPolicy

PARTITIONS = 8
CREW: Mapping[str, int] = {"tally": 3, "judge": 2, "relay": 2, "registry": 2, "trainer": 1}
SHORT_CREW: Mapping[str, int] = {"tally": 2, "judge": 2, "relay": 2, "registry": 1, "trainer": 1}
STEADY, UNKNOWN_YET, DRIFTING = "steady", "2", "drifting"
"""A model that nothing happens to; its version that serves before it is registered; a model that drifts."""
REPLAY_FROM_MS = 1_700_000_000_000
FULL_S = 300.0
"""A run that lasts this long has time for everything that `LEAST` names."""
LEAST: Mapping[str, int] = {
    "decisions": 20,
    "promotions": 3,
    "episodes": 5,
    "retrainings": 1,
    "dead_letters": 100,
    "duplicates": 100,
}
"""Of a run of full length, less than half of what is usual: with fewer, being sound would say little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One run. `live`: event time is the wall clock and workers beat for quiet partitions themselves;
    otherwise event time lies in the past and advances `speed` times as fast."""

    seed: int
    seconds: float
    """Of traffic and faults; settling comes on top."""
    brokers: int = 1
    live: bool = False
    speed: float = 3.0
    window_s: float = 10.0
    requests_per_second: float = 130.0
    """Of wall time; each gives one or two predictions and mostly one outcome."""
    trials: tuple[str, ...] = ("trial-a", "trial-b", "trial-c")
    """Models on which one experiment follows the other."""
    crew: Mapping[str, int] = field(default_factory=lambda: dict(CREW))
    mutant: str | None = None
    """The rule that is switched off in all workers: a negative control."""
    faults: tuple[str, ...] | None = None
    """Only these kinds; None: all that the servers allow."""
    pause_s: tuple[float, float] = (1.0, 6.0)
    """Between the end of one fault and the beginning of the next."""
    settle_s: float = 150.0
    least: Mapping[str, int] = field(default_factory=dict)
    """What has to happen at least; where anything has to, no fault may hit nothing either."""

    @property
    def windows(self) -> WindowPolicy:
        return WindowPolicy(
            length_ms=round(self.window_s * 1_000),
            slack_ms=round(self.window_s * 100),
            grace_ms=round(self.window_s * 200),
            max_horizon_s=round(self.window_s * 3),
            memory_ms=round(self.window_s * 400),
        )

    @property
    def horizons_s(self) -> tuple[int, ...]:
        """Most outcomes are due soon, some in a later window."""
        short = max(1, round(self.window_s / 5))
        return short, short, short, round(self.window_s * 1.5)

    @property
    def models(self) -> tuple[str, ...]:
        return STEADY, DRIFTING, *self.trials

    def describe(self) -> dict[str, Any]:
        """For the report."""
        names = ("seed", "seconds", "brokers", "live", "speed", "window_s", "requests_per_second", "mutant")
        return {name: getattr(self, name) for name in names} | {"crew": dict(self.crew)}


def long_run(seed: int, seconds: float) -> Scenario:
    """The run of `make chaos` for a seed: odd seeds replay the past over three brokers, even ones run live
    over one."""
    least = dict(LEAST) if seconds >= FULL_S else {}
    if seed % 2:
        return Scenario(seed=seed, seconds=seconds, brokers=3, least=least)
    return Scenario(seed=seed, seconds=seconds, brokers=1, live=True, speed=1.0, window_s=5.0, least=least)


def short_run(seed: int, seconds: float, **other: Any) -> Scenario:
    """A run that decides something within half a minute: event time flies."""
    given: dict[str, Any] = {
        "speed": 10.0,
        "trials": ("trial-a",),
        "requests_per_second": 100.0,
        "crew": dict(SHORT_CREW),
        "pause_s": (0.5, 1.5),
        "settle_s": 60.0,
        **other,
    }
    return Scenario(seed=seed, seconds=seconds, **given)
