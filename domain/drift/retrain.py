"""When does drift ask for a new model?

Every qualifying episode asks once. A request that is held back (an experiment runs, the cooldown has not
passed, the week's budget is spent, somebody muted the episode) is not lost: it is made at the first step at
which nothing holds it, if the episode is still open then; an episode that recovered meanwhile no longer needs
it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from domain.errors import InvalidField
from domain.plain import Json, read, write

Severity = Literal["warn", "drift"]
HoldReason = Literal["experiment", "cooldown", "budget"]
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainPolicy:
    """Which drifts ask for retraining, and how often at most. Times in milliseconds."""

    drift_types: tuple[str, ...] = ("CONCEPT_DRIFT", "DATA_DRIFT", "PERFORMANCE_DEGRADATION")
    min_severity: Severity = "drift"
    cooldown_ms: int = DAY_MS
    """Least time between two requests."""
    budget: int = 2
    """Requests within any `budget_window_ms`."""
    budget_window_ms: int = 7 * DAY_MS
    hold_while_experiment: bool = True
    repeat_ms: int | None = None
    """An episode still open this long after its request asks again; None: never."""

    def __post_init__(self) -> None:
        owner = "RetrainPolicy"
        if self.cooldown_ms < 0:
            raise InvalidField(owner, "cooldown_ms", ">= 0", self.cooldown_ms)
        if self.budget < 0:
            raise InvalidField(owner, "budget", ">= 0", self.budget)
        if self.budget_window_ms <= 0:
            raise InvalidField(owner, "budget_window_ms", "> 0", self.budget_window_ms)
        if self.repeat_ms is not None and self.repeat_ms <= 0:
            raise InvalidField(owner, "repeat_ms", "> 0 or null", self.repeat_ms)

    def qualifies(self, drift_type: str, severity: Severity) -> bool:
        """Whether such an episode asks for retraining at all."""
        return drift_type in self.drift_types and (severity == "drift" or self.min_severity == "warn")

    def to_json(self) -> Json:
        return write(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "RetrainPolicy":
        return read(cls, data)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenEpisode:
    """An episode of this model that is open at this step, new or old."""

    episode_id: str
    drift_type: str
    severity: Severity
    muted: bool = False
    """It asks for nothing now; what it asked for is remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainState:
    """Of one model: times of its requests that still count, and when each open episode was answered."""

    requested_ms: tuple[int, ...] = ()
    answered_ms: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> Json:
        answered = {key: self.answered_ms[key] for key in sorted(self.answered_ms)}
        return {"requested_ms": list(self.requested_ms), "answered_ms": answered}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "RetrainState":
        return cls(requested_ms=tuple(data["requested_ms"]), answered_ms=dict(data["answered_ms"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRetrain:
    """Order: train a new model on history up to `at_ms`."""

    at_ms: int
    episode_ids: tuple[str, ...]
    drift_types: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A request is due and not made, and why. `until_ms` is None when no time alone will free it."""

    reason: HoldReason
    episode_ids: tuple[str, ...]
    until_ms: int | None


def step(
    policy: RetrainPolicy,
    state: RetrainState,
    at_ms: int,
    open_episodes: Sequence[OpenEpisode],
    experiment_running: bool,
) -> tuple[RetrainState, RequestRetrain | Held | None]:
    """Decide once per window, with all episodes of the model that are open after it.

    One request answers all episodes that wait for one.
    """
    open_ids = {episode.episode_id for episode in open_episodes}
    answered = {key: at for key, at in state.answered_ms.items() if key in open_ids}
    span = max(policy.budget_window_ms, policy.cooldown_ms)
    requested = tuple(at for at in state.requested_ms if at > at_ms - span)
    kept = RetrainState(requested_ms=requested, answered_ms=answered)
    waiting = [episode for episode in open_episodes if _waits(policy, answered, at_ms, episode)]
    if not waiting:
        return kept, None
    ids = tuple(sorted(episode.episode_id for episode in waiting))
    hold = _hold(policy, requested, at_ms, experiment_running)
    if hold is not None:
        reason, until_ms = hold
        return kept, Held(reason=reason, episode_ids=ids, until_ms=until_ms)
    types = tuple(sorted({episode.drift_type for episode in waiting}))
    order = RequestRetrain(at_ms=at_ms, episode_ids=ids, drift_types=types, reason=_words(waiting))
    after = RetrainState(requested_ms=(*requested, at_ms), answered_ms=answered | dict.fromkeys(ids, at_ms))
    return after, order


def _waits(policy: RetrainPolicy, answered: Mapping[str, int], at_ms: int, episode: OpenEpisode) -> bool:
    if episode.muted or not policy.qualifies(episode.drift_type, episode.severity):
        return False
    answered_ms = answered.get(episode.episode_id)
    if answered_ms is None:
        return True
    return policy.repeat_ms is not None and at_ms >= answered_ms + policy.repeat_ms


def _hold(
    policy: RetrainPolicy, requested: Sequence[int], at_ms: int, experiment_running: bool
) -> tuple[HoldReason, int | None] | None:
    if experiment_running and policy.hold_while_experiment:
        return "experiment", None
    if requested and at_ms < requested[-1] + policy.cooldown_ms:
        return "cooldown", requested[-1] + policy.cooldown_ms
    if policy.budget == 0:
        return "budget", None
    recent = [at for at in requested if at > at_ms - policy.budget_window_ms]
    if len(recent) >= policy.budget:
        return "budget", recent[-policy.budget] + policy.budget_window_ms
    return None


def _words(waiting: Iterable[OpenEpisode]) -> str:
    pairs = sorted({(episode.drift_type, episode.severity) for episode in waiting})
    return "open drift episodes: " + ", ".join(f"{kind} ({severity})" for kind, severity in pairs)
