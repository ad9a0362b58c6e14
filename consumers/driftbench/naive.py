"""What users have today: fixed thresholds that know nothing of sample sizes. The negative control."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from consumers.driftbench.streams import VALUE, Past, Seen, Stream, histogram
from domain.drift import episodes
from domain.drift.distances import psi
from domain.drift.episodes import EpisodePolicy, EpisodeState
from domain.windows.build import feature_reference
from domain.windows.moments import Floats

Alarm = Callable[[Seen], bool]
"""Whether this window alarms; may remember earlier ones."""


class Alarming:
    """A detector of alarms, made into one of episodes as the product does with its own."""

    def __init__(self, alarm: Alarm) -> None:
        self._alarm, self._policy, self._state = alarm, EpisodePolicy(), EpisodeState()
        self.alarmed = False
        """Whether the last window alarmed."""

    def prepare(self, seen: Seen) -> Seen:
        return seen

    def take(self, seen: Seen) -> bool:
        """Whether an episode opened in this window."""
        self.alarmed = self._alarm(seen)
        self._state, change = episodes.step(
            self._policy, self._state, "drift" if self.alarmed else None, seen.index
        )
        return isinstance(change, episodes.Opened)

    def step(self, seen: Seen) -> bool:
        return self.take(seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Naive:
    """A rule on each window alone."""

    name: str
    says: str
    rule: Callable[[Past], Alarm]
    kinds: tuple[str, ...]
    budget: float | None = None

    def begin(self, stream: Stream, past: Past) -> Alarming:
        return Alarming(self.rule(past))


def psi_at_least(limit: float) -> Callable[[Past], Alarm]:
    """Population stability index over ten quantile bins of the reference, or over its categories."""

    def rule(past: Past) -> Alarm:
        if past.items is None:
            known = past.profile.features[VALUE]
            return lambda seen: psi(known.counts, seen.histograms[VALUE]) >= limit
        reference = feature_reference(past.items.ravel(), past.items.shape[1], bins=10)
        counts = reference.counts[: reference.bins]

        def alarm(seen: Seen) -> bool:
            return psi(counts, histogram(reference, _items(seen))[: reference.bins]) >= limit

        return alarm

    return rule


def ks_below(level: float) -> Callable[[Past], Alarm]:
    """Two-sample Kolmogorov-Smirnov test against all reference items, asymptotic p-value."""

    def rule(past: Past) -> Alarm:
        from scipy.special import kolmogorov

        reference = _reference(past)

        def alarm(seen: Seen) -> bool:
            items = np.sort(_items(seen))
            n, m = len(items), len(reference)
            below = np.searchsorted(reference, items, side="right") / m
            under = np.searchsorted(reference, items, side="left") / m
            gap = max(float((np.arange(1, n + 1) / n - below).max()), float((under - np.arange(n) / n).max()))
            return bool(kolmogorov(gap * np.sqrt(n * m / (n + m))) < level)

        return alarm

    return rule


def wasserstein_at_least(limit: float) -> Callable[[Past], Alarm]:
    """First Wasserstein distance from the reference items, per standard deviation of the reference."""

    def rule(past: Past) -> Alarm:
        reference = _reference(past)
        spread = float(reference.std())
        return lambda seen: wasserstein(reference, np.sort(_items(seen))) / spread >= limit

    return rule


def wasserstein(reference: Floats, items: Floats) -> float:
    """First Wasserstein distance of two sorted samples; exact when the first is a multiple of the second."""
    place = (np.arange(len(reference)) * 2 + 1) * len(items) // (2 * len(reference))
    return float(np.abs(reference - items[place]).mean())


def _reference(past: Past) -> Floats:
    if past.items is None:
        raise ValueError("this rule needs the items of the reference")
    items = past.items.ravel()
    return np.sort(items[~np.isnan(items)])


def _items(seen: Seen) -> Floats:
    if seen.items is None:
        raise ValueError("this rule needs the items of the window")
    present: Floats = seen.items[~np.isnan(seen.items)]
    return present
