"""A reference profile from a stretch of the log: for a version that was registered without one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from consumers.services.history import Answered, HistoricalDataService
from consumers.services.registry import inputs_closed_ms
from consumers.store.repositories.tallies import TallyRepository
from consumers.store.session import ReadSession
from domain.errors import DomainError
from domain.windows.baseline import Judged
from domain.windows.binning import numbers_of
from domain.windows.build import BINS, CATEGORIES, build_profile
from domain.windows.clip import error_clip
from domain.windows.layout import by_window
from domain.windows.policy import WindowPolicy
from domain.windows.profile import ReferenceProfile, Task
from domain.windows.season import Season

LEAST_WINDOWS: Final = 50
"""phi from fewer windows is a guess: from 100 it is known to some 14 %."""


class TooFewWindows(DomainError):
    """The stretch holds too few windows to learn from."""

    def __init__(self, model: str, version: str, found: int, needed: int) -> None:
        served = f"served in {found} closed window{'' if found == 1 else 's'}"
        super().__init__(f"version {version} of {model} {served} of the stretch; {needed} are needed")
        self.model, self.version, self.found, self.needed = model, version, found, needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Windows from `from_ms` to `to_ms` (not included)."""

    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What is learned about, and how its profile is to look."""

    model: str
    version: str
    task: Task
    stretch: Stretch
    season: Season | None = None
    bins: int = BINS
    categories: int = CATEGORIES
    least_windows: int = LEAST_WINDOWS


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """A profile, and what it was learned from."""

    profile: ReferenceProfile
    windows: int
    """That hold a prediction of the version."""
    rows: int
    outcomes: int


async def last_windows(
    session: ReadSession, model: str, version: str, count: int, windows: WindowPolicy
) -> Stretch:
    """The last `count` windows in which the version answered and that all partitions have closed.

    Raises TooFewWindows if the store does not hold so many.
    """
    closed_ms = await inputs_closed_ms(session)
    starts = await TallyRepository(session).input_windows(model, version, before_ms=closed_ms, limit=count)
    if len(starts) < count:
        raise TooFewWindows(model, version, len(starts), count)
    return Stretch(from_ms=starts[0], to_ms=starts[-1] + windows.length_ms)


def whole_windows(from_ms: int, to_ms: int, windows: WindowPolicy) -> Stretch:
    """The windows that lie in this time, those it only touches too."""
    last_ms = windows.window_start(to_ms - 1) if to_ms > from_ms else windows.window_start(from_ms)
    return Stretch(from_ms=windows.window_start(from_ms), to_ms=last_ms + windows.length_ms)


async def learn(history: HistoricalDataService, lesson: Lesson) -> Learned:
    """The profile of what the version served: phi over the windows themselves, and with outcomes the errors.

    A function of the log. Raises HistoryNotClosed, TooFewWindows, and ProfileError for a season's slot with
    too few records.
    """
    stretch = lesson.stretch
    found = await history.stretch(lesson.model, lesson.version, stretch.from_ms, stretch.to_ms)
    windows = len({each.window_start_ms for each in found})
    if windows < max(1, lesson.least_windows):
        raise TooFewWindows(lesson.model, lesson.version, windows, max(1, lesson.least_windows))
    layout = by_window([each.window_start_ms for each in found], lesson.season)
    predictions = [each.answer.prediction for each in found]
    outcomes = [each.outcome for each in found]
    actuals = [outcome.actual if outcome is not None else None for outcome in outcomes]
    known = sum(actual is not None for actual in actuals)
    judged = Judged(
        predictions=predictions,
        actuals=actuals,
        values=[outcome.values if outcome is not None else {} for outcome in outcomes],
        layout=layout,
    )
    profile = build_profile(
        model=lesson.model,
        version=lesson.version,
        task=lesson.task,
        features=_columns(found),
        predictions=predictions,
        judged=judged if known else None,
        error_clip=_clip(lesson.task, predictions, actuals),
        layout=layout,
        bins=lesson.bins,
        categories=lesson.categories,
    )
    return Learned(profile=profile, windows=windows, rows=len(found), outcomes=known)


def _columns(found: Sequence[Answered]) -> dict[str, list[Any]]:
    rows: list[Any] = [each.answer.features for each in found]
    names = sorted({name for row in rows for name in row})
    return {name: [row.get(name) for row in rows] for name in names}


def _clip(task: Task, predictions: Sequence[Any], actuals: Sequence[Any]) -> float | None:
    p, y = numbers_of(predictions), numbers_of(actuals)
    if task != "regression" or p is None or y is None:
        return None
    return error_clip(np.asarray(p), np.asarray(y))
