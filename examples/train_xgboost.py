"""Trains a small gradient-boosted regression: `python train_xgboost.py JOB_DIR`. Copy it and make it yours.

Reads what the service wrote to JOB_DIR (`job.json`, `train.parquet`, `holdout.parquet`) and leaves there
`output/model/model.ubj`, `output/model/features.json`, `output/metrics.json` and
`output/holdout_predictions.parquet`. The same files in give the same predictions out, bit by bit.

`params` of the model's policy may hold the names in `SETTINGS`, and may name an archive of rows from before
the log began: `archive` (a Parquet file, relative to JOB_DIR or absolute) with its `archive_sha256`.
Bad input: one line on standard error, exit code 2.
"""

import hashlib
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xgboost as xgb

SETTINGS: dict[str, tuple[float, float, float]] = {
    "eta": (0.05, 0.0, 1.0),
    "max_bin": (256, 2, 4096),
    "max_depth": (2, 1, 32),
    "min_child_weight": (1.0, 0.0, 1e6),
    "reg_lambda": (1.0, 0.0, 1e6),
    "rounds": (100, 1, 100_000),
}
"""Name -> default, smallest and largest value; a whole number where the default is one."""


class BadInput(Exception):
    """Something in the job folder cannot be used; the message says what."""


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python train_xgboost.py JOB_DIR", file=sys.stderr)
        return 2
    try:
        train(Path(arguments[0]))
    except (BadInput, OSError) as error:
        print(f"train_xgboost: {' '.join(str(error).split())[:500]}", file=sys.stderr)
        return 2
    return 0


def train(folder: Path) -> None:
    """Does one job. Raises BadInput, OSError."""
    job = read_job(folder)
    names = feature_names(job)
    logged = read_rows(content_of(folder, job["train"]), job["train"], names)
    holdout = read_rows(content_of(folder, job["holdout"]), job["holdout"], names, outcomes=False)
    known = pa.concat_tables([*archived(folder, job["params"], names, logged, holdout), logged])
    if not known.num_rows:
        raise BadInput("there are no rows to train on")
    model = fit(known, names, settings(job["params"]), job["seed"])
    errors = np.abs(predict(model, known, names) - known["actual"].to_numpy())
    metrics = {
        "archive_rows": known.num_rows - logged.num_rows,
        "train_mae": float(np.mean(errors)),
        "train_rows": known.num_rows,
    }
    write_output(folder / job["output"], model, names, metrics, holdout)


def fit(rows: pa.Table, names: list[str], settings: Mapping[str, float], seed: int) -> xgb.Booster:
    trees = {name: value for name, value in settings.items() if name != "rounds"}
    fixed = {
        "objective": "reg:absoluteerror",
        "tree_method": "hist",
        "nthread": 1,  # the order of additions, and with it the last bit, depends on the number of threads
        "seed": seed,
        "verbosity": 0,
    }
    data = xgb.DMatrix(matrix(rows, names), rows["actual"].to_numpy(), feature_names=names, nthread=1)
    try:
        return xgb.train(trees | fixed, data, int(settings["rounds"]))
    except xgb.core.XGBoostError as error:
        raise BadInput(f"xgboost refuses: {str(error).strip().splitlines()[0]}") from error


def predict(model: xgb.Booster, rows: pa.Table, names: list[str]) -> npt.NDArray[np.float64]:
    if not rows.num_rows:
        return np.empty(0)
    data = xgb.DMatrix(matrix(rows, names), feature_names=names, nthread=1)
    return np.asarray(model.predict(data), dtype=np.float64)


def matrix(rows: pa.Table, names: list[str]) -> npt.NDArray[np.float64]:
    """Feature `x` is the column `feature.x`; a null becomes NaN, which the trees understand as absent."""
    return np.column_stack([rows[f"feature.{name}"].to_numpy() for name in names])


def write_output(
    output: Path, model: xgb.Booster, names: list[str], metrics: Mapping[str, float], holdout: pa.Table
) -> None:
    (output / "model").mkdir(parents=True, exist_ok=True)
    model.save_model(output / "model" / "model.ubj")
    (output / "model" / "features.json").write_text(json.dumps(names))
    (output / "metrics.json").write_text(json.dumps(metrics))
    answers = pa.table(
        {"prediction_id": holdout["prediction_id"], "prediction": predict(model, holdout, names)}
    )
    pq.write_table(answers, output / "holdout_predictions.parquet")


