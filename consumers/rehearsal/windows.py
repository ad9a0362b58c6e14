"""What a past window gives to a rehearsal: its outcomes one by one, real ones or ones drawn from its moments.

A rehearsal is an experiment that never took place, played over a model's past. Randomness comes in as a
generator made at the edge, so a seed repeats it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from domain.windows.merge import merge_bodies
from domain.windows.metrics import HIT_METRICS
from domain.windows.moments import Moments, of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Generator = np.random.Generator


@dataclass(frozen=True, slots=True)
class Column:
    """One metric of some records: `values` has a row for each arm, or one row that is true of all arms."""

    rows: Ints
    """Which records these are."""
    values: Floats
    x: Floats | None = None
    """Covariates, parallel to `rows`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """The records of one window. `ids` and `units` number the past's own; without them arms are drawn."""

    n: int
    matched: npt.NDArray[np.bool_]
    columns: Mapping[str, Column]
    ids: Sequence[str] | None = None
    units: Ints | None = None
    """-1 where a record names no unit."""
    at_ms: Ints | None = None
    """Event times; only under SWITCHBACK they matter."""


class PastWindow(Protocol):
    """A stretch of one or more closed windows that a rehearsal takes as one."""

    @property
    def start_ms(self) -> int: ...
    @property
    def end_ms(self) -> int: ...
    @property
    def due_ms(self) -> int: ...
    @property
    def horizon_s(self) -> int: ...
    @property
    def predictions(self) -> tuple[int, int]:
        """How many, and how many of them got their outcome in time."""
        ...

    def outcomes(self, arms: int, source: Generator) -> Outcomes:
        """Its records, for `arms` arms of which the first is the champion."""
        ...

    def moments(self, metric: str) -> Moments:
        """Of the champion's outcomes; of pairs, of their differences."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """When a window was."""

    start_ms: int
    end_ms: int
    due_ms: int
    horizon_s: int

    def joined(self, other: "Frame") -> "Frame":
        return Frame(
            start_ms=min(self.start_ms, other.start_ms),
            end_ms=max(self.end_ms, other.end_ms),
            due_ms=max(self.due_ms, other.due_ms),
            horizon_s=max(self.horizon_s, other.horizon_s),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Framed:
    frame: Frame

    @property
    def start_ms(self) -> int:
        return self.frame.start_ms

    @property
    def end_ms(self) -> int:
        return self.frame.end_ms

    @property
    def due_ms(self) -> int:
        return self.frame.due_ms

    @property
    def horizon_s(self) -> int:
        return self.frame.horizon_s


@dataclass(frozen=True, slots=True, kw_only=True)
class TalliedWindow(_Framed):
    """By the body of a score row. Number, mean and variance of its outcomes are kept exactly, and what they
    have in common with the covariate; of everything else (skew, tails, what two metrics have in common inside
    a window) nothing is known, and values are drawn as if normal. Hits are kept whole.

    With `apart` each arm's values are a sample of its own instead, with the window's mean and variance in
    expectation: the arms differ by chance as two models would that have nothing in common.
    """

    body: Mapping[str, Any]
    apart: bool = False
    """Under SHADOW_MODE, where arms answer the same requests."""
    scales: Mapping[str, float] | None = None
    """By metric, factor of the deviations: for a known variance of differences."""

    @property
    def predictions(self) -> tuple[int, int]:
        return int(self.body["n"]), int(self.body["matched"])

    def moments(self, metric: str) -> Moments:
        return _moments(self.body.get("metrics", {}).get(metric))

    def joined(self, other: "TalliedWindow") -> "TalliedWindow":
        return TalliedWindow(
            frame=self.frame.joined(other.frame),
            body=merge_bodies("score", [self.body, other.body]),
            apart=self.apart,
            scales=self.scales,
        )

    def outcomes(self, arms: int, source: Generator) -> Outcomes:
        n, matched = int(self.body["n"]), int(self.body["matched"])
        columns = {}
        for metric, moments in self.body.get("metrics", {}).items():
            rows = np.arange(int(moments["n"]))
            if self.apart:
                scale = (self.scales or {}).get(metric, 1.0)
                columns[metric] = Column(rows, _sampled(metric, moments, (arms, len(rows)), scale, source))
            else:
                y, x = _drawn(metric, moments, source)
                columns[metric] = Column(rows, y[None], x)
        return Outcomes(n=n, matched=np.arange(n) < matched, columns=columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedWindow(_Framed):
    """By what earlier challengers' answers differed from the champion's on the same requests.

    Differences are drawn normal with the window's own mean and variance, less their mean over the whole past
    (`centres`, by metric), so that a rehearsal without an effect has none. Of hits, who of the two was right
    alone is tossed.
    """

    body: Mapping[str, Any]
    centres: Mapping[str, float]

    @property
    def predictions(self) -> tuple[int, int]:
        return int(self.body["n"]), int(self.body["matched"])

    def moments(self, metric: str) -> Moments:
        return _moments(self.body.get("paired", {}).get(metric))

    def joined(self, other: "PairedWindow") -> "PairedWindow":
        return PairedWindow(
            frame=self.frame.joined(other.frame),
            body=merge_bodies("score", [self.body, other.body]),
            centres=self.centres,
        )

    def outcomes(self, arms: int, source: Generator) -> Outcomes:
        n, matched = int(self.body["n"]), int(self.body["matched"])
        columns = {}
        hits = self.body.get("paired_hits", {})
        for metric, moments in self.body.get("paired", {}).items():
            count = int(moments["n"])
            values = np.zeros((arms, count))
            for arm in range(1, arms):
                if metric in hits:
                    single = int(hits[metric]["b"]) + int(hits[metric]["c"])
                    values[arm, :single] = np.where(source.random(single) < 0.5, 1.0, -1.0)
                else:
                    values[arm] = _drawn(metric, moments, source)[0] - self.centres.get(metric, 0.0)
            columns[metric] = Column(np.arange(count), values)
        return Outcomes(n=n, matched=np.arange(n) < matched, columns=columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedWindow(_Framed):
    """By its records in the log: nothing is lost."""

    records: Outcomes

    @property
    def predictions(self) -> tuple[int, int]:
        return self.records.n, int(self.records.matched.sum())

    def moments(self, metric: str) -> Moments:
        found = self.records.columns.get(metric)
        return Moments(0, 0.0, 0.0) if found is None or not len(found.rows) else of(found.values[0])

    def outcomes(self, arms: int, source: Generator) -> Outcomes:
        return self.records


def _moments(body: Mapping[str, Any] | None) -> Moments:
    return Moments(0, 0.0, 0.0) if body is None else Moments.from_json(body)


def _sampled(
    metric: str, moments: Mapping[str, Any], shape: tuple[int, int], scale: float, source: Generator
) -> Floats:
    """Independent values from a law with these moments, deviations stretched by `scale`."""
    mean = float(moments["mean"])
    if metric in HIT_METRICS:
        return (source.random(shape) < mean).astype(np.float64)
    deviation = scale * np.sqrt(float(moments["M2"]) / max(1, shape[1] - 1))
    values: Floats = mean + deviation * source.standard_normal(shape)
    return values


def _drawn(metric: str, moments: Mapping[str, Any], source: Generator) -> tuple[Floats, Floats | None]:
    """As many values as there were, with exactly these moments; and covariates, if there are."""
    n, mean = int(moments["n"]), float(moments["mean"])
    if metric in HIT_METRICS and "Cxy" not in moments:
        hits = np.zeros(n)
        hits[: round(mean * n)] = 1.0
        source.shuffle(hits)
        return hits, None
    y = _standard(source.standard_normal(n))
    if "Cxy" not in moments:
        return mean + np.sqrt(float(moments["M2"])) * y, None
    x = _standard(source.standard_normal(n))
    # what is left of y beside x
    own = _standard(y - x * float(x @ y))
    M2_x, Cxy = float(moments["M2_x"]), float(moments["Cxy"])
    slope = Cxy / M2_x if M2_x > 0 else 0.0
    left = max(0.0, float(moments["M2"]) - slope * Cxy)
    deviation = slope * np.sqrt(M2_x) * x + np.sqrt(left) * own
    return mean + deviation, float(moments["mean_x"]) + np.sqrt(M2_x) * x


def _standard(values: Floats) -> Floats:
    """With mean 0 and sum of squares 1, or all 0 if there is no spread."""
    centred = values - values.mean() if len(values) else values
    length = float(np.sqrt(centred @ centred))
    # of one value, and of what projection left of two, rounding leaves a length that is none
    return centred / length if length > 1e-12 * max(1, len(values)) else np.zeros_like(values)
