"""How the records of a reference fall into windows, and windows into the slots of a season."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from domain.windows.binning import Ints
from domain.windows.profile_error import ProfileError
from domain.windows.season import Season

LEAST_SLOT_ROWS = 100
"""Of every slot of a season: a histogram of fewer records resembles nothing."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Layout:
    """Parallel to the records of a reference.

    `windows[i]` numbers the window of record i from 0, windows in time order, or is -1: it counts, but
    belongs to no whole window. `slots` is empty without a season.
    """

    windows: Ints
    slots: Ints
    season: Season | None = None

    def window_slots(self) -> Ints:
        """Slot of each window; all 0 without a season."""
        slots = np.zeros(int(self.windows.max(initial=-1)) + 1, np.int64)
        if self.season is not None:
            whole = self.windows >= 0
            slots[self.windows[whole]] = self.slots[whole]
        return slots


def consecutive(records: int, window_records: int) -> Layout:
    """Windows of `window_records` consecutive records; the last ones, short of a window, belong to none."""
    windows = np.arange(records, dtype=np.int64) // window_records
    windows[records - records % window_records :] = -1
    return Layout(windows=windows, slots=np.zeros(0, np.int64))


def seasonal(times_ms: Sequence[int] | Ints, season: Season, window_records: int) -> Layout:
    """Windows of at most `window_records` records, none of which reaches over the border of a slot.

    `times_ms` does not descend. A rest of less than half a window belongs to none.
    """
    times = np.asarray(times_ms, np.int64)
    slots = _checked_slots(times, season)
    # the same slot of another day is another stretch
    stretch = times // season.period_ms * season.slots + slots
    starts = np.flatnonzero(np.diff(stretch, prepend=-1))
    lengths = np.diff(starts, append=len(times))
    place = np.arange(len(times)) - np.repeat(starts, lengths)
    cut = (place % window_records == 0).cumsum() - 1
    whole = np.bincount(cut) * 2 >= window_records
    numbers = np.where(whole, whole.cumsum() - 1, -1)
    return Layout(windows=numbers[cut], slots=slots, season=season)


def by_window(starts_ms: Sequence[int] | Ints, season: Season | None = None) -> Layout:
    """The windows that the records were really in, by their start; `starts_ms` does not descend."""
    starts = np.asarray(starts_ms, np.int64)
    windows = np.diff(starts, prepend=starts[:1]).astype(np.bool_).cumsum().astype(np.int64)
    if season is None:
        return Layout(windows=windows, slots=np.zeros(0, np.int64))
    return Layout(windows=windows, slots=_checked_slots(starts, season), season=season)


def _checked_slots(times: Ints, season: Season) -> Ints:
    if (np.diff(times) < 0).any():
        raise ProfileError("times must not descend: records come in time order")
    slots: Ints = times % season.period_ms * season.slots // season.period_ms
    rows = np.bincount(slots, minlength=season.slots)
    for slot, found in enumerate(rows.tolist()):
        if found < LEAST_SLOT_ROWS:
            raise ProfileError(
                f"season slot {slot} ({_clock(season.slot_start_ms(slot))} into the period) has {found} "
                f"rows; at least {LEAST_SLOT_ROWS} are needed: take a longer reference or fewer slots"
            )
    return slots


def _clock(ms: int) -> str:
    hours, rest = divmod(ms, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest / 1000:06.3f}".removesuffix(".000")
