"""Invalid records are heard of, whatever their number."""

from structlog.testing import capture_logs

from consumers.services.invalid import InvalidRecords
from domain.windows.records import Invalid
from schemas.logrecords import LogRecord

MINUTE = 60_000


def bad(*offsets: int) -> list[tuple[LogRecord, Invalid]]:
    return [(LogRecord("t.outcomes", 3, at, 5, None, b"{", (), 5), Invalid(f"no {at}")) for at in offsets]


def said_of(met: list[tuple[int, list[tuple[LogRecord, Invalid]]]]) -> list[tuple[int, int, str]]:
    """(count, offset, reason) of each line, for what was met at which time."""
    records = InvalidRecords()
    with capture_logs() as lines:
        for now_ms, batch in met:
            records.met(batch, now_ms)
    assert all((line["topic"], line["partition"]) == ("t.outcomes", 3) for line in lines)
    return [(line["count"], line["offset"], line["reason"]) for line in lines]


def test_the_first_is_said_at_once_and_the_others_together_after_a_minute() -> None:
    said = said_of([(0, bad(7)), (1_000, bad(8, 9)), (MINUTE - 1, bad(10)), (MINUTE, bad(11))])
    assert said == [(1, 7, "no 7"), (4, 11, "no 11")]


def test_what_was_held_back_is_said_though_nothing_more_is_invalid() -> None:
    assert said_of([(0, []), (1, bad(7)), (2, bad(8)), (3, []), (2 * MINUTE, []), (5 * MINUTE, [])]) == [
        (1, 7, "no 7"),
        (1, 8, "no 8"),
    ]


def test_a_clock_that_is_set_back_silences_nobody() -> None:
    assert said_of([(10 * MINUTE, bad(7)), (0, bad(8))]) == [(1, 7, "no 7"), (1, 8, "no 8")]
