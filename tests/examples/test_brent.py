"""The example's days: nothing from the future in a feature, every served day in exactly one window."""

import datetime as dt
import hashlib
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from examples import brent

EXAMPLES = Path(brent.__file__).parent


def test_there_is_a_row_for_each_of_the_8195_trading_days_in_order() -> None:
    days = brent.load_days()
    assert len(days) == 8_195
    assert (days[0].date, days[-1].date) == (dt.date(1987, 5, 20), dt.date(2019, 8, 26))
    assert (days[0].price, days[1].price) == (18.63, 18.45)
    assert all(a.event_ms < b.event_ms for a, b in pairwise(days))
    assert len({day.prediction_id for day in days}) == 8_195


def test_a_day_is_dated_at_five_in_the_afternoon_and_named_for_its_date() -> None:
    day = brent.served_days()[0]
    assert day.prediction_id == "brent-1995-05-22"
    assert day.event_ms == int(dt.datetime(1995, 5, 22, 17, tzinfo=dt.UTC).timestamp() * 1_000)


def test_features_and_targets_are_what_a_plain_recomputation_gives() -> None:
    days = brent.load_days()
    prices = np.array([day.price for day in days])
    for index in (60, 61, 1_000, 5_000, 8_193):
        features = days[index].features
        assert features is not None
        assert tuple(sorted(features)) == brent.FEATURES
        assert features["price"] == prices[index]
        for name, length in (("abs_move", 1), ("mean_5", 5), ("mean_20", 20), ("mean_60", 60)):
            plain = np.abs(np.diff(prices[index - length : index + 1])).mean()
            assert features[name] == pytest.approx(plain, rel=1e-12)
        assert days[index].target == abs(prices[index + 1] - prices[index])
        assert days[index].outcome_ms == days[index + 1].event_ms


def test_the_warm_up_has_no_features_and_the_last_day_no_outcome() -> None:
    days = brent.load_days()
    assert [day.features is None for day in days] == [True] * 60 + [False] * (len(days) - 60)
    assert days[-1].target is None
    assert days[-1].outcome_ms is None
    assert all(day.target is not None for day in days[:-1])


@pytest.mark.parametrize("cut", [61, 100, 199])
def test_later_prices_change_no_earlier_feature(cut: int) -> None:
    prices = [(day.date, day.price) for day in brent.load_days()[:200]]
    changed = [(date, price if index < cut else price * 3 + 1) for index, (date, price) in enumerate(prices)]
    before, after = brent.days_from(prices), brent.days_from(changed)
    assert [day.features for day in after[:cut]] == [day.features for day in before[:cut]]
    assert after[cut].features != before[cut].features
    # and the outcome of the day before the cut is the first thing to move
    assert [day.target for day in after[: cut - 1]] == [day.target for day in before[: cut - 1]]
    assert after[cut - 1].target != before[cut - 1].target


def test_the_weeks_cover_every_served_day_exactly_once_and_none_is_empty() -> None:
    found: list[brent.Day] = []
    for week in brent.weeks():
        days = brent.days_in(week)
        assert days
        assert all(week * brent.WEEK_MS <= day.event_ms < (week + 1) * brent.WEEK_MS for day in days)
        found += days
    assert tuple(found) == brent.served_days()
    assert (len(found), len(brent.weeks())) == (6_155, 1_267)
    assert all(day.features is not None for day in found)
    assert brent.days_in(brent.weeks().stop) == ()


def test_the_archive_ends_before_serving_begins_outcomes_included() -> None:
    archive, first = brent.archive_days(), brent.served_days()[0]
    assert len(archive) == 1_979
    assert all(day.outcome_ms is not None and day.outcome_ms < first.event_ms for day in archive)
    assert not {day.prediction_id for day in archive} & {day.prediction_id for day in brent.served_days()}


def test_the_archive_is_the_same_file_every_time(tmp_path: Path) -> None:
    digests = {brent.write_archive(tmp_path / name) for name in ("a.parquet", "b.parquet")}
    assert digests == {hashlib.sha256((tmp_path / "a.parquet").read_bytes()).hexdigest()}
    table = pq.read_table(tmp_path / "b.parquet")
    features = [f"feature.{name}" for name in brent.FEATURES]
    assert table.column_names == ["prediction_id", "occurred_at_ms", "actual", *features]
    last = brent.archive_days()[-1]
    row = table.slice(len(table) - 1).to_pylist()[0]
    assert (row["prediction_id"], row["occurred_at_ms"], row["actual"]) == (
        last.prediction_id,
        last.event_ms,
        last.target,
    )
    assert {name: row[f"feature.{name}"] for name in brent.FEATURES} == last.features


def test_loading_the_days_does_not_import_river() -> None:
    code = "import sys, brent; brent.load_days(); print(sorted(sys.modules.keys() & {'river', 'pandas'}))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=EXAMPLES, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_the_annotators_change_points_fall_on_the_tenth_rows_that_they_saw() -> None:
    by_annotator = brent.change_points_by_annotator()
    assert len(by_annotator) == 5
    dates = {day.event_ms: day.date for day in brent.load_days()}
    # index 227 and 381 of the rows they saw: the fall of 2008 and that of 2014 to 2015
    assert [dates[at_ms] for at_ms in by_annotator["8"]] == [dt.date(2008, 11, 19), dt.date(2015, 1, 12)]
    union = brent.change_points()
    assert union == tuple(sorted({at_ms for found in by_annotator.values() for at_ms in found}))
    assert len(union) == 26
