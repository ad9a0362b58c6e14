"""Streams of windows, and the reference that is learnt from each before it is watched."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np

from consumers.driftbench.laws import ITEMS, Ints, Law, Source, When
from domain.windows.baseline import Judged
from domain.windows.build import build_profile
from domain.windows.histogram import count_values
from domain.windows.layout import by_window
from domain.windows.moments import Floats
from domain.windows.profile import FeatureReference, ReferenceProfile
from domain.windows.season import Season

LEARNT = 100
"""Windows of the reference: 10,000 items."""
SEASONS = 10
LENGTH_MS = 3_600_000
"""Of a window."""
VALUE = "x"
"""The one feature, and the prediction, of a stream of numbers."""
MODEL, VERSION = "m", "1"
NEVER = 2**40

Kind = Literal["numbers", "categories", "features", "errors"]


@dataclass(frozen=True, slots=True)
class Seen:
    """One window: its items in order where they were drawn (NaN is missing), else only its histograms."""

    index: int
    items: Floats | None = None
    histograms: Mapping[str, list[int]] = field(default_factory=dict)
    """Of drawn counts, by feature."""


@dataclass(frozen=True, slots=True)
class Past:
    """What was learnt before watching."""

    profile: ReferenceProfile
    items: Floats | None = None
    """Reference windows x items; None where only counts are drawn."""


class Stream(Protocol):
    """One situation. `changes` says whether there is a change to be found."""

    @property
    def name(self) -> str: ...
    @property
    def says(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def changes(self) -> bool: ...
    @property
    def tolerated(self) -> tuple[str, ...]:
        """Detectors at the edge of whose tolerance all windows are: for these an alarm is a false one."""

    def learn(self, source: Source) -> Past:
        """The reference of LEARNT windows before the change."""

    def windows(self, source: Source, past: Past, when: When) -> Iterator[Seen]:
        """One window after another."""

    def counts(self, source: Source, past: Past, when: When) -> dict[str, Ints] | None:
        """Per feature windows x cells of the profile; None if the stream has no histograms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """A numeric feature that is the prediction, too."""

    name: str
    says: str
    law: Law
    changes: bool = False
    tolerated: tuple[str, ...] = ()
    measured_phi: bool = True
    """False: as if reference windows had independent items."""
    period: int | None = None
    """Windows of a season, of which the reference has SEASONS."""
    seasonal: bool = True
    """Whether the reference keeps a histogram per slot."""
    models: int = 1
    """Models that are like this, independent of each other, and have one budget together."""
    kind: Kind = "numbers"

    def learn(self, source: Source) -> Past:
        windows = LEARNT if self.period is None else SEASONS * self.period
        items = self.law(source, When.of(0, windows, NEVER))
        column = items.ravel()
        layout = None
        if self.period is not None and self.seasonal:
            starts = np.repeat(np.arange(windows) * LENGTH_MS, ITEMS)
            layout = by_window(starts, Season(period_ms=self.period * LENGTH_MS, slots=self.period))
        profile = build_profile(
            model=MODEL,
            version=VERSION,
            task="regression",
            features={VALUE: column},
            predictions=column,
            window_records=ITEMS,
            layout=layout,
        )
        if not self.measured_phi:
            profile = _without_phi(profile)
        return Past(profile, items)

    def windows(self, source: Source, past: Past, when: When) -> Iterator[Seen]:
        for index, items in zip(when.index.tolist(), self.law(source, when), strict=True):
            yield Seen(index, items)

    def counts(self, source: Source, past: Past, when: When) -> dict[str, Ints] | None:
        return {VALUE: counted(past.profile.features[VALUE], self.law(source, when))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Categories:
    """A categorical feature, drawn as counts: of independent items they are multinomial."""

    name: str
    says: str
    shares: tuple[float, ...]
    after: tuple[float, ...] = ()
    """Shares after the change; one more than before is a category that the reference has not seen."""
    changes: bool = False
    tolerated: tuple[str, ...] = ()
    kind: Kind = "categories"

    def learn(self, source: Source) -> Past:
        counts = source.multinomial(ITEMS, self.shares, LEARNT)
        names = np.array([_category(number) for number in range(len(self.shares))])
        column = np.concatenate([source.permutation(np.repeat(names, row)) for row in counts])
        profile = build_profile(
            model=MODEL, version=VERSION, task="regression", features={VALUE: column}, window_records=ITEMS
        )
        return Past(profile)

    def windows(self, source: Source, past: Past, when: When) -> Iterator[Seen]:
        counts = self.counts(source, past, when)
        for index, row in zip(when.index.tolist(), counts[VALUE].tolist(), strict=True):
            yield Seen(index, histograms={VALUE: row})

    def counts(self, source: Source, past: Past, when: When) -> dict[str, Ints]:
        known = len(self.shares)
        cells = np.zeros((len(when.index), known + 2), np.int64)
        order = [past.profile.features[VALUE].categories.index(_category(number)) for number in range(known)]
        for changed, shares in ((False, self.shares), (True, self.after or self.shares)):
            chosen = (when.since >= 0) == changed
            drawn = source.multinomial(ITEMS, shares, int(chosen.sum()))
            cells[np.ix_(chosen, order)] = drawn[:, :known]
            cells[chosen, -1] = drawn[:, known:].sum(axis=1)
        return {VALUE: cells}


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Many independent features of N(0, 1), drawn as counts; the first `moving` shift by `by`."""

    name: str
    says: str
    features: int
    moving: int = 0
    by: float = 0.0
    changes: bool = False
    tolerated: tuple[str, ...] = ()
    kind: Kind = "features"

    def learn(self, source: Source) -> Past:
        columns = {
            f"x{number:02d}": source.standard_normal(LEARNT * ITEMS) for number in range(self.features)
        }
        profile = build_profile(
            model=MODEL, version=VERSION, task="regression", features=columns, window_records=ITEMS
        )
        return Past(profile)

    def windows(self, source: Source, past: Past, when: When) -> Iterator[Seen]:
        counts = self.counts(source, past, when)
        for row, index in enumerate(when.index.tolist()):
            yield Seen(index, histograms={name: cells[row].tolist() for name, cells in counts.items()})

    def counts(self, source: Source, past: Past, when: When) -> dict[str, Ints]:
        from scipy.special import ndtr

        found = {}
        for number, (name, reference) in enumerate(past.profile.features.items()):
            cells = np.zeros((len(when.index), len(reference.counts)), np.int64)
            for changed in (False, True):
                shift = self.by if changed and number < self.moving else 0.0
                borders = np.array([-np.inf, *reference.edges, np.inf]) - shift
                chosen = (when.since >= 0) == changed
                shares = np.diff(ndtr(borders))
                cells[chosen, : reference.bins] = source.multinomial(ITEMS, shares, int(chosen.sum()))
            found[name] = cells
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Errors of a model whose outcomes are there: `metric` says which error they are."""

    name: str
    says: str
    law: Law
    metric: str
    clip_at: float | None = None
    """Quantile of the reference at which errors are clipped."""
    changes: bool = False
    tolerated: tuple[str, ...] = ()
    kind: Kind = "errors"

    def learn(self, source: Source) -> Past:
        items = self.law(source, When.of(0, LEARNT, NEVER))
        clip = float(np.quantile(items, self.clip_at)) if self.clip_at is not None else None
        wrong = items.ravel()
        right = np.zeros_like(wrong)
        judged = Judged(predictions=right, actuals=wrong)
        if self.metric.startswith("value."):
            name = self.metric.removeprefix("value.")
            judged = Judged(predictions=right, actuals=wrong, values=[{name: x} for x in wrong.tolist()])
        if self.metric == "hit":
            judged = Judged(
                predictions=["yes"] * len(wrong), actuals=np.where(wrong > 0, "no", "yes").tolist()
            )
        profile = build_profile(
            model=MODEL,
            version=VERSION,
            task="label" if self.metric == "hit" else "regression",
            features={},
            judged=judged,
            error_clip=clip,
            window_records=ITEMS,
        )
        return Past(profile, items)

    def windows(self, source: Source, past: Past, when: When) -> Iterator[Seen]:
        items = self.law(source, when)
        if past.profile.error_clip is not None:
            items = np.minimum(items, past.profile.error_clip)
        for index, row in zip(when.index.tolist(), items, strict=True):
            yield Seen(index, row)

    def counts(self, source: Source, past: Past, when: When) -> dict[str, Ints] | None:
        return None


def counted(reference: FeatureReference, items: Floats) -> Ints:
    """Many windows at once, as `domain.windows.histogram.count_values` counts each of them."""
    bins = np.searchsorted(np.array(reference.edges), items, side="left")
    bins[np.isnan(items)] = reference.bins
    cells = reference.bins + 2
    places = np.arange(len(items))[:, None] * cells + bins
    return np.bincount(places.ravel(), minlength=len(items) * cells).reshape(len(items), cells)


def histogram(reference: FeatureReference, items: Floats) -> list[int]:
    """One window over the cells of `reference`, NaN as missing."""
    gone = np.isnan(items)
    if not gone.any():
        return count_values(reference, items.tolist())
    return count_values(reference, [None if lost else item for item, lost in zip(items, gone, strict=True)])


def _category(number: int) -> str:
    return f"c{number:02d}"


def _without_phi(profile: ReferenceProfile) -> ReferenceProfile:
    prediction = profile.prediction
    return replace(
        profile,
        features={name: replace(reference, phi=1.0) for name, reference in profile.features.items()},
        prediction=None if prediction is None else replace(prediction, phi=1.0),
    )
