"""What is measured of a detector: false alarms, delay, and what a window costs. One seed, one answer."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from time import process_time
from typing import Any, Protocol
from zlib import crc32

import numpy as np

from consumers.driftbench.judged import Judged
from consumers.driftbench.laws import Source, When
from consumers.driftbench.naive import Alarming
from consumers.driftbench.screening import suspects
from consumers.driftbench.streams import NEVER, Past, Seen, Stream
from consumers.rehearsal.rates import Rate
from domain.drift.rollup import RollUpPolicy

PIECE = 6_400
"""Windows watched on one reference; the next piece learns another, for none is quite like its stream."""
PER = 10_000
RESTED = 192
"""Least windows before a change; up to 63 more, so that it falls anywhere in a long block."""
HORIZON = 400
"""Windows after a change; what has not alarmed by then has missed it."""
WATCHED = 1_000
"""Windows over which the cost is measured."""


class Running(Protocol):
    """A detector that watches one model."""

    def prepare(self, seen: Seen) -> Any:
        """What it is handed: not part of its cost."""

    def take(self, prepared: Any) -> bool:
        """Whether an episode opened."""

    def step(self, seen: Seen) -> bool: ...


class Detector(Protocol):
    """Anything that can be compared."""

    @property
    def name(self) -> str: ...
    @property
    def says(self) -> str: ...
    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of streams that it can watch."""

    @property
    def budget(self) -> float | None:
        """Declared false alarms per window; None if it declares none."""

    def begin(self, stream: Stream, past: Past) -> Running: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseAlarms:
    """Episodes that opened in windows where nothing had changed."""

    stream: str
    detector: str
    windows: int
    episodes: int
    alarming: int | None
    """Windows that alarmed, where the detector knows no episodes of its own."""
    budget: float | None

    @property
    def per_10000(self) -> float:
        return self.episodes / self.windows * PER

    @property
    def upper(self) -> float:
        """Per 10,000 windows, at 95 % (Clopper & Pearson)."""
        return Rate(self.episodes, self.windows).upper * PER

    @property
    def lower(self) -> float:
        return Rate(self.episodes, self.windows).lower * PER

    @property
    def verdict(self) -> str:
        """Against the declared budget: held or broken at 95 %, or too few windows to tell."""
        if self.budget is None:
            return "none declared"
        if self.upper <= self.budget * PER:
            return "held"
        return "broken" if self.lower > self.budget * PER else "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """How many windows after a change the first episode opened; 1 is the first changed window."""

    stream: str
    detector: str
    runs: int
    early: int
    """Runs with an episode before the change: what they say afterwards is not about it."""
    missed: int
    delays: tuple[int, ...]
    """Of the runs that found it, ascending."""

    @property
    def median(self) -> float | None:
        """Of the runs that were quiet before; None if more than half of them missed the change."""
        quiet = self.runs - self.early
        if not quiet or 2 * len(self.delays) <= quiet:
            return None
        waited = [float(delay) for delay in self.delays] + [float("inf")] * self.missed
        return median(waited)

    @property
    def missed_share(self) -> float:
        quiet = self.runs - self.early
        return self.missed / quiet if quiet else 0.0

    @property
    def early_share(self) -> float:
        return self.early / self.runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """CPU of a window's verdict, its rows being there."""

    stream: str
    detector: str
    microseconds: float


def source_of(seed: int, stream: str, *numbers: int) -> Source:
    """The draws of one part of one stream, the same for every detector."""
    return np.random.default_rng([seed, crc32(stream.encode()), *numbers])


