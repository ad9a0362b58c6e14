"""What a training command gets and what it must give back, all of it checked.

In the job folder it finds `job.json`, `train.parquet` and `holdout.parquet`; it writes `output/model/…`,
`output/metrics.json` and `output/holdout_predictions.parquet`. A feature `x` is the column `feature.x`; the
holdout file holds no outcomes, so a command cannot grade itself.
"""

import hashlib
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from domain.retraining.history import HistoryRow, LabelledRow

FEATURE_PREFIX = "feature."
OUTPUT = "output"
_MAX_METRICS = 64
_MAX_NAME = 128

FeatureColumn = list[float | None] | list[str | None]


class TrainingOutputError(Exception):
    """The training command wrote something that cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingInput:
    """The files of one attempt and their digests."""

    folder: Path
    features: Mapping[str, str]
    """Feature -> `numeric` or `categorical`, in column order."""
    train_sha256: str
    holdout_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOutput:
    model_folder: Path
    files: tuple[Path, ...]
    """Relative to the model folder, sorted."""
    metrics: Mapping[str, float]
    holdout_predictions: tuple[float, ...]
    """In the order of the holdout rows."""


def feature_kinds(rows: Sequence[LabelledRow]) -> dict[str, str]:
    """Every feature of `rows`, sorted by name: categorical as soon as one value is a string."""
    kinds: dict[str, str] = {}
    for row in rows:
        for name, value in row.features.items():
            if isinstance(value, str):
                kinds[name] = "categorical"
            else:
                kinds.setdefault(name, "numeric")
    return dict(sorted(kinds.items()))


def feature_column(rows: Sequence[LabelledRow], name: str, kind: str) -> FeatureColumn:
    """One feature over `rows`; an absent feature and null are both None."""
    values = [row.features.get(name) for row in rows]
    if kind == "categorical":
        return [None if value is None else str(value) for value in values]
    return [None if value is None else float(value) for value in values]


def write_input(
    folder: Path, train: Sequence[LabelledRow], holdout: Sequence[LabelledRow], job: Mapping[str, object]
) -> TrainingInput:
    """Makes `folder` anew with the three files; what an earlier attempt left there is removed."""
    if folder.exists():
        shutil.rmtree(folder)
    (folder / OUTPUT / "model").mkdir(parents=True)
    kinds = feature_kinds([*train, *holdout])
    _write_table(folder / "train.parquet", _columns(train, kinds, with_outcomes=True))
    _write_table(folder / "holdout.parquet", _columns(holdout, kinds, with_outcomes=False))
    described = {
        **job,
        "features": [{"name": name, "kind": kind} for name, kind in kinds.items()],
        "feature_prefix": FEATURE_PREFIX,
        "train": "train.parquet",
        "holdout": "holdout.parquet",
        "output": OUTPUT,
    }
    (folder / "job.json").write_bytes(orjson.dumps(described, option=orjson.OPT_SORT_KEYS))
    return TrainingInput(
        folder=folder,
        features=kinds,
        train_sha256=_sha256(folder / "train.parquet"),
        holdout_sha256=_sha256(folder / "holdout.parquet"),
    )


def read_output(folder: Path, holdout: Sequence[LabelledRow], formats: Sequence[str]) -> TrainingOutput:
    """What the command wrote below `folder`, checked. Raises TrainingOutputError saying what is wrong."""
    output = folder / OUTPUT
    return TrainingOutput(
        model_folder=output / "model",
        files=_model_files(output / "model", formats),
        metrics=_metrics(output / "metrics.json"),
        holdout_predictions=_holdout_predictions(output / "holdout_predictions.parquet", holdout),
    )


def _columns(rows: Sequence[LabelledRow], kinds: Mapping[str, str], *, with_outcomes: bool) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "prediction_id": pa.array([row.prediction_id for row in rows], pa.string()),
        "occurred_at_ms": pa.array([row.occurred_at_ms for row in rows], pa.int64()),
        "horizon_s": pa.array([row.horizon_s for row in rows], pa.int64()),
    }
    if with_outcomes:
        served = [row if isinstance(row, HistoryRow) else None for row in rows]
        columns["version"] = pa.array([row and row.version for row in served], pa.string())
        columns["prediction"] = pa.array([row and row.prediction for row in served], pa.float64())
        columns["actual"] = pa.array([row.actual for row in rows], pa.float64())
    for name, kind in kinds.items():
        type_ = pa.float64() if kind == "numeric" else pa.string()
        columns[FEATURE_PREFIX + name] = pa.array(feature_column(rows, name, kind), type_)
    return columns


def _write_table(path: Path, columns: Mapping[str, Any]) -> None:
    pq.write_table(pa.table(columns), path, compression="zstd")


def _model_files(folder: Path, formats: Sequence[str]) -> tuple[Path, ...]:
    found = sorted(path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
    if not found:
        raise TrainingOutputError("output/model holds no file")
    for path in found:
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_file():
            raise TrainingOutputError(f"output/model/{name} is not a plain file")
        if path.suffix not in formats:
            allowed = ", ".join(formats)
            raise TrainingOutputError(f"output/model/{name}: format not allowed (allowed: {allowed})")
    return tuple(path.relative_to(folder) for path in found)


def _metrics(path: Path) -> dict[str, float]:
    try:
        body = orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise TrainingOutputError("output/metrics.json is missing") from error
    except orjson.JSONDecodeError as error:
        raise TrainingOutputError(f"output/metrics.json is not JSON: {error}") from error
    if not isinstance(body, dict) or len(body) > _MAX_METRICS:
        raise TrainingOutputError(f"output/metrics.json must be an object of at most {_MAX_METRICS} numbers")
    for name, value in body.items():
        usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not usable or not 1 <= len(name) <= _MAX_NAME:
            raise TrainingOutputError(f"output/metrics.json: {name[:_MAX_NAME]} is not a finite number")
    return {name: float(value) for name, value in sorted(body.items())}


def _holdout_predictions(path: Path, holdout: Sequence[LabelledRow]) -> tuple[float, ...]:
    name = f"output/{path.name}"
    try:
        table = pq.read_table(path, columns=["prediction_id", "prediction"])
        ids, values = table["prediction_id"].to_pylist(), table["prediction"].to_pylist()
    except FileNotFoundError as error:
        raise TrainingOutputError(f"{name} is missing") from error
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:  # damaged in any way
        raise TrainingOutputError(f"{name} cannot be read: {str(error)[:200]}") from error
    wanted = [row.prediction_id for row in holdout]
    by_id = dict(zip(ids, values, strict=True))
    if len(ids) != len(wanted) or by_id.keys() != set(wanted):
        raise TrainingOutputError(f"{name}: its {len(ids)} ids are not the {len(wanted)} ids of the holdout")
    predictions = [by_id[prediction_id] for prediction_id in wanted]
    for prediction_id, value in zip(wanted, predictions, strict=True):
        usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not usable:
            raise TrainingOutputError(f"{name}: the prediction for {prediction_id} is not a finite number")
    return tuple(float(value) for value in predictions)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
