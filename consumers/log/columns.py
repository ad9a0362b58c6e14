"""The parts of many records that folding looks at, side by side.

A worker reads millions of records and asks few of them for more than this: a feed that can give the columns
without making a LogRecord of each saves a seventh of the worker's CPU.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from consumers.log.port import LogRecord


class Columns(NamedTuple):
    """Parallel; `appended_ms` is `timestamps_ms` itself where the log keeps one time per record."""

    offsets: Sequence[int]
    timestamps_ms: Sequence[int]
    values: Sequence[bytes | None]
    appended_ms: Sequence[int]


@runtime_checkable
class Columnar(Protocol):
    """Records that have their columns at hand."""

    @property
    def columns(self) -> Columns: ...


def columns_of(records: Sequence[LogRecord]) -> Columns:
    """The columns of `records`."""
    if isinstance(records, Columnar):
        return records.columns
    return Columns(
        [record.offset for record in records],
        [record.timestamp_ms for record in records],
        [record.value for record in records],
        [record.appended_ms for record in records],
    )
