"""Due times are local times, each once, whatever the clocks do; a wrong schedule is named by its field."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidField
from domain.retraining.schedule import Schedule, schedule_of
from schemas.clock import from_ms, to_ms

LONDON = "Europe/London"
MOMENTS = st.integers(to_ms(datetime(2020, 1, 1, tzinfo=UTC)), to_ms(datetime(2035, 1, 1, tzinfo=UTC)))
MINUTE = 60_000


def ms(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


def latest(cron: str, at: str, timezone: str = LONDON) -> str:
    """The latest due time at `at`, both in UTC."""
    return from_ms(Schedule(cron=cron, timezone=timezone).latest_due(ms(at))).strftime("%m-%d %H:%M")


def all_due(cron: str, first: str, last: str, timezone: str = LONDON) -> list[str]:
    """Every due time that a worker comes upon which looks each minute from `first` to `last`, in UTC."""
    schedule, through = Schedule(cron=cron, timezone=timezone), ms(first)
    found = []
    for now in range(ms(first), ms(last) + 1, MINUTE):
        due = schedule.due(through, now)
        if due is not None:
            assert due == now, "found late"
            through = due
            found.append(from_ms(due).strftime("%d %H:%M"))
    return found


def test_a_due_time_is_read_in_its_time_zone() -> None:
    assert latest("0 3 * * 1", "2026-01-07 12:00") == "01-05 03:00"
    assert latest("0 3 * * 1", "2026-07-08 12:00") == "07-06 02:00"
    assert latest("0 3 * * mon", "2026-07-08 12:00", "Asia/Tokyo") == "07-05 18:00"
    assert latest("30 4 1 */3 *", "2026-06-30 00:00", "UTC") == "04-01 04:30"


def test_the_due_time_itself_counts_and_the_millisecond_before_does_not() -> None:
    schedule, due = Schedule(cron="0 3 * * *"), ms("2026-01-07 03:00")
    assert schedule.latest_due(due) == due
    assert schedule.latest_due(due - 1) == ms("2026-01-06 03:00")


def test_a_time_that_the_clocks_skip_is_due_when_the_old_clock_would_show_it() -> None:
    # 29 March 2026, 01:00 GMT is 02:00 BST
    assert all_due("30 1 * * *", "2026-03-28 00:00", "2026-03-31 00:00") == [
        "28 01:30",
        "29 01:30",
        "30 00:30",
    ]
    # 02:00 BST is an hour before the skipped 01:45 on the old clock, though it is later on the wall
    assert all_due("45 1 * * *", "2026-03-29 00:00", "2026-03-29 23:00") == ["29 01:45"]
    assert all_due("0,45 1-2 * * *", "2026-03-29 00:00", "2026-03-29 23:00") == ["29 01:00", "29 01:45"]


def test_a_time_that_the_clocks_show_twice_is_due_the_first_time() -> None:
    # 25 October 2026, 02:00 BST is 01:00 GMT
    assert all_due("30 1 * * *", "2026-10-24 00:00", "2026-10-27 00:00") == [
        "24 00:30",
        "25 00:30",
        "26 01:30",
    ]
    assert all_due("*/30 1-2 * * *", "2026-10-25 00:00", "2026-10-25 23:00") == [
        "25 00:30",  # what is due at 00:00 is done with when the worker begins
        "25 02:00",
        "25 02:30",
    ]


def test_who_was_down_during_the_second_showing_still_finds_the_first() -> None:
    schedule = Schedule(cron="50 1 * * *", timezone=LONDON)
    assert schedule.due(ms("2026-10-24 12:00"), ms("2026-10-25 01:10")) == ms("2026-10-25 00:50")


def test_missed_times_are_one_the_latest() -> None:
    schedule = Schedule(cron="0 3 * * *", timezone=LONDON)
    through = ms("2026-01-01 03:00")
    assert schedule.due(through, ms("2026-01-20 12:00")) == ms("2026-01-20 03:00")
    assert schedule.due(ms("2026-01-20 03:00"), ms("2026-01-21 02:59")) is None


@given(
    first_ms=MOMENTS,
    later=st.integers(0, 3 * 86_400),
    cron=st.sampled_from(["*/20 * * * *", "30 1 * * *", "0,45 1-2 * * *", "15 2 * * sun", "0 3 1 * *"]),
    timezone=st.sampled_from([LONDON, "America/New_York", "Australia/Lord_Howe", "Antarctica/Troll", "UTC"]),
)
def test_the_latest_due_time_is_never_ahead_and_never_goes_back(
    first_ms: int, later: int, cron: str, timezone: str
) -> None:
    schedule = Schedule(cron=cron, timezone=timezone)
    second_ms = first_ms + later * 1_000
    first, second = schedule.latest_due(first_ms), schedule.latest_due(second_ms)
    assert first <= first_ms
    assert first <= second <= second_ms
    assert schedule.latest_due(first) == first


@given(MOMENTS)
def test_no_local_time_is_left_out(at_ms: int) -> None:
    wanted = from_ms(at_ms).replace(minute=0, second=0, microsecond=0)
    due = to_ms(wanted.replace(tzinfo=ZoneInfo(LONDON)).astimezone(UTC))
    schedule = Schedule(cron=f"0 {wanted.hour} {wanted.day} {wanted.month} *", timezone=LONDON)
    assert schedule.latest_due(due) == due
    assert schedule.latest_due(due + to_ms(from_ms(0) + timedelta(days=20))) == due


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        ({}, "Schedule.cron must be given"),
        ({"cron": "0 3 * *"}, "Schedule.cron must be five fields"),
        ({"cron": "0 0 3 * * 1"}, "Schedule.cron must be five fields"),
        ({"cron": "@daily"}, "Schedule.cron must be five fields"),
        ({"cron": "R 3 * * *"}, "Schedule.cron must be five fields"),
        ({"cron": "61 3 * * *"}, "Schedule.cron must be five fields"),
        ({"cron": "0 3 30 feb *"}, "that some date fulfils"),
        ({"cron": "0 3 * * xyz"}, "Schedule.cron must be five fields"),
        ({"cron": "0 3 * * " + ",".join(["1"] * 200)}, "Schedule.cron must be five fields"),
        ({"cron": 3}, "Schedule.cron must be"),
        ({"cron": "0 3 * * *", "timezone": "Europe/Lndon"}, "Schedule.timezone must be a time zone such as"),
        ({"cron": "0 3 * * *", "timezone": "Europe"}, "Schedule.timezone"),
        ({"cron": "0 3 * * *", "timezone": "../etc/passwd"}, "Schedule.timezone"),
        ({"cron": "0 3 * * *", "timezone": ""}, "Schedule.timezone"),
        ({"cron": "0 3 * * *", "zone": "UTC"}, "Schedule.zone must be one of cron, timezone"),
        ("0 3 * * *", "RetrainPolicy.schedule must be an object"),
    ],
)
def test_a_wrong_schedule_names_its_field(schedule: object, problem: str) -> None:
    with pytest.raises(InvalidField) as refused:
        schedule_of({"retrain": {"schedule": schedule}})
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


def test_no_schedule_is_none() -> None:
    assert schedule_of({}) is None
    assert schedule_of({"retrain": {}}) is None
    assert schedule_of({"retrain": {"schedule": None}}) is None


def test_a_schedule_survives_its_json() -> None:
    schedule = Schedule(cron="0 3 * * 1", timezone=LONDON)
    assert Schedule.from_json(schedule.to_json()) == schedule
