"""A replay that finds a difference says which row and which decision, in words and as JSON."""

from datetime import UTC, datetime

import pytest

from consumers.cli.replay import document, words
from consumers.services.replaying import Difference, ReplayReport
from consumers.store.repositories.decisions import Decision
from domain.windows.rows import RowKey

AT_MS = int(datetime(2001, 5, 4, tzinfo=UTC).timestamp() * 1000)
SCORE = RowKey("score", AT_MS, 1, "brent-move", "1", "", "", 0, 86_400)
SHADOW = RowKey("score", AT_MS, 0, "brent-move", "2", "challenger", "brent-2-v-1", 2, 86_400)
INPUT = RowKey("input", AT_MS, 1, "brent-move", "1", "", "", 0, 0)


def decision(body: bytes) -> Decision:
    return Decision(
        decision_id="d-1",
        kind="drift",
        model="brent-move",
        subject="1",
        at_ms=AT_MS,
        window_start_ms=AT_MS,
        window_end_ms=AT_MS,
        body=body,
        digest="",
        config_hash="",
        code_version="0",
    )


def report(
    first_row: RowKey | None, stored: Decision | None, recomputed: Decision | None, rows: int = 2
) -> ReplayReport:
    difference = Difference(stored=stored, recomputed=recomputed) if stored or recomputed else None
    return ReplayReport(
        decisions=5,
        rows=10,
        row_differences=rows if first_row else 0,
        first_row=first_row,
        first_difference=difference,
    )


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (SCORE, "score row of window 2001-05-04, partition 1, brent-move 1"),
        (INPUT, "input row of window 2001-05-04, partition 1, brent-move 1"),
        (
            SHADOW,
            "score row of window 2001-05-04, partition 0, brent-move 2, variant challenger of brent-2-v-1",
        ),
    ],
)
def test_the_first_row_is_named_in_words(key: RowKey, said: str) -> None:
    told = words(report(key, None, None))
    assert told.splitlines()[1:] == [
        f"2 window rows differ; the first is the {said}",
        "no decision depends on them",
    ]
    assert "1 window row differs;" in words(report(key, None, None, rows=1))


def test_the_first_row_is_an_object_for_programs() -> None:
    absent = {"variant": None, "experiment": None}
    key = {"window_start": "2001-05-04", "partition": 1, "model": "brent-move", "version": "1", **absent}
    assert document(report(SCORE, None, None))["first_row"] == {"kind": "score", **key, "horizon_s": 86_400}
    assert document(report(INPUT, None, None))["first_row"] == {"kind": "input", **key, "horizon_s": None}
    assert document(report(None, None, None))["first_row"] is None


def test_a_decision_that_is_not_led_to_is_explained_by_the_changed_rows() -> None:
    silent = "with the changed rows the rule that fired does not fire"
    told = words(report(SCORE, decision(b"{}"), None)).splitlines()
    assert told[1].endswith("(d-1): the log does not lead to it")
    assert told[2].strip() == silent
    assert silent not in words(report(None, decision(b"{}"), None)), "no row changed: it was put there"
    assert silent not in words(report(SCORE, decision(b"{}"), decision(b"[]")))
    assert silent not in words(report(SCORE, None, decision(b"{}")))