def read_job(folder: Path) -> dict[str, Any]:
    try:
        job = json.loads(content_of(folder, "job.json"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"job.json is not JSON: {error}") from error
    kinds = {"train": str, "holdout": str, "output": str, "params": dict, "features": list, "seed": int}
    for name, kind in kinds.items():
        if not isinstance(job, dict) or not isinstance(job.get(name), kind):
            raise BadInput(f"job.json: {name} is missing or of the wrong type")
    if not 0 <= job["seed"] < 2**31:
        raise BadInput("job.json: seed must be a whole number from 0 to 2147483647")
    return dict(job)


def feature_names(job: Mapping[str, Any]) -> list[str]:
    """Sorted; this trainer knows numbers only."""
    names = []
    for feature in job["features"]:
        if not isinstance(feature, dict) or not isinstance(feature.get("name"), str):
            raise BadInput("job.json: each of features must be an object with name and kind")
        if feature.get("kind") != "numeric":
            raise BadInput(f"feature {feature['name']} is not numeric; this trainer knows numbers only")
        names.append(feature["name"])
    if not names or len(set(names)) < len(names):
        raise BadInput("job.json: features are none, or one is named twice")
    return sorted(names)


def settings(params: Mapping[str, Any]) -> dict[str, float]:
    unknown = sorted(params.keys() - SETTINGS.keys() - {"archive", "archive_sha256"})
    if unknown:
        raise BadInput(f"params.{unknown[0]}: not a setting of this trainer")
    chosen = {}
    for name, (default, low, high) in SETTINGS.items():
        value = params.get(name, default)
        kind = int if isinstance(default, int) else (int, float)
        if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
            whole = "whole " if kind is int else ""
            raise BadInput(f"params.{name} must be a {whole}number between {low:g} and {high:g}")
        chosen[name] = value
    return chosen


def archived(
    folder: Path, params: Mapping[str, Any], names: list[str], logged: pa.Table, holdout: pa.Table
) -> list[pa.Table]:
    """The archive's rows that are not in the job's own files; checked before anything in it is believed."""
    path, expected = params.get("archive"), params.get("archive_sha256")
    if path is None and expected is None:
        return []
    if not isinstance(path, str) or not isinstance(expected, str):
        raise BadInput("params: archive and archive_sha256 belong together, both strings")
    content = content_of(folder, path)
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise BadInput(f"the archive {path} has SHA-256 {found}, not {expected}")
    rows = read_rows(content, path, names)
    own = pa.concat_tables([logged.select(["prediction_id"]), holdout.select(["prediction_id"])])
    known = pc.is_in(rows["prediction_id"], value_set=own["prediction_id"].combine_chunks())
    return [rows.filter(pc.invert(known))]


def content_of(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadInput(f"{name} cannot be read: {reason}") from error


def read_rows(content: bytes, label: str, names: list[str], *, outcomes: bool = True) -> pa.Table:
    """Columns prediction_id, features, actual; no actual in the holdout: a trainer must not grade itself."""
    kinds = {"prediction_id": pa.string(), **{f"feature.{name}": pa.float64() for name in names}}
    if outcomes:
        kinds["actual"] = pa.float64()
    try:
        rows = pq.read_table(io.BytesIO(content), columns=list(kinds)).select(list(kinds))
        rows = rows.cast(pa.schema(kinds))
    except (pa.ArrowException, KeyError) as error:
        raise BadInput(f"{label} cannot be used: {error}") from error
    ids = rows["prediction_id"]
    if ids.null_count or pc.count_distinct(ids).as_py() < len(ids):
        raise BadInput(f"{label}: prediction_id must be given, and another one in every row")
    if np.isinf(matrix(rows, names)).any() or (outcomes and not np.isfinite(rows["actual"].to_numpy()).all()):
        raise BadInput(f"{label}: an outcome is missing, or a number is not finite")
    return rows


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
