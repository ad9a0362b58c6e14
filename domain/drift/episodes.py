"""One drift, one alarm: an episode lasts from the first alarm to recovery.

Detectors alarm again while a drift lasts (every long block, every dropped bucket). An episode swallows that:
it opens once, may escalate from warn to drift, and recovers after enough windows without an alarm. How many
is enough depends on the evidence: a drift that only blocks of 64 windows can see is not over after 5.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from domain.errors import InvalidField
from domain.plain import Json, read, write

Severity = Literal["warn", "drift"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodePolicy:
    """Recovery after max(quiet_windows, quiet_blocks * evidence_windows) windows without an alarm."""

    quiet_windows: int = 5
    quiet_blocks: int = 2
    """Times that the same length of evidence must pass without an alarm."""

    def __post_init__(self) -> None:
        if self.quiet_windows < 1:
            raise InvalidField("EpisodePolicy", "quiet_windows", ">= 1", self.quiet_windows)
        if self.quiet_blocks < 1:
            raise InvalidField("EpisodePolicy", "quiet_blocks", ">= 1", self.quiet_blocks)

    def to_json(self) -> Json:
        return write(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "EpisodePolicy":
        return read(cls, data)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeState:
    """Of one stream, such as (model, version, drift type). `severity` is None while no episode is open."""

    severity: Severity | None = None
    opened_at_ms: int | None = None
    quiet_needed: int = 0
    """Windows without an alarm until recovery."""
    since_recovery: int | None = None
    """Windows since the last episode recovered; None before the first recovery."""

    def to_json(self) -> Json:
        return write(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "EpisodeState":
        return read(cls, data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A drift began."""

    severity: Severity
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalated:
    """An open warning became a drift; it is the same episode."""

    opened_at_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """The open episode is over."""

    opened_at_ms: int
    at_ms: int


Change = Opened | Escalated | Recovered


def step(
    policy: EpisodePolicy,
    state: EpisodeState,
    alarm: Severity | None,
    at_ms: int,
    evidence_windows: int = 1,
) -> tuple[EpisodeState, Change | None]:
    """Take the verdict of one window; `evidence_windows` is how many windows the alarm looked back on.

    After a recovery, an alarm whose evidence reaches back to before it is an echo of the old drift and is
    ignored: a new drift shows in blocks that begin after it.
    """
    if state.severity is None:
        return _closed(policy, state, alarm, at_ms, evidence_windows)
    opened_at_ms = at_ms if state.opened_at_ms is None else state.opened_at_ms
    if alarm is None:
        if state.quiet_needed > 1:
            return _open(state.severity, opened_at_ms, state.quiet_needed - 1), None
        return EpisodeState(since_recovery=0), Recovered(opened_at_ms=opened_at_ms, at_ms=at_ms)
    quiet = max(state.quiet_needed - 1, _quiet(policy, evidence_windows))
    if state.severity == "warn" and alarm == "drift":
        return _open("drift", opened_at_ms, quiet), Escalated(opened_at_ms=opened_at_ms, at_ms=at_ms)
    return _open(state.severity, opened_at_ms, quiet), None


def _closed(
    policy: EpisodePolicy, state: EpisodeState, alarm: Severity | None, at_ms: int, evidence_windows: int
) -> tuple[EpisodeState, Change | None]:
    since = None if state.since_recovery is None else state.since_recovery + 1
    echo = since is not None and evidence_windows > since
    if alarm is None or echo:
        return EpisodeState(since_recovery=since), None
    opened = _open(alarm, at_ms, _quiet(policy, evidence_windows))
    return opened, Opened(severity=alarm, at_ms=at_ms)


def _open(severity: Severity, opened_at_ms: int, quiet_needed: int) -> EpisodeState:
    return EpisodeState(severity=severity, opened_at_ms=opened_at_ms, quiet_needed=quiet_needed)


def _quiet(policy: EpisodePolicy, evidence_windows: int) -> int:
    return max(policy.quiet_windows, policy.quiet_blocks * evidence_windows)
