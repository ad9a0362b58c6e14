"""What folding looks at is the same, whether a record was made of each or not."""

from typing import Any

from aiokafka.structs import ConsumerRecord

from consumers.log.columns import Columns, columns_of
from consumers.log.kafka_feed import Fetched
from schemas import LogRecord


def test_the_columns_of_plain_records() -> None:
    records = [LogRecord("t", 0, 5, 10, b"k", b"v", (), 11), LogRecord("t", 0, 6, 12, None, None, (), 13)]
    assert columns_of(records) == Columns([5, 6], [10, 12], [b"v", None], [11, 13])
    assert columns_of([]) == Columns([], [], [], [])


def test_what_a_broker_sent_has_the_columns_of_its_records() -> None:
    fetched = Fetched([consumed(5, b"v", ("traceparent", b"x")), consumed(6, None), consumed(7, b"w")])
    assert columns_of(fetched) == columns_of(list(fetched))
    assert [record.offset for record in fetched[1:]] == [6, 7]
    assert len(fetched) == 3
    assert fetched[-1] == LogRecord("t", 2, 7, 1_007, b"k", b"w", (), 1_007)
    assert fetched[0].headers == (("traceparent", b"x"),)


def consumed(offset: int, value: bytes | None, *headers: tuple[str, bytes]) -> Any:
    return ConsumerRecord("t", 2, offset, 1_000 + offset, 0, b"k", value, None, 1, 1, headers)
