"""How reference records fall into windows and season slots."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.windows.layout import LEAST_SLOT_ROWS, by_window, consecutive, seasonal
from domain.windows.profile_error import ProfileError
from domain.windows.season import DAY_MS, WEEK_MS, Season

HALVES = Season(period_ms=1_000, slots=2)


@given(st.integers(0, 2**45), st.integers(2, 168), st.integers(1, 40))
def test_slots_part_the_period_and_begin_where_they_say(start_ms: int, slots: int, more: int) -> None:
    season = Season(period_ms=slots * more + more // 2, slots=slots)
    slot = season.slot(start_ms)
    assert 0 <= slot < slots
    assert season.slot(start_ms + season.period_ms) == slot
    first = season.slot_start_ms(slot)
    assert season.slot(first) == slot
    assert first == 0 or season.slot(first - 1) == slot - 1
    assert first <= start_ms % season.period_ms


@pytest.mark.parametrize(
    "fields, message",
    [((1_000, 1), "slots must be 2 to 168"), ((1_000, 169), "slots"), ((3, 4), "period_ms must be at least")],
)
def test_a_season_that_cannot_be_cut_is_refused(fields: tuple[int, int], message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        Season(period_ms=fields[0], slots=fields[1])


def test_consecutive_windows_leave_the_last_records_out() -> None:
    assert consecutive(7, 3).windows.tolist() == [0, 0, 0, 1, 1, 1, -1]
    assert consecutive(0, 3).windows.tolist() == []


def test_windows_of_a_season_do_not_reach_over_the_border_of_a_slot() -> None:
    times = np.arange(0, 4_000, 4)  # 125 records a slot, eight slots
    layout = seasonal(times, HALVES, 50)
    assert layout.windows.max() + 1 == 8 * 3  # 50, 50 and a rest of 25, half a window
    slots = layout.window_slots()
    for window in range(len(slots)):
        inside = times[layout.windows == window]
        assert {HALVES.slot(int(at)) for at in inside} == {slots[window]}
        assert inside.max() - inside.min() < 500


def test_a_rest_of_less_than_half_a_window_is_in_none() -> None:
    layout = seasonal(np.arange(0, 4_000, 4), HALVES, 60)  # 125 = 60 + 60 + 5
    assert (layout.windows == -1).sum() == 8 * 5
    assert np.unique(layout.windows[layout.windows >= 0]).tolist() == list(range(16))


def test_the_same_slot_of_two_days_is_two_windows() -> None:
    day = Season(period_ms=DAY_MS, slots=2)
    times = np.concatenate([np.arange(LEAST_SLOT_ROWS) + start * DAY_MS // 2 for start in (0, 1, 2, 3)])
    assert seasonal(times, day, 1_000).windows.max() == -1  # less than half a window each
    assert seasonal(times, day, LEAST_SLOT_ROWS).windows.max() + 1 == 4


def test_real_windows_are_numbered_in_order() -> None:
    layout = by_window([0, 0, 1_000, 4_000, 4_000])
    assert layout.windows.tolist() == [0, 0, 1, 2, 2]
    assert layout.window_slots().tolist() == [0, 0, 0]
    assert by_window([]).windows.tolist() == []


def test_a_slot_with_too_few_rows_is_named_with_its_place_in_the_period() -> None:
    times = np.arange(0, 6 * 3_600_000, 60_000)  # six hours of a day
    with pytest.raises(
        ProfileError, match=r"season slot 6 \(06:00:00 into the period\) has 0 rows; at least 100"
    ):
        seasonal(np.repeat(times, 2), Season(period_ms=DAY_MS, slots=24), 10)
    with pytest.raises(ProfileError, match=r"slot 1 \(24:00:00 into"):
        by_window(np.repeat(times, 2), Season(period_ms=WEEK_MS, slots=7))


def test_times_that_go_back_are_refused() -> None:
    with pytest.raises(ProfileError, match="must not descend"):
        seasonal(np.array([1_000, 0]), HALVES, 10)
