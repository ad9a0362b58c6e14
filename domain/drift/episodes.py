"""One drift, one alarm: an episode lasts from the first alarm to recovery.

Detectors alarm again while a drift lasts (every long block, every dropped bucket). An episode swallows that:
it opens once, may escalate from warn to drift, and recovers after enough windows without an alarm. How many
is enough depends on the evidence: a drift that only blocks of 64 windows can see is not over after 5.

Several detectors may look for one kind of drift, and look back on different numbers of windows. All that
alarm at one instant drive one step: what is an echo of the last drift is left out first, then the worst
decides the severity and the longest how long quiet has to last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from domain.errors import InvalidField
from domain.plain import LATER, Json, read, write

Severity = Literal["warn", "drift"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodePolicy:
    """Recovery after max(quiet_windows, quiet_blocks * evidence_windows) windows without an alarm."""

    quiet_windows: int = 5
    quiet_blocks: int = 2
    """Times that the same length of evidence must pass without an alarm."""
    cooldown_windows: int = field(default=0, metadata=LATER)
    """Windows after a recovery in which nothing opens; the next episode says how many alarms were held back.
    A detector that takes a new level for granted (ADWIN) may alarm in them only, and then nothing opens."""

    def __post_init__(self) -> None:
        if self.quiet_windows < 1:
            raise InvalidField("EpisodePolicy", "quiet_windows", ">= 1", self.quiet_windows)
        if self.quiet_blocks < 1:
            raise InvalidField("EpisodePolicy", "quiet_blocks", ">= 1", self.quiet_blocks)
        if self.cooldown_windows < 0:
            raise InvalidField("EpisodePolicy", "cooldown_windows", ">= 0", self.cooldown_windows)

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
    held_alarms: int = field(default=0, metadata=LATER)
    """Windows since then whose alarm the cooldown held back; echoes are none."""

    def to_json(self) -> Json:
        return write(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "EpisodeState":
        return read(cls, data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """What one detector says of one window; `evidence_windows` is how many windows it looked back on."""

    severity: Severity
    evidence_windows: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A drift began."""

    severity: Severity
    at_ms: int
    held_alarms: int = 0
    """Windows between the last recovery and now whose alarm the cooldown held back."""


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
    """`step_all` for a stream that one detector watches."""
    alarms = [] if alarm is None else [Alarm(severity=alarm, evidence_windows=evidence_windows)]
    return step_all(policy, state, alarms, at_ms)


def step_all(
    policy: EpisodePolicy, state: EpisodeState, alarms: Sequence[Alarm], at_ms: int
) -> tuple[EpisodeState, Change | None]:
    """Take one window with all alarms that it raised; `leading` says which of them a change rests on.

    After a recovery, an alarm whose evidence reaches back to before it is an echo of the old drift and is
    ignored: a new drift shows in blocks that begin after it.
    """
    if state.severity is None:
        return _closed(policy, state, alarms, at_ms)
    opened_at_ms = at_ms if state.opened_at_ms is None else state.opened_at_ms
    if not alarms:
        if state.quiet_needed > 1:
            return _open(state.severity, opened_at_ms, state.quiet_needed - 1), None
        return EpisodeState(since_recovery=0), Recovered(opened_at_ms=opened_at_ms, at_ms=at_ms)
    quiet = max(state.quiet_needed - 1, _quiet(policy, alarms))
    if state.severity == "warn" and _severity(alarms) == "drift":
        return _open("drift", opened_at_ms, quiet), Escalated(opened_at_ms=opened_at_ms, at_ms=at_ms)
    return _open(state.severity, opened_at_ms, quiet), None


def leading(state: EpisodeState, alarms: Sequence[Alarm]) -> int | None:
    """Index of the alarm that decides in `state`, before the step; None if there is none but echoes.

    Drift goes before warn, then the longest evidence, then the order of `alarms`. An echo never leads: else a
    long block that still holds the old drift would hide the short one that sees the new.
    """
    heard = [index for index, alarm in enumerate(alarms) if not is_echo(state, alarm.evidence_windows)]
    return max(
        heard,
        key=lambda index: (alarms[index].severity == "drift", alarms[index].evidence_windows, -index),
        default=None,
    )


def is_echo(state: EpisodeState, evidence_windows: int) -> bool:
    """Whether evidence of that length, at the next window, reaches back into a recovered episode."""
    since = _since(state)
    return state.severity is None and since is not None and evidence_windows > since


def _closed(
    policy: EpisodePolicy, state: EpisodeState, alarms: Sequence[Alarm], at_ms: int
) -> tuple[EpisodeState, Change | None]:
    since = _since(state)
    heard = [alarm for alarm in alarms if not is_echo(state, alarm.evidence_windows)]
    if not heard:
        return EpisodeState(since_recovery=since, held_alarms=state.held_alarms), None
    if since is not None and since <= policy.cooldown_windows:
        return EpisodeState(since_recovery=since, held_alarms=state.held_alarms + 1), None
    severity = _severity(heard)
    opened = Opened(severity=severity, at_ms=at_ms, held_alarms=state.held_alarms)
    return _open(severity, at_ms, _quiet(policy, heard)), opened


def _since(state: EpisodeState) -> int | None:
    """Windows since the recovery, with the one that is being taken."""
    return None if state.since_recovery is None else state.since_recovery + 1


def _open(severity: Severity, opened_at_ms: int, quiet_needed: int) -> EpisodeState:
    return EpisodeState(severity=severity, opened_at_ms=opened_at_ms, quiet_needed=quiet_needed)


def _severity(alarms: Sequence[Alarm]) -> Severity:
    return "drift" if any(alarm.severity == "drift" for alarm in alarms) else "warn"


def _quiet(policy: EpisodePolicy, alarms: Sequence[Alarm]) -> int:
    longest = max(alarm.evidence_windows for alarm in alarms)
    return max(policy.quiet_windows, policy.quiet_blocks * longest)
