"""Reference data in a CSV or Parquet file, read a column at a time: memory holds one column, not the file."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from consumers.services.reference_columns import (
    ColumnUnusable,
    answer_column,
    feature_column,
    number_column,
    time_column,
)
from consumers.services.reference_error import ReferenceUnusable
from consumers.services.training_files import FEATURE_PREFIX
from domain.errors import InvalidField
from domain.windows.baseline import Judged
from domain.windows.binning import Coded, Column, Ints
from domain.windows.build import BINS, CATEGORIES, WINDOW_RECORDS, build_profile
from domain.windows.clip import error_clip
from domain.windows.layout import seasonal
from domain.windows.moments import Floats
from domain.windows.profile import ReferenceProfile, Task
from domain.windows.profile_error import ProfileError
from domain.windows.season import Season
from schemas.events import MAX_FEATURES

NOT_FEATURES: Final = ("prediction", "actual", "prediction_id", "occurred_at_ms", "horizon_s", "version")
_CSV_SUFFIXES: Final = (".csv", ".csv.gz", ".csv.bz2", ".csv.zst")
_BLOCK: Final = 1 << 24
"""Bytes of a CSV file that are in memory at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a file is to be taken."""

    task: Task = "regression"
    time: str | None = None
    """Column of event times, by which rows are sorted; None: rows are in time order."""
    season: Season | None = None
    """Needs `time`."""
    utc: bool = False
    """Times without a zone are UTC."""
    window_records: int = WINDOW_RECORDS
    bins: int = BINS
    categories: int = CATEGORIES
    text: Sequence[str] = ()
    """Columns that are text even where they look like numbers."""
    skip: Sequence[str] = ()
    """Columns that are left out."""

    def __post_init__(self) -> None:
        if self.season is not None and self.time is None:
            raise InvalidField("reference", "time", "given with a season", None)
        for name, least in (("window_records", 1), ("bins", 2), ("categories", 1)):
            if getattr(self, name) < least:
                raise InvalidField("reference", name, f"at least {least}", getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A profile, and what it was built from."""

    profile: ReferenceProfile
    rows: int
    outcomes: int
    """Rows with a prediction and an outcome."""
    first_ms: int | None = None
    last_ms: int | None = None


def profile_from(path: Path, shape: Shape) -> Built:
    """The reference profile of a file: features, and if there are, the columns `prediction` and `actual`.

    The registry fills in whom it belongs to and from when on it counts. Raises ReferenceUnusable.
    """
    try:
        with _opened(path) as file:
            return _built(_Table(file, shape, quoted=_is_csv(path)), shape)
    except (ColumnUnusable, ProfileError) as error:
        raise ReferenceUnusable(path, str(error)) from error


def _is_csv(path: Path) -> bool:
    return path.name.lower().endswith(_CSV_SUFFIXES)


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    if not _is_csv(path):
        try:
            with pq.ParquetFile(path) as file:
                yield file
        except (OSError, pa.ArrowException) as error:
            raise ReferenceUnusable(path, f"is not a readable Parquet file ({_brief(error)})") from error
        return
    # a CSV file has its columns interleaved: once through it, then column by column as from Parquet
    with tempfile.TemporaryDirectory(prefix="reference-") as folder:
        columns = Path(folder) / "columns.parquet"
        try:
            _split_columns(path, columns)
        except (OSError, pa.ArrowException) as error:
            raise ReferenceUnusable(path, f"is not a readable CSV file ({_brief(error)})") from error
        with pq.ParquetFile(columns) as file:
            yield file


def _split_columns(path: Path, columns: Path) -> None:
    with pcsv.open_csv(path) as peek:
        names = peek.schema.names
    _distinct(names)
    read = pcsv.ReadOptions(block_size=_BLOCK)
    parse = pcsv.ParseOptions(newlines_in_values=True)
    # types by the whole column, not by its first block
    convert = pcsv.ConvertOptions(
        column_types={name: pa.string() for name in names}, strings_can_be_null=True
    )
    with (
        pcsv.open_csv(path, read_options=read, parse_options=parse, convert_options=convert) as reader,
        pq.ParquetWriter(columns, reader.schema, compression="lz4", use_dictionary=False) as writer,
    ):
        for batch in reader:
            writer.write_batch(batch)


