"""Brent crude, day by day: what a forecaster knows at each close, and what happened on the next trading day.

The prices are the spot prices of the U.S. Energy Information Administration, 1987 to 2019, which the river
package ships as `river.drift.datasets.BrentSpotPrice`, with the change points that five people marked.
Asked at the close: by how many dollars will the price have moved at the next close, up or down?
"""

import csv
import datetime as dt
import hashlib
import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

FEATURES = ("abs_move", "mean_20", "mean_5", "mean_60", "price")
"""Sorted, as the columns of training files are. `mean_n` is the mean absolute move of the last n days."""
FEATURE_PREFIX = "feature."
WARM_UP = 60
"""So many first days have no features: there is no 60-day mean of moves yet."""
CLOSE_HOUR = 17
"""UTC; a day's price is known, its prediction made and the day before's outcome observed at this hour."""
SERVING_FROM = dt.date(1995, 5, 22)
"""The first served day: a Monday, the first trading day eight years after the first row."""
WEEK_MS = 604_800_000
_DAY_MS = 86_400_000
_EPOCH = dt.date(1970, 1, 1)


class DataMissing(Exception):
    """The prices cannot be found or are not the ones this example was made for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One trading day."""

    date: dt.date
    price: float
    """Dollars a barrel."""
    features: Mapping[str, float] | None
    """All known at this day's close; None during the warm-up."""
    target: float | None
    """Dollars between this and the next trading day's price; None on the last day."""
    outcome_ms: int | None
    """When the target becomes known: the next trading day's close."""

    @property
    def prediction_id(self) -> str:
        return f"brent-{self.date.isoformat()}"

    @property
    def event_ms(self) -> int:
        """The close, in milliseconds since the epoch, UTC."""
        return close_ms(self.date)

    @property
    def week(self) -> int:
        """Number of the 7-day window, aligned to the epoch, that the close falls into."""
        return self.event_ms // WEEK_MS


def close_ms(date: dt.date) -> int:
    return (date - _EPOCH).days * _DAY_MS + CLOSE_HOUR * 3_600_000


@cache
def load_days() -> tuple[Day, ...]:
    """Every trading day, oldest first. Raises DataMissing."""
    return days_from(_read_prices())


def days_from(prices: Sequence[tuple[dt.date, float]]) -> tuple[Day, ...]:
    """Days with features and targets from dates and prices in time order."""
    values = [price for _, price in prices]
    moves = [0.0, *(abs(after - before) for before, after in pairwise(values))]
    days = []
    for index, (date, price) in enumerate(prices):
        following = prices[index + 1][0] if index + 1 < len(prices) else None
        days.append(
            Day(
                date=date,
                price=price,
                features=_features(price, moves[index - WARM_UP + 1 : index + 1])
                if index >= WARM_UP
                else None,
                target=None if following is None else moves[index + 1],
                outcome_ms=None if following is None else close_ms(following),
            )
        )
    return tuple(days)


@cache
def served_days() -> tuple[Day, ...]:
    """The days for which predictions are made, oldest first; the last one never gets an outcome."""
    return tuple(day for day in load_days() if day.date >= SERVING_FROM)


def weeks() -> range:
    """Numbers of the 7-day windows with served days: window k is [k, k + 1) x 604,800,000 ms."""
    days = served_days()
    return range(days[0].week, days[-1].week + 1)


def days_in(week: int) -> tuple[Day, ...]:
    """The served days of one window, oldest first."""
    return _by_week().get(week, ())


def archive_days() -> tuple[Day, ...]:
    """What version 1 learns from: days with features whose outcome was known before serving began."""
    begins_ms = served_days()[0].event_ms
    return tuple(
        day
        for day in load_days()
        if day.features is not None and day.outcome_ms is not None and day.outcome_ms < begins_ms
    )


def write_archive(path: Path) -> str:
    """Writes the archive days as a Parquet file with the columns of a training file.

    Returns its SHA-256. The same pyarrow writes the same bytes every time.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    days = archive_days()
    columns = {
        "prediction_id": pa.array([day.prediction_id for day in days], pa.string()),
        "occurred_at_ms": pa.array([day.event_ms for day in days], pa.int64()),
        "actual": pa.array([day.target for day in days], pa.float64()),
    }
    for name in FEATURES:
        values = [day.features[name] for day in days if day.features is not None]
        columns[FEATURE_PREFIX + name] = pa.array(values, pa.float64())
    pq.write_table(pa.table(columns), path, compression="zstd")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def change_points() -> tuple[int, ...]:
    """Closes, in ms, at which any of the annotators saw a change; sorted. Imports river (seconds)."""
    return tuple(sorted({at_ms for found in change_points_by_annotator().values() for at_ms in found}))


def change_points_by_annotator() -> dict[str, tuple[int, ...]]:
    """Annotator -> the closes, in ms, at which they saw a change; sorted. Imports river (seconds).

    The annotators saw every tenth row only, from the first such row in the year 2000 on (the data set
    `brent_spot` of van den Burg and Williams, "An Evaluation of Change Point Detection Algorithms", 2020),
    so that their index i is not row i of the prices.
    """
    from river.drift import datasets

    prices: Any = datasets.BrentSpotPrice  # river's functions have no annotations
    seen = [day for day in load_days()[::10] if day.date.year >= 2000]
    marked: dict[str, list[int]] = prices().annotations
    return {name: tuple(seen[i].event_ms for i in sorted(found)) for name, found in marked.items()}


def _features(price: float, moves: Sequence[float]) -> dict[str, float]:
    """`moves` end with this day's."""
    return {
        "abs_move": moves[-1],
        "mean_20": math.fsum(moves[-20:]) / 20,
        "mean_5": math.fsum(moves[-5:]) / 5,
        "mean_60": math.fsum(moves[-60:]) / 60,
        "price": price,
    }


@cache
def _by_week() -> dict[int, tuple[Day, ...]]:
    found: dict[int, list[Day]] = {}
    for day in served_days():
        found.setdefault(day.week, []).append(day)
    return {week: tuple(days) for week, days in found.items()}


def _read_prices() -> list[tuple[dt.date, float]]:
    # Importing river.drift.datasets takes three seconds, for all of river comes with it; a service that is
    # started, killed and started again should not pay for that. So the file is found without the import.
    spec = importlib.util.find_spec("river")
    if spec is None or not spec.submodule_search_locations:
        raise DataMissing("the prices come with the river package, which is not installed")
    path = Path(spec.submodule_search_locations[0]) / "drift" / "datasets" / "brent_crude_oil.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [(_date(row["day"]), float(row["DPB"])) for row in csv.DictReader(file)]
    except (OSError, KeyError, ValueError) as error:
        raise DataMissing(f"{path}: cannot be read as Brent prices ({error})") from error
    in_order = all(a < b for (a, _), (b, _) in pairwise(rows))
    if len(rows) <= WARM_UP or not in_order or not all(math.isfinite(price) for _, price in rows):
        raise DataMissing(f"{path}: not a series of prices in time order")
    return rows


def _date(text: str) -> dt.date:
    month, day, year = text.split("/")
    return dt.date(int(year), int(month), int(day))
