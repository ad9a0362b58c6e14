"""What a training command gets and gives back: every way of giving it back wrong is named."""

from collections.abc import Callable
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from consumers.services.training_files import TrainingOutputError, read_output, write_input
from domain.retraining.history import HistoryRow
from domain.retraining.policy import SAFE_FORMATS


def row(i: int, **features: float | str | bool | None) -> HistoryRow:
    return HistoryRow(
        prediction_id=f"p{i}",
        occurred_at_ms=i * 1000,
        horizon_s=60,
        version="1",
        prediction=0.5,
        answers={"1": 0.5},
        features=features,
        actual=float(i),
    )


TRAIN = [row(1, x=1.0, side="buy", hot=True), row(2, x=None, side="sell", hot=False), row(3, side="buy")]
HOLDOUT = [row(4, x=2.0, side="buy"), row(5, x=3.0, side="buy")]


def test_the_files_hold_features_by_kind_and_the_holdout_no_outcomes(tmp_path: Path) -> None:
    written = write_input(tmp_path / "job", TRAIN, HOLDOUT, {"seed": 7})
    assert written.features == {"hot": "numeric", "side": "categorical", "x": "numeric"}
    train = pq.read_table(tmp_path / "job" / "train.parquet").to_pydict()
    assert train["feature.x"] == [1.0, None, None]
    assert train["feature.side"] == ["buy", "sell", "buy"]
    assert train["feature.hot"] == [1.0, 0.0, None]
    assert train["actual"] == [1.0, 2.0, 3.0]
    holdout = pq.read_table(tmp_path / "job" / "holdout.parquet")
    assert "actual" not in holdout.column_names
    assert "prediction" not in holdout.column_names
    job = orjson.loads((tmp_path / "job" / "job.json").read_bytes())
    assert job["seed"] == 7
    assert job["features"][0] == {"name": "hot", "kind": "numeric"}


def test_the_same_rows_give_the_same_bytes_and_nothing_of_an_earlier_attempt_stays(tmp_path: Path) -> None:
    first = write_input(tmp_path / "job", TRAIN, HOLDOUT, {})
    (tmp_path / "job" / "output" / "metrics.json").write_text("{}")
    second = write_input(tmp_path / "job", TRAIN, HOLDOUT, {})
    assert (first.train_sha256, first.holdout_sha256) == (second.train_sha256, second.holdout_sha256)
    assert not (tmp_path / "job" / "output" / "metrics.json").exists()


def predictions(folder: Path, ids: list[str], values: list[float | None]) -> None:
    table = pa.table({"prediction_id": ids, "prediction": pa.array(values, pa.float64())})
    pq.write_table(table, folder / "output" / "holdout_predictions.parquet")


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job folder with an output that is as it should be."""
    folder = tmp_path / "job"
    write_input(folder, TRAIN, HOLDOUT, {})
    (folder / "output" / "model" / "model.json").write_text("{}")
    (folder / "output" / "metrics.json").write_text('{"loss": 1}')
    predictions(folder, ["p5", "p4"], [5.0, 4.0])
    return folder


def test_a_sound_output_is_read_in_the_order_of_the_holdout(job: Path) -> None:
    output = read_output(job, HOLDOUT, SAFE_FORMATS)
    assert output.files == (Path("model.json"),)
    assert output.metrics == {"loss": 1.0}
    assert output.holdout_predictions == (4.0, 5.0)


def _replace(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "output" / name).write_text(text)


def _remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "output" / name).unlink()


@pytest.mark.parametrize(
    "spoil,problem",
    [
        (_remove("model/model.json"), "output/model holds no file"),
        (_replace("model/model.pkl", "x"), "model.pkl: format not allowed"),
        (lambda f: (f / "output/model/link.json").symlink_to("/etc/passwd"), "link.json is not a plain file"),
        (_remove("metrics.json"), "metrics.json is missing"),
        (_replace("metrics.json", "{"), "metrics.json is not JSON"),
        (_replace("metrics.json", "[]"), "must be an object"),
        (_replace("metrics.json", '{"a": "b"}'), "a is not a finite number"),
        (_replace("metrics.json", '{"a": true}'), "a is not a finite number"),
        (_remove("holdout_predictions.parquet"), "holdout_predictions.parquet is missing"),
        (_replace("holdout_predictions.parquet", "junk"), "cannot be read"),
        (lambda f: predictions(f, ["p4"], [1.0]), "its 1 ids are not the 2 ids of the holdout"),
        (lambda f: predictions(f, ["p4", "p4"], [1.0, 1.0]), "ids are not the 2 ids"),
        (lambda f: predictions(f, ["p4", "p6"], [1.0, 1.0]), "ids are not the 2 ids"),
        (lambda f: predictions(f, ["p4", "p5"], [1.0, float("nan")]), "for p5 is not a finite number"),
        (lambda f: predictions(f, ["p4", "p5"], [None, 1.0]), "for p4 is not a finite number"),
    ],
)
def test_an_output_that_cannot_be_used_is_refused_by_name(
    job: Path, spoil: Callable[[Path], object], problem: str
) -> None:
    spoil(job)
    with pytest.raises(TrainingOutputError, match=problem):
        read_output(job, HOLDOUT, SAFE_FORMATS)


def test_a_predictions_file_without_its_columns_is_refused(job: Path) -> None:
    pq.write_table(pa.table({"id": ["p4"]}), job / "output" / "holdout_predictions.parquet")
    with pytest.raises(TrainingOutputError, match=r"holdout_predictions\.parquet"):
        read_output(job, HOLDOUT, SAFE_FORMATS)
