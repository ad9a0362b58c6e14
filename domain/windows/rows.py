"""Rows the fold emits. Equal logs give equal keys and equal bytes."""

from dataclasses import dataclass
from typing import Any, Literal

import orjson

Kind = Literal["input", "score"]
Side = Literal["predictions", "outcomes"]


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and shortest round-trip floats; `value` holds finite floats only."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


@dataclass(frozen=True, slots=True, order=True)
class RowKey:
    """Natural key of a window row. Absent variant or experiment is "", an input row has horizon 0."""

    kind: Kind
    window_start_ms: int
    partition: int
    model: str
    version: str
    variant: str
    experiment: str
    epoch: int
    horizon_s: int


@dataclass(frozen=True, slots=True)
class WindowRow:
    """What one window holds of one key; `body` is canonical JSON.

    `due_ms` is the event time at which the row is complete: the window's end for an input row, the cutoff
    for a score row.
    """

    key: RowKey
    due_ms: int
    body: bytes


@dataclass(frozen=True, slots=True)
class ArrivalRow:
    """What became of the records that arrived while their partition's newest timestamp was in one window."""

    side: Side
    partition: int
    window_start_ms: int
    body: bytes
