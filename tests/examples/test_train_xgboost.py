"""The example's training command: same files in, same predictions out; bad input is one line, exit code 2."""

import hashlib
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from consumers.services.training_files import read_output, write_input
from domain.retraining.history import LabelledRow
from domain.retraining.policy import SAFE_FORMATS
from examples import train_xgboost

SCRIPT = Path(train_xgboost.__file__)
SMALL = {"rounds": 5}


def row(i: int, **other: Any) -> LabelledRow:
    features = {"price": 20.0 + i % 7, "mean_5": 0.1 * (i % 5)}
    values = {
        "prediction_id": f"p{i}",
        "occurred_at_ms": 1_000 * i,
        "horizon_s": 1,
        "features": features,
        "actual": 0.5 * (i % 5) + 0.01 * i,
        **other,
    }
    return LabelledRow(**values)


ROWS = [row(i) for i in range(80)]
TRAIN, HOLDOUT = ROWS[:60], ROWS[60:]


def job_in(
    folder: Path,
    train: list[LabelledRow] = TRAIN,
    holdout: list[LabelledRow] = HOLDOUT,
    **params: Any,
) -> Path:
    job = {"job_id": "j", "model": "m", "as_of_ms": 1, "champion": None, "task": "float", "seed": 7}
    write_input(folder, train, holdout, {**job, "params": SMALL | params})
    return folder


