"""e-SR against a promised baseline: has an error rate risen above what was promised, plus a tolerance?

The baseline is a promise (a service level, or what was measured on reference rows), so this finds performance
that is bad, where bucket-ADWIN finds performance that changed. Per window with mean m over n items, badness s
= n m, and per alternative p_g beyond the tolerated p_t, log e = s log(p_g/p_t) + (n-s) log((1-p_g)/(1-p_t)).

Nothing but a range of [0, 1] is asked of the metric: e^(l x) is convex, so on [0, 1] it is at most 1 + x (e^l
- 1), and the mean of that depends on the mean of x alone. A Bernoulli variable attains it, so E[e] <= 1 for
every metric within [0, 1] whose mean, given the past, is at most p_t.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.drift import shiryaev
from domain.drift.esr import STANDARD_ERRORS, check_sizes
from domain.drift.tilt import REACH, Bet, bernoulli
from domain.errors import InvalidField
from domain.plain import Json, read, write

SIZES = (0.2, 0.4, 0.8, 1.6)
HITS = ("hit", "sign_hit")
"""Metrics whose good value is 1."""
UNBOUNDED = ("abs_error", "squared_error", "log_loss", "directional_return")
"""Metrics of the score rows that no promise can be made about: no bound holds for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromisePolicy:
    """The metric shall not be worse than `baseline` by more than `tolerance`; both in its own unit."""

    metric: str
    """hit, sign_hit, brier, abs_error_clipped, or a value of your own between 0 and 1, less being better."""
    baseline: float | None = None
    """None: the mean that the reference profile measured."""
    tolerance: float
    false_alarms_per_window: float = 1e-4
    sizes: tuple[float, ...] = SIZES
    """Alternatives beyond the tolerance, in standard deviations of one item's badness."""

    def __post_init__(self) -> None:
        owner = "PromisePolicy"
        check_bounded(owner, "metric", self.metric)
        if self.baseline is not None and self.baseline < 0:
            raise InvalidField(owner, "baseline", ">= 0 or null", self.baseline)
        if self.tolerance <= 0:
            raise InvalidField(owner, "tolerance", "> 0", self.tolerance)
        if self.baseline is not None and self.metric != "abs_error_clipped":
            if self.baseline > 1:
                raise InvalidField(owner, "baseline", "at most 1, as the metric", self.baseline)
            if badness(self.metric, self.baseline) + self.tolerance >= 1:
                limit = "so small that the metric can be worse than the baseline by more"
                raise InvalidField(owner, "tolerance", limit, self.tolerance)
        if not 0 < self.false_alarms_per_window < 1:
            raise InvalidField(owner, "false_alarms_per_window", "> 0 and < 1", self.false_alarms_per_window)
        check_sizes(owner, self.sizes)

    def to_json(self) -> Json:
        return write(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "PromisePolicy":
        return read(cls, data)


def check_bounded(owner: str, name: str, metric: str) -> None:
    """Raises InvalidField for a metric that is known to leave [0, 1] even after `badness`."""
    if not metric or metric in UNBOUNDED:
        raise InvalidField(
            owner,
            name,
            "a metric between 0 and 1 (hit, sign_hit, brier, abs_error_clipped, or your own)",
            metric,
        )


def badness(metric: str, value: float, clip: float = 1.0) -> float:
    """The mean of a metric as a rate of badness: hits become misses, clipped errors parts of the clip.

    `clip` is the profile's error_clip for abs_error_clipped, else 1. Held to [0, 1]: a metric of one's own
    that goes beyond counts as its bound.

    >>> badness("sign_hit", 0.75), badness("abs_error_clipped", 3.0, clip=12.0)
    (0.25, 0.25)
    """
    return min(1.0, max(0.0, worse(metric, value, clip)))


def worse(metric: str, value: float, clip: float = 1.0) -> float:
    """The same, of any metric and held to nothing: more is worse."""
    return 1.0 - value if metric in HITS else value / clip


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseState:
    """Evidence since the last alarm: log M per size, and the windows for which the mean M has stayed >= 1."""

    log_m: tuple[float, ...] = ()
    windows: int = 0
    items: float = 0.0
    bad: float = 0.0
    """Sum of badness in them."""

    def to_json(self) -> Json:
        return write(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "PromiseState":
        return read(cls, data)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseFinding:
    """The promise is broken. `mean`, `baseline` and `tolerated` are in the metric's own unit."""

    metric: str
    log_e: float
    """Natural logarithm of the mean of M over the alternatives."""
    threshold: float
    """What `log_e` reached: log(1 / false_alarms_per_window)."""
    mean: float
    """Mean of the metric over the windows of evidence."""
    baseline: float
    tolerated: float
    """The worst mean that would not count as broken."""
    evidence_windows: int
    """Windows since M last stood below 1, about since it became worse."""
    sample_size: float
    """Items in these windows; for an estimate their expected number."""
    phi: float


def step(
    policy: PromisePolicy,
    state: PromiseState,
    n: int,
    mean: float,
    baseline: float,
    phi: float = 1.0,
    clip: float = 1.0,
    baseline_n: float = math.inf,
) -> tuple[PromiseState, PromiseFinding | None]:
    """Add one closed window of `n` items with this mean of the metric.

    `baseline` is the policy's, or the profile's mean if that is None; then `baseline_n` is the profile's
    count, and the tolerance at least three of its standard errors. `phi` divides log e. An empty window
    changes nothing, and an alarm starts afresh.
    """
    p0 = badness(policy.metric, baseline, clip)
    tolerated = tolerated_rate(p0, policy.tolerance / clip, phi, baseline_n)
    after, log_e, run = fold(
        state,
        bets(p0, tolerated, policy.sizes),
        n,
        n * badness(policy.metric, mean, clip),
        phi,
        policy.false_alarms_per_window,
    )
    if run is None:
        return after, None
    return after, PromiseFinding(
        metric=policy.metric,
        log_e=log_e,
        threshold=-math.log(policy.false_alarms_per_window),
        mean=_restored(policy.metric, run.bad / run.items, clip),
        baseline=baseline,
        tolerated=_restored(policy.metric, tolerated, clip),
        evidence_windows=run.windows,
        sample_size=run.items,
        phi=phi,
    )


def tolerated_rate(p0: float, tolerance: float, phi: float, baseline_n: float) -> float:
    """The worst rate that does not break the promise: at least three standard errors of a measured p0."""
    return p0 + max(tolerance, STANDARD_ERRORS * math.sqrt(p0 * (1.0 - p0) * phi / baseline_n))


def bets(p0: float, tolerated: float, sizes: Sequence[float]) -> tuple[Bet, ...]:
    """Bets on rates beyond `tolerated`, by sizes in standard deviations at p0; none if no rate is beyond it.

    Where the tolerance is wider than that standard deviation (a baseline near 0 or 1), the one at its edge is
    the unit. If none of the sizes fits below 1, the bet is on the middle of what is left.
    """
    if tolerated >= 1.0:
        return ()
    unit = math.sqrt(p0 * (1.0 - p0))
    if unit < tolerated - p0:
        unit = math.sqrt(tolerated * (1.0 - tolerated))
    furthest = tolerated + REACH * (1.0 - tolerated)
    rates = [rate for size in sizes if (rate := tolerated + size * unit) < furthest]
    return tuple(bernoulli(tolerated, rate) for rate in rates or [(tolerated + 1.0) / 2])


def fold(
    state: PromiseState, on: Sequence[Bet], n: float, bad: float, phi: float, false_alarms_per_window: float
) -> tuple[PromiseState, float, PromiseState | None]:
    """One window through the recursion: the state after it, log of the mean M, and the run if it alarms."""
    if n <= 0 or not on:
        return state, shiryaev.NOTHING, None
    # another promise has other alternatives: evidence about those says nothing here
    old: Sequence[float | None] = state.log_m if len(state.log_m) == len(on) else (None,) * len(on)
    log_m = tuple(shiryaev.advanced(m, bet.log_e(bad, n) / phi) for m, bet in zip(old, on, strict=True))
    log_e = shiryaev.log_mean(log_m, len(log_m))
    if log_e < 0:
        return PromiseState(log_m=log_m), log_e, None
    run = PromiseState(log_m=log_m, windows=state.windows + 1, items=state.items + n, bad=state.bad + bad)
    if log_e < -math.log(false_alarms_per_window):
        return run, log_e, None
    return PromiseState(), log_e, run


def _restored(metric: str, bad: float, clip: float) -> float:
    return 1.0 - bad if metric in HITS else bad * clip