class _Table(Mapping[str, Column]):
    """The features of a file by name; each is read when it is asked for, in time order."""

    def __init__(self, file: pq.ParquetFile, shape: Shape, *, quoted: bool) -> None:
        self._file, self._shape, self._quoted = file, shape, quoted
        self.rows: int = file.metadata.num_rows
        self._names: list[str] = file.schema_arrow.names
        _distinct(self._names)
        for option, columns in (("--text", shape.text), ("--skip", shape.skip), ("--time", [shape.time])):
            for name in columns:
                if name is not None and name not in self._names:
                    raise ColumnUnusable(f"has no column {name} ({option})")
        left_out = {*NOT_FEATURES, *shape.skip, shape.time}
        features = [name for name in self._names if name not in left_out]
        _distinct([name.removeprefix(FEATURE_PREFIX) for name in features])
        self._features = {name.removeprefix(FEATURE_PREFIX): name for name in features}
        if not self._features or not self.rows:
            raise ColumnUnusable("holds no feature column with rows")
        if len(self._features) > MAX_FEATURES:
            raise ColumnUnusable(
                f"holds {len(self._features)} feature columns; at most {MAX_FEATURES} can be"
            )
        if "" in self._features:
            raise ColumnUnusable("has a column without a name")
        self.times = self._times()
        self._order = None
        if self.times is not None and (np.diff(self.times) < 0).any():
            self._order = np.argsort(self.times, kind="stable")
            self.times = self.times[self._order]

    def __getitem__(self, name: str) -> Column:
        column = self._features[name]
        values = self._read(column)
        found = feature_column(column, values, as_text=column in self._shape.text, quoted=self._quoted)
        return self._ordered(found)

    def __iter__(self) -> Iterator[str]:
        return iter(self._features)

    def __len__(self) -> int:
        return len(self._features)

    def answers(self, name: str) -> Floats | list[Any] | None:
        """The column `prediction` or `actual`: numbers, for task label also text; None without it."""
        if name not in self._names or name in self._shape.skip:
            return None
        values = self._read(name)
        if self._shape.task == "label":
            labels = answer_column(name, values, quoted=self._quoted)
            return labels if self._order is None else [labels[row] for row in self._order.tolist()]
        numbers = number_column(name, values, quoted=self._quoted)
        if self._shape.task == "probability":
            _check_probability(name, numbers)
        return numbers if self._order is None else numbers[self._order]

    def _times(self) -> Ints | None:
        name = self._shape.time
        if name is None:
            return None
        return time_column(name, self._read(name), utc=self._shape.utc, quoted=self._quoted)

    def _read(self, column: str) -> pa.ChunkedArray:
        return self._file.read(columns=[column]).column(column)

    def _ordered(self, column: Column) -> Column:
        if self._order is None:
            return column
        if isinstance(column, Coded):
            return Coded(column.codes[self._order], column.categories)
        return np.asarray(column)[self._order]


def _built(table: _Table, shape: Shape) -> Built:
    predictions, actuals = table.answers("prediction"), table.answers("actual")
    judged, outcomes, clip = None, 0, None
    if predictions is not None and actuals is not None:
        judged = Judged(predictions=predictions, actuals=actuals)
        outcomes = judged.outcomes
        if shape.task == "regression":
            clip = error_clip(np.asarray(predictions), np.asarray(actuals))
    layout = None
    if shape.season is not None and table.times is not None:
        layout = seasonal(table.times, shape.season, shape.window_records)
    profile = build_profile(
        model="",
        version="",
        task=shape.task,
        features=table,
        predictions=predictions,
        judged=judged,
        error_clip=clip,
        window_records=shape.window_records,
        layout=layout,
        bins=shape.bins,
        categories=shape.categories,
    )
    return Built(
        profile=profile,
        rows=table.rows,
        outcomes=outcomes,
        first_ms=int(table.times[0]) if table.times is not None else None,
        last_ms=int(table.times[-1]) if table.times is not None else None,
    )


def _check_probability(name: str, numbers: Floats) -> None:
    known = ~np.isnan(numbers)
    if name == "actual":
        wrong = known & (numbers != 0) & (numbers != 1)
        limit = "0 or 1"
    else:
        wrong = known & ((numbers < 0) | (numbers > 1))
        limit = "0 to 1"
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ColumnUnusable(f"column {name}, row {row + 1}: must be {limit}, not {numbers[row]:g}")


def _distinct(names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ColumnUnusable(f"has two columns named {name}")
        seen.add(name)


def _brief(error: Exception) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0][:300]