def false_alarms(stream: Stream, detector: Detector, windows: int, seed: int) -> FalseAlarms:
    """Watch so many windows (whole pieces of them) in which nothing changes, or only what is tolerated.

    Of a fleet a window is one of each of its models, and the episodes are those of all together.
    """
    size = min(PIECE, windows)
    pieces = -(-windows // size)
    changed_at = 0 if stream.tolerated else NEVER
    episodes, alarming = 0, 0
    for piece in range(pieces * _models(stream)):
        source = source_of(seed, stream.name, piece)
        past = stream.learn(source)
        watching = detector.begin(stream, past)
        for seen in stream.windows(source, past, When.of(0, size, changed_at)):
            episodes += watching.step(seen)
            alarming += isinstance(watching, Alarming) and watching.alarmed
    return FalseAlarms(
        stream=stream.name,
        detector=detector.name,
        windows=pieces * size,
        episodes=episodes,
        alarming=None if isinstance(detector, Judged) else alarming,
        budget=detector.budget,
    )


def screened(stream: Stream, detector: Judged, windows: int, seed: int) -> FalseAlarms:
    """As `false_alarms`, of a roll-up over features alone, judging only what could alarm.

    Every suspect stretch is judged from its beginning, so an episode that outlasts its stretch counts again:
    the figure can only be larger.
    """
    policy = detector.policy().features
    if policy is None:
        raise ValueError(f"{detector.name} has no roll-up over features")
    size = min(PIECE, windows)
    pieces = -(-windows // size)
    episodes = 0
    for number in range(pieces * _models(stream)):
        source = source_of(seed, stream.name, number)
        past = stream.learn(source)
        episodes += sum(_judged(stream, detector, policy, past, source, size))
    return FalseAlarms(
        stream=stream.name,
        detector=detector.name,
        windows=pieces * size,
        episodes=episodes,
        alarming=None,
        budget=detector.budget,
    )


def _models(stream: Stream) -> int:
    return int(getattr(stream, "models", 1))


def _judged(
    stream: Stream, detector: Judged, policy: RollUpPolicy, past: Past, source: Source, windows: int
) -> Iterator[int]:
    when = When.of(0, windows, 0 if stream.tolerated else NEVER)
    counts = stream.counts(source, past, when)
    if counts is None:
        raise ValueError(f"{stream.name} has no histograms")
    for stretch in suspects(policy, past.profile.features, counts).tolist():
        watching = detector.begin(stream, past)
        first = stretch * policy.longest_block
        for index in range(first, first + policy.longest_block):
            cells = {name: rows[index].tolist() for name, rows in counts.items()}
            yield watching.step(Seen(index, histograms=cells))


def delay(stream: Stream, detector: Detector, runs: int, seed: int) -> Delay:
    """Watch `runs` changes, each on a reference of its own, from RESTED windows or more before it."""
    found: list[int] = []
    early = missed = 0
    for run in range(runs):
        source = source_of(seed, stream.name, run)
        past = stream.learn(source)
        rest = RESTED + int(source.integers(64))
        watching = detector.begin(stream, past)
        waited = _first(watching, stream, source, past, rest)
        if waited is None:
            missed += 1
        elif waited <= 0:
            early += 1
        else:
            found.append(waited)
    return Delay(
        stream=stream.name,
        detector=detector.name,
        runs=runs,
        early=early,
        missed=missed,
        delays=tuple(sorted(found)),
    )


def _first(watching: Running, stream: Stream, source: Source, past: Past, rest: int) -> int | None:
    """Windows from the change to the first episode; 0 or less before it, None if there is none."""
    for seen in stream.windows(source, past, When.of(0, rest + HORIZON, rest)):
        if watching.step(seen):
            return seen.index - rest + 1
    return None


def cost(stream: Stream, detector: Detector, seed: int, windows: int = WATCHED) -> Cost:
    """Microseconds of CPU per window, with nothing drifting; differs from run to run."""
    source = source_of(seed, stream.name, 0)
    past = stream.learn(source)
    watching = detector.begin(stream, past)
    prepared = [watching.prepare(seen) for seen in stream.windows(source, past, When.of(0, windows, NEVER))]
    began = process_time()
    for each in prepared:
        watching.take(each)
    return Cost(
        stream=stream.name,
        detector=detector.name,
        microseconds=(process_time() - began) / windows * 1e6,
    )
