"""How items are distributed before a change and after it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from domain.windows.moments import Floats

ITEMS = 100
"""Of a window."""

Ints = npt.NDArray[np.int64]
Source = np.random.Generator


@dataclass(frozen=True, slots=True)
class When:
    """Which windows are drawn: their numbers, and how long the change has lasted in each (< 0: not yet)."""

    index: Ints
    since: Ints

    @classmethod
    def of(cls, first: int, windows: int, changed_at: int) -> "When":
        index = np.arange(first, first + windows, dtype=np.int64)
        return cls(index, index - changed_at)


Law = Callable[[Source, When], Floats]
"""Draws windows x ITEMS values; NaN is missing."""
Noise = Callable[[Source, int], Floats]
"""Draws windows x ITEMS values of mean 0."""


def normal(source: Source, windows: int) -> Floats:
    return source.standard_normal((windows, ITEMS))


def t3(source: Source, windows: int) -> Floats:
    """Student's t with 3 degrees of freedom: no fourth moment."""
    return source.standard_t(3, (windows, ITEMS))


def ar1(source: Source, windows: int) -> Floats:
    """AR(1) with coefficient .9 and variance 1 over consecutive windows: 100 items say what 5 would."""
    from scipy.signal import lfilter

    steps = source.standard_normal(windows * ITEMS)
    steps[1:] *= np.sqrt(1 - 0.81)
    values: Floats = lfilter([1.0], [1.0, -0.9], steps).reshape(windows, ITEMS)
    return values


def moved(noise: Noise, *, by: float = 0.0, wider: float = 1.0, over: int = 0) -> Law:
    """Shifted by `by` and stretched by `wider` from the change on, or ever more over so many windows."""

    def draw(source: Source, when: When) -> Floats:
        part = np.clip((when.since + 1) / (over or 1), 0.0, 1.0)[:, None]
        return noise(source, len(when.since)) * (1 + part * (wider - 1)) + part * by

    return draw


def mixed(noise: Noise, *, by: float, over: int) -> Law:
    """Over so many windows more and more of the items come from the shifted law."""

    def draw(source: Source, when: When) -> Floats:
        share = np.clip((when.since + 1) / over, 0.0, 1.0)[:, None]
        values = noise(source, len(when.since))
        return values + by * (source.random(values.shape) < share)

    return draw


def split(apart: float) -> Law:
    """N(0, 1), then two humps at -apart and +apart with the same mean and variance as before."""

    def draw(source: Source, when: When) -> Floats:
        values = normal(source, len(when.since))
        humps = np.where(source.random(values.shape) < 0.5, -apart, apart)
        return np.where(when.since[:, None] >= 0, humps + values * np.sqrt(1 - apart**2), values)

    return draw


def lost(before: float, after: float) -> Law:
    """N(0, 1) of which a share is missing."""

    def draw(source: Source, when: When) -> Floats:
        values = normal(source, len(when.since))
        share = np.where(when.since >= 0, after, before)[:, None]
        return np.where(source.random(values.shape) < share, np.nan, values)

    return draw


def cycle(height: float, period: int, *, by: float = 0.0) -> Law:
    """N(0, 1) around a mean that rises and falls once in `period` windows."""

    def draw(source: Source, when: When) -> Floats:
        means = height * np.sin(2 * np.pi * when.index / period) + by * (when.since >= 0)
        return normal(source, len(when.since)) + means[:, None]

    return draw


def wrong(before: float, after: float) -> Law:
    """Errors that are 0 or 1, at a rate."""

    def draw(source: Source, when: When) -> Floats:
        rate = np.where(when.since >= 0, after, before)[:, None]
        return (source.random((len(when.since), ITEMS)) < rate).astype(np.float64)

    return draw


def magnitudes(larger: float = 1.0) -> Law:
    """Absolute errors with t3 tails, larger by a factor after the change."""

    def draw(source: Source, when: When) -> Floats:
        return np.abs(t3(source, len(when.since))) * np.where(when.since >= 0, larger, 1.0)[:, None]

    return draw


def logarithms(law: Law) -> Law:
    """log(1 + value): what to watch instead of an error with heavy tails."""

    def draw(source: Source, when: When) -> Floats:
        values: Floats = np.log1p(law(source, when))
        return values

    return draw
