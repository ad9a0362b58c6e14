"""The rows of one model, grouped into the instants at which they fall due."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from domain.windows.rows import Kind, RowKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A window row as the judge reads it."""

    key: RowKey
    due_ms: int
    body: Mapping[str, Any]
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """All rows of one model that share kind, window, horizon and due time: one step of the judgement."""

    due_ms: int
    kind: Kind
    window_start_ms: int
    horizon_s: int
    rows: Sequence[Row]


def instants(rows: Sequence[Row]) -> Iterator[Instant]:
    """Group `rows`, which must be in judging order (due_ms, kind, window, horizon, …, partition)."""

    def when(row: Row) -> tuple[int, Kind, int, int]:
        return (row.due_ms, row.key.kind, row.key.window_start_ms, row.key.horizon_s)

    for (due_ms, kind, window_start_ms, horizon_s), group in groupby(rows, key=when):
        yield Instant(
            due_ms=due_ms, kind=kind, window_start_ms=window_start_ms, horizon_s=horizon_s, rows=tuple(group)
        )


def chain(digest: str, rows: Sequence[Row]) -> str:
    """Extend the running digest over every row judged so far: each decision carries it, so one changed row
    changes every later decision."""
    return hashlib.sha256("".join([digest, *(row.digest for row in rows)]).encode()).hexdigest()