def archive_in(folder: Path, rows: list[LabelledRow]) -> dict[str, Any]:
    """The params that name an archive of `rows`."""
    write_input(folder / "made", rows, [], {})
    path = folder / "archive.parquet"
    shutil.move(folder / "made" / "train.parquet", path)
    return {"archive": str(path), "archive_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def answers(folder: Path) -> tuple[float, ...]:
    return read_output(folder, HOLDOUT, SAFE_FORMATS).holdout_predictions


def metrics(folder: Path) -> dict[str, float]:
    return dict(read_output(folder, HOLDOUT, SAFE_FORMATS).metrics)


def refusal(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that the command complains with."""
    assert train_xgboost.main([str(folder)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert err.startswith("train_xgboost: ")
    return err


def test_the_command_writes_what_the_service_reads_and_the_same_twice(tmp_path: Path) -> None:
    folders = [job_in(tmp_path / "a", rounds=100), job_in(tmp_path / "b", rounds=100)]
    run = subprocess.run(
        [sys.executable, str(SCRIPT), str(folders[0])], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert train_xgboost.main([str(folders[1])]) == 0
    first, second = (read_output(folder, HOLDOUT, SAFE_FORMATS) for folder in folders)
    assert first.holdout_predictions == second.holdout_predictions
    assert first.metrics == second.metrics
    assert [path.name for path in first.files] == ["features.json", "model.ubj"]
    for name in first.files:
        assert (first.model_folder / name).read_bytes() == (second.model_folder / name).read_bytes()
    assert json.loads((first.model_folder / "features.json").read_text()) == [
        "mean_5",
        "price",
    ]
    # it has learned something: an answer of the training mean is off by more
    actual = [each.actual for each in HOLDOUT if not isinstance(each.actual, str)]
    mean = sum(float(each.actual) for each in TRAIN) / len(TRAIN)
    error = sum(abs(p - a) for p, a in zip(first.holdout_predictions, actual, strict=True)) / len(actual)
    assert error < 0.5 < sum(abs(mean - a) for a in actual) / len(actual)


def test_the_archive_is_put_before_the_logged_rows(tmp_path: Path) -> None:
    params = archive_in(tmp_path, TRAIN[:40])
    split, whole = job_in(tmp_path / "split", TRAIN[40:], **params), job_in(tmp_path / "whole")
    assert [train_xgboost.main([str(folder)]) for folder in (split, whole)] == [0, 0]
    assert answers(split) == answers(whole)
    assert metrics(split) == {**metrics(whole), "archive_rows": 40.0}


def test_an_archive_alone_is_enough(tmp_path: Path) -> None:
    alone = job_in(tmp_path / "alone", [], **archive_in(tmp_path, TRAIN))
    whole = job_in(tmp_path / "whole")
    assert [train_xgboost.main([str(folder)]) for folder in (alone, whole)] == [0, 0]
    assert answers(alone) == answers(whole)


def test_archived_rows_that_the_job_brings_itself_are_not_learned_twice_nor_from_the_holdout(
    tmp_path: Path,
) -> None:
    params = archive_in(tmp_path, ROWS)
    both, whole = job_in(tmp_path / "both", **params), job_in(tmp_path / "whole")
    assert [train_xgboost.main([str(folder)]) for folder in (both, whole)] == [0, 0]
    assert answers(both) == answers(whole)
    assert metrics(both)["archive_rows"] == 0


def test_a_relative_archive_is_looked_for_from_the_job_folder(tmp_path: Path) -> None:
    params = archive_in(tmp_path, TRAIN) | {"archive": "../archive.parquet"}
    assert train_xgboost.main([str(job_in(tmp_path / "job", [], **params))]) == 0


def test_an_absent_feature_is_missing_and_no_error(tmp_path: Path) -> None:
    rows = [row(i, features={"price": None if i % 3 else 20.0, "mean_5": 0.1}) for i in range(60)]
    folder = job_in(tmp_path / "job", rows)
    assert train_xgboost.main([str(folder)]) == 0
    assert all(math.isfinite(answer) for answer in answers(folder))


@pytest.mark.parametrize(
    "params, problem",
    [
        ({"rounds": 0}, "params.rounds must be a whole number between 1 and"),
        ({"rounds": 1.5}, "params.rounds must be a whole number"),
        ({"max_depth": True}, "params.max_depth must be a whole number"),
        ({"eta": "fast"}, "params.eta must be a number between 0 and 1"),
        ({"eta": None}, "params.eta"),
        ({"tree_method": "gpu"}, "params.tree_method: not a setting"),
        ({"archive": "a.parquet"}, "archive and archive_sha256 belong together"),
        ({"archive_sha256": "00"}, "archive and archive_sha256 belong together"),
        ({"archive": "no.parquet", "archive_sha256": "00"}, "no.parquet cannot be read: No such file"),
        ({"archive": "a\0b", "archive_sha256": "00"}, "cannot be read: embedded null byte"),
        ({"archive": "job.json", "archive_sha256": "00"}, "the archive job.json has SHA-256"),
    ],
)
def test_a_wrong_parameter_is_named(
    params: dict[str, Any], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert problem in refusal(job_in(tmp_path / "job", **params), capsys)


@pytest.mark.parametrize(
    "content, problem",
    [
        (b"{", "job.json is not JSON"),
        (b"[" * 100_000, "job.json is not JSON"),
        (b"\xff\xfe\x00", "job.json is not JSON"),
        (b"[]", "job.json: train is missing"),
        (b'{"train": 3}', "job.json: train is missing or of the wrong type"),
    ],
)
def test_a_broken_job_file_is_refused(
    content: bytes, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = job_in(tmp_path / "job")
    (folder / "job.json").write_bytes(content)
    assert problem in refusal(folder, capsys)


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"features": []}, "features are none"),
        ({"features": ["price"]}, "an object with name and kind"),
        ({"features": [{"name": "price", "kind": "numeric"}] * 2}, "one is named twice"),
        ({"features": [{"name": "volume", "kind": "numeric"}]}, "train.parquet cannot be used"),
        ({"features": [{"name": "side", "kind": "categorical"}]}, "feature side is not numeric"),
        ({"params": [1]}, "params is missing or of the wrong type"),
        ({"seed": -1}, "seed must be"),
        ({"train": "../none.parquet"}, "../none.parquet cannot be read"),
        ({"eta": math.nan, "params": {"eta": math.nan}}, "params.eta must be a number"),
        ({"params": {"eta": 10**400}}, "params.eta must be a number"),
    ],
)
def test_a_job_that_asks_for_nonsense_is_refused(
    changes: dict[str, Any], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = job_in(tmp_path / "job")
    job = json.loads((folder / "job.json").read_text())
    (folder / "job.json").write_text(json.dumps(job | changes))
    assert problem in refusal(folder, capsys)


def truncate(table: pa.Table, path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def infinite(table: pa.Table, path: Path) -> None:
    put(table, path, "feature.price", pa.array([math.inf] * len(table)))


def unknown_outcome(table: pa.Table, path: Path) -> None:
    put(table, path, "actual", pa.array([None] * len(table), pa.float64()))


def words(table: pa.Table, path: Path) -> None:
    put(table, path, "feature.price", pa.array(["cheap"] * len(table)))


def one_id(table: pa.Table, path: Path) -> None:
    put(table, path, "prediction_id", pa.array(["p1"] * len(table)))


def put(table: pa.Table, path: Path, name: str, values: pa.Array) -> None:
    pq.write_table(table.set_column(table.column_names.index(name), name, values), path)


@pytest.mark.parametrize(
    "spoil, problem",
    [
        (truncate, "train.parquet cannot be used"),
        (infinite, "a number is not finite"),
        (unknown_outcome, "an outcome is missing"),
        (words, "train.parquet cannot be used"),
        (one_id, "another one in every row"),
    ],
)
def test_a_spoiled_training_file_is_refused(
    spoil: Callable[[pa.Table, Path], None],
    problem: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = job_in(tmp_path / "job")
    path = folder / "train.parquet"
    spoil(pq.read_table(path), path)
    assert problem in refusal(folder, capsys)
    assert list((folder / "output" / "model").iterdir()) == []


def test_no_rows_at_all_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there are no rows to train on" in refusal(job_in(tmp_path / "job", []), capsys)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "job.json cannot be read: No such file" in refusal(tmp_path / "none", capsys)


@pytest.mark.parametrize("arguments", [[], ["a", "b"]])
def test_other_arguments_get_the_usage_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert train_xgboost.main(arguments) == 2
    assert capsys.readouterr().err == "usage: python train_xgboost.py JOB_DIR\n"
