"""Columns of a reference file as what profiles are built from: numbers, coded text, event times.

Every complaint names the column and, where one record is at fault, its row, from 1 after the header.
"""

from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from domain.windows.binning import Coded, Column, Ints
from domain.windows.moments import Floats
from schemas.clock import to_ms

EARLIEST_MS: Final = 100_000_000_000
LATEST_MS: Final = 100_000_000_000_000
"""Whole numbers outside 1973 to 5138 are not milliseconds: seconds are below, microseconds above."""


class ColumnUnusable(Exception):
    """A column cannot be used; the message names it."""


def feature_column(name: str, values: pa.ChunkedArray, *, as_text: bool, quoted: bool) -> Column:
    """Numbers (truth values are 0 and 1), or text.

    `quoted` values are text from a file without types: numbers if all of them read as such. Raises
    ColumnUnusable for a column without any value, with an infinite number, or with text among numbers.
    """
    if values.null_count == len(values):
        raise ColumnUnusable(f"column {name} has no value in any of {len(values)} rows; leave it out: --skip")
    if as_text:
        return _text(values.cast(pa.string()))
    if _is_text(values.type):
        numbers = _parsed(name, values) if quoted else None
        return _text(values) if numbers is None else finite(name, numbers)
    return finite(name, _numbers(name, values))


def number_column(name: str, values: pa.ChunkedArray, *, quoted: bool) -> Floats:
    """Finite numbers, NaN where missing. Raises ColumnUnusable also for text."""
    if _is_text(values.type):
        numbers = _parsed(name, values) if quoted else None
        if numbers is None:
            row, value = _first(values, np.ones(len(values), np.bool_))
            raise ColumnUnusable(f"column {name}, row {row}: must be a number, not {value!r}")
        return finite(name, numbers)
    return finite(name, _numbers(name, values))


def answer_column(name: str, values: pa.ChunkedArray, *, quoted: bool) -> list[Any]:
    """Labels as text, or numbers as floats; None where missing."""
    column = feature_column(name, values, as_text=False, quoted=quoted)
    if isinstance(column, Coded):
        labels: list[Any] = values.cast(pa.string()).to_pylist()
        return labels
    numbers: Floats = np.asarray(column)
    return [None if value != value else value for value in numbers.tolist()]  # noqa: PLR0124 - NaN


def finite(name: str, numbers: Floats) -> Floats:
    """`numbers` as they are. Raises ColumnUnusable for the first that is infinite."""
    infinite = np.flatnonzero(np.isinf(numbers))
    if len(infinite):
        row = int(infinite[0])
        raise ColumnUnusable(f"column {name}, row {row + 1}: numbers must be finite, not {numbers[row]}")
    return numbers


def time_column(name: str, values: pa.ChunkedArray, *, utc: bool, quoted: bool) -> Ints:
    """Milliseconds since 1970 UTC: of timestamps, of ISO 8601 text, or of whole numbers that are such.

    A time without a zone is refused unless `utc` says that it is UTC.
    """
    if values.null_count:
        row, _ = _first(values, np.asarray(values.is_null()), missing=True)
        raise ColumnUnusable(f"column {name}, row {row}: the time is missing")
    if pa.types.is_timestamp(values.type):
        if values.type.tz is None and not utc:
            raise ColumnUnusable(f"column {name}: times have no time zone; --utc takes them as UTC")
        return _milliseconds(values)
    if pa.types.is_date(values.type):
        return _milliseconds(values.cast(pa.timestamp("ms")))
    if pa.types.is_integer(values.type):
        return _plausible(name, values.to_numpy().astype(np.int64))
    if not _is_text(values.type):
        raise ColumnUnusable(f"column {name}: {values.type} is no time; {_TIMES}")
    if quoted:
        try:
            return _plausible(name, values.cast(pa.int64()).to_numpy())
        except pa.ArrowInvalid:
            pass  # text, then
    return np.array([_moment(name, row, text, utc) for row, text in enumerate(values.to_pylist())], np.int64)


_TIMES: Final = "times are ISO 8601 (2026-03-31T08:00:00Z) or whole milliseconds since 1970"


def _milliseconds(values: pa.ChunkedArray) -> Ints:
    unit = values.type.unit
    found: Ints = values.cast(pa.int64()).to_numpy()
    divisor = {"us": 1_000, "ns": 1_000_000}.get(unit, 1)
    return found * 1_000 if unit == "s" else found // divisor


def _plausible(name: str, times: Ints) -> Ints:
    wrong = np.flatnonzero((times < EARLIEST_MS) | (times >= LATEST_MS))
    if len(wrong):
        row = int(wrong[0])
        raise ColumnUnusable(
            f"column {name}, row {row + 1}: {times[row]} is not in milliseconds since 1970 "
            f"({EARLIEST_MS} to {LATEST_MS}, years 1973 to 5138)"
        )
    return times


def _moment(name: str, row: int, text: str, utc: bool) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ColumnUnusable(f"column {name}, row {row + 1}: {text!r} is no time; {_TIMES}") from None
    if moment.tzinfo is None:
        if not utc:
            raise ColumnUnusable(
                f"column {name}, row {row + 1}: {text!r} has no time zone; --utc takes such times as UTC"
            )
        moment = moment.replace(tzinfo=UTC)
    return to_ms(moment)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _numbers(name: str, values: pa.ChunkedArray) -> Floats:
    kind = values.type
    if not (
        pa.types.is_floating(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    ):
        raise ColumnUnusable(f"column {name}: {kind} is neither number, text nor truth value; --skip it")
    if pa.types.is_boolean(kind):
        values = values.cast(pa.uint8())
    # to_numpy fills with NaN where there is no value
    numbers: Floats = values.cast(pa.float64(), safe=False).to_numpy().astype(np.float64)
    return numbers


def _parsed(name: str, values: pa.ChunkedArray) -> Floats | None:
    """Text that is numbers, or true and false, all of it; None if none of it is."""
    try:
        return _numbers(name, values.cast(pa.float64()))
    except pa.ArrowInvalid:
        pass  # not all of it is
    known = values.drop_null().unique().to_pylist()
    if {text.lower() for text in known} <= {"true", "false"}:
        return _numbers(name, pc.utf8_lower(values).cast(pa.bool_()))
    numeric = {text: _reads_as_number(text) for text in known}
    if not any(numeric.values()):
        return None
    text = next(text for text, is_number in numeric.items() if not is_number)
    row = pc.index(values, pa.scalar(text, values.type)).as_py() + 1
    raise ColumnUnusable(
        f"column {name}, row {row}: {text!r} is text among numbers; --text {name} takes all of it as text"
    )


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _text(values: pa.ChunkedArray) -> Coded:
    coded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    whole = coded.unify_dictionaries().combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0)
    codes: Ints = whole.indices.fill_null(-1).to_numpy().astype(np.int64)
    return Coded(codes, tuple(whole.dictionary.cast(pa.string()).to_pylist()))


def _first(values: pa.ChunkedArray, wanted: Any, *, missing: bool = False) -> tuple[int, Any]:
    """Row, from 1, and value of the first of the `wanted` records that is there (or is missing)."""
    there = np.asarray(values.is_null() if missing else values.is_valid())
    row = int(np.flatnonzero(there & wanted)[0])
    return row + 1, values[row].as_py()
