"""Mixture e-SR on histograms: has the location, the scale or a cell of any feature left a tolerance?

Numeric features are watched for location and scale, all features for the share of single cells: categories,
missing, unseen. Each score is bet on in both directions and by several sizes; one Shiryaev-Roberts statistic
M runs per bet. All of them share one rate: the mean of M over features, of each feature's mean over its bets,
is compared with 1 / false_alarms_per_window, so that a model without drift alarms at most that often per
window (average run length; Shin, Ramdas and Rinaldo 2023), whatever the dependence between features and
windows' sizes.

That holds while windows are at most multinomial draws from tilts of the reference within the tolerance. The
roll-up sees any change of shape; this sees a change of scores, and mean shifts sooner.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import mul
from typing import Any, Literal, Protocol

from domain.drift import shiryaev
from domain.drift.rollup import CellsDiffer
from domain.drift.scores import Score, cell_shares, indicator_scale, numeric_scores, share_bound
from domain.drift.tilt import Bet, indicator_bets, score_bets
from domain.errors import InvalidField
from domain.plain import Json, read, write

Kind = Literal["numeric", "categorical"]
SIGNS = (1, -1)
STANDARD_ERRORS = 3.0
"""A reference is itself a sample: the tolerance is 0, or at least this many of its standard errors."""


class Reference(Protocol):
    """What e-SR needs of a frozen reference."""

    @property
    def kind(self) -> Kind:
        """Numeric cells ascend and have a location and a scale; categorical ones have shares only."""

    @property
    def counts(self) -> Sequence[int]:
        """Reference items per cell; the last two cells are missing and unseen."""

    @property
    def phi(self) -> float:
        """Overdispersion of window means, measured on reference windows; 1 for independent items."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EsrPolicy:
    """`delta` is the tolerated move of a score, `sizes` the moves beyond it that are bet on; both in sd."""

    delta: float = 0.05
    sizes: tuple[float, ...] = (0.2, 0.4, 0.8, 1.6)
    false_alarms_per_window: float = 1e-4
    features: tuple[str, ...] = ()
    """Watch only these; empty watches all that have a reference."""

    def __post_init__(self) -> None:
        owner = "EsrPolicy"
        if self.delta < 0:
            raise InvalidField(owner, "delta", ">= 0", self.delta)
        check_sizes(owner, self.sizes)
        if not 0 < self.false_alarms_per_window < 1:
            raise InvalidField(owner, "false_alarms_per_window", "> 0 and < 1", self.false_alarms_per_window)

    def to_json(self) -> Json:
        return write(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "EsrPolicy":
        return read(cls, data)


def check_sizes(owner: str, sizes: Sequence[float]) -> None:
    """Raises InvalidField unless there are 1 to 16 sizes that ascend from above 0."""
    if not 1 <= len(sizes) <= 16 or any(a >= b for a, b in zip((0.0, *sizes), sizes, strict=False)):
        raise InvalidField(owner, "sizes", "1 to 16 numbers that ascend from above 0", sizes)


@dataclass(frozen=True, slots=True)
class Stream:
    """One feature's evidence."""

    log_m: tuple[float | None, ...]
    """log M per (score, direction, size); None for a bet that was never possible, which is M = 0."""
    windows: int = 0
    """Windows for which the feature's mean M has stayed at 1 or more, up to now."""
    items: int = 0
    """Items of this feature in them."""

    @property
    def log_mean(self) -> float:
        """log of the mean M over the bets that were ever possible; minus infinity without any."""
        possible = [value for value in self.log_m if value is not None]
        return shiryaev.log_mean(possible, len(possible))


@dataclass(frozen=True, slots=True, kw_only=True)
class EsrState:
    """Evidence per feature since the last alarm."""

    streams: Mapping[str, Stream] = field(default_factory=dict)

    def to_json(self) -> Json:
        return {
            "streams": {
                name: [list(stream.log_m), stream.windows, stream.items]
                for name, stream in sorted(self.streams.items())
            }
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "EsrState":
        streams = data["streams"].items()
        return cls(streams={name: Stream(tuple(log_m), n, items) for name, (log_m, n, items) in streams})


@dataclass(frozen=True, slots=True, kw_only=True)
class EsrFinding:
    """An alarm; the numbers below `features` are those of the strongest feature."""

    log_e: float
    """Natural logarithm of the mean of M over all features."""
    threshold: float
    """What `log_e` reached: log(1 / false_alarms_per_window)."""
    features: tuple[str, ...]
    """Features that reach the threshold by themselves (at least one does), strongest first."""
    log_e_of: Mapping[str, float]
    """Of each of `features`: log of its own mean M."""
    score: Literal["location", "scale", "cell"]
    cell: int | None
    """Which cell, for a score of one cell: an index into the counts, so -2 from the end is missing."""
    upward: bool
    """Whether the score went up: for scale, whether the spread grew; for a cell, its share."""
    mean_score: float
    """Mean score in this window, in standard deviations of the reference."""
    tolerance: float
    """Tolerated move, in the same unit: delta, or more for a small reference."""
    evidence_windows: int
    """Windows since M last stood below 1, about since the drift began."""
    sample_size: int
    """Items in these windows."""
    reference_size: int
    phi: float


def step(
    policy: EsrPolicy,
    state: EsrState,
    references: Mapping[str, Reference],
    window: Mapping[str, Sequence[int]],
) -> tuple[EsrState, EsrFinding | None]:
    """Add one closed window's counts per feature.

    A feature absent from `window`, or empty there, brings no data; one without a reference, or with an empty
    one, is ignored. The
    references of a season's slots may differ from window to window as long as their cells are the same: the
    evidence goes on. With another profile start afresh. An alarm does so by itself. Raises CellsDiffer, and
    then nothing has changed.
    """
    names = [
        name
        for name in sorted(references)
        if (not policy.features or name in policy.features) and any(references[name].counts)
    ]
    streams: dict[str, Stream] = {}
    for name in names:
        before = state.streams.get(name)
        after = _advanced(policy, name, references[name], before, window.get(name))
        if after is not None:
            streams[name] = after
    log_means = {name: stream.log_mean for name, stream in streams.items()}
    log_e = shiryaev.log_mean(log_means.values(), len(names)) if names else shiryaev.NOTHING
    threshold = -math.log(policy.false_alarms_per_window)
    if log_e < threshold:
        return EsrState(streams=streams), None
    reached = [name for name in log_means if log_means[name] >= threshold]
    # the mean reached it, so the largest did; a rounding error must not leave the list empty
    ranked = sorted(reached or log_means, key=lambda name: (-log_means[name], name))
    strongest = ranked[0]
    finding = _finding(policy, references[strongest], streams[strongest], window.get(strongest, ()))
    return EsrState(), EsrFinding(
        log_e=log_e,
        threshold=threshold,
        features=tuple(ranked if reached else ranked[:1]),
        log_e_of={name: log_means[name] for name in (ranked if reached else ranked[:1])},
        **finding,
    )


@dataclass(frozen=True, slots=True)
class _Scored:
    """One score of a reference and the bets on it, in the order of SIGNS and sizes."""

    weights: Score | None
    """None for the share of the cell."""
    cell: int | None
    name: Literal["location", "scale", "cell"]
    tolerated: tuple[float, float]
    """Tolerated move up and down, in standard deviations."""
    bets: tuple[Bet | None, ...]

    def total(self, counts: Sequence[int]) -> float:
        """Sum of the scores of a window's items."""
        if self.weights is None:
            return counts[self.cell or 0]
        return math.fsum(map(mul, counts, self.weights))


# a reference is prepared once and used for every window; 20,000 of them take some 80 MB
@functools.lru_cache(maxsize=20_000)
def _prepared(
    kind: Kind, counts: tuple[int, ...], delta: float, sizes: tuple[float, ...]
) -> tuple[_Scored, ...]:
    shares, size = cell_shares(counts), sum(counts)
    scored: list[_Scored] = []
    cells = range(len(counts))
    if kind == "numeric":
        edge = max(delta, STANDARD_ERRORS / math.sqrt(size)) if delta > 0 and size > 0 else delta
        names: tuple[Literal["location", "scale"], ...] = ("location", "scale")
        for name, score in zip(names, numeric_scores(shares), strict=True):
            bets = tuple(bet for sign in SIGNS for bet in score_bets(shares, score, edge, sizes, sign))
            scored.append(_Scored(score, None, name, (edge, edge), bets))
        cells = cells[-2:]
    scored.extend(_cell(cell, shares[cell], size, delta, sizes) for cell in cells)
    return tuple(scored)


def _cell(cell: int, share: float, size: int, delta: float, sizes: tuple[float, ...]) -> _Scored:
    scale = indicator_scale(share)
    up, down = share + delta * scale, share - delta * scale
    if delta > 0 and size > 0:
        up = max(up, share_bound(share, size, 1, STANDARD_ERRORS))
        down = min(down, share_bound(share, size, -1, STANDARD_ERRORS))
    bets = (*indicator_bets(share, up, sizes, 1), *indicator_bets(share, down, sizes, -1))
    return _Scored(None, cell, "cell", ((up - share) / scale, (share - down) / scale), bets)


def _prepare(policy: EsrPolicy, reference: Reference) -> tuple[_Scored, ...]:
    return _prepared(reference.kind, tuple(reference.counts), policy.delta, policy.sizes)


def _advanced(
    policy: EsrPolicy, name: str, reference: Reference, before: Stream | None, counts: Sequence[int] | None
) -> Stream | None:
    if counts is None:
        return before
    if len(counts) != len(reference.counts):
        raise CellsDiffer(name, len(reference.counts), len(counts))
    items = sum(counts)
    if items <= 0:
        return before
    scored = _prepare(policy, reference)
    per_score = len(SIGNS) * len(policy.sizes)
    known = before.log_m if before is not None else (None,) * (per_score * len(scored))
    log_m: list[float | None] = []
    for index, score in enumerate(scored):
        total = score.total(counts)
        old = known[index * per_score : (index + 1) * per_score]
        for bet, value in zip(score.bets, old, strict=True):
            if bet is None:
                log_m.append(value)
            else:
                log_m.append(shiryaev.advanced(value, bet.log_e(total, items) / reference.phi))
    after = Stream(tuple(log_m))
    if after.log_mean < 0:
        return after
    windows, so_far = (before.windows, before.items) if before is not None else (0, 0)
    return Stream(after.log_m, windows + 1, so_far + items)


def _finding(
    policy: EsrPolicy, reference: Reference, stream: Stream, counts: Sequence[int]
) -> dict[str, Any]:
    """The numbers of the strongest bet of one feature."""
    scored = _prepare(policy, reference)
    per_score = len(SIGNS) * len(policy.sizes)
    best = max(
        range(len(stream.log_m)),
        key=lambda index: shiryaev.NOTHING if (m := stream.log_m[index]) is None else m,
    )
    score = scored[best // per_score]
    items = sum(counts)
    mean = 0.0
    if items > 0:
        mean = score.total(counts) / items
        if score.cell is not None:
            share = cell_shares(reference.counts)[score.cell]
            mean = (mean - share) / indicator_scale(share)
    direction = best % per_score // len(policy.sizes)
    return {
        "score": score.name,
        "cell": score.cell,
        "upward": SIGNS[direction] > 0,
        "mean_score": mean,
        "tolerance": score.tolerated[direction],
        "evidence_windows": max(1, stream.windows),
        "sample_size": stream.items,
        "reference_size": sum(reference.counts),
        "phi": reference.phi,
    }
