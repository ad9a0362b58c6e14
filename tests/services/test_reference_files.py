"""Reference files: what they may hold, and what is said about those that cannot be used."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from consumers.services import reference_files
from consumers.services.reference_error import ReferenceUnusable
from consumers.services.reference_files import Shape, profile_from
from domain.errors import InvalidField
from domain.windows.build import build_profile
from domain.windows.rows import canonical
from domain.windows.season import DAY_MS, Season

START = datetime(2026, 1, 1, tzinfo=UTC)


def csv(folder: Path, text: str, name: str = "train.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def parquet(folder: Path, columns: dict[str, Any]) -> Path:
    path = folder / "train.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def test_csv_and_parquet_of_the_same_rows_give_the_same_profile(tmp_path: Path) -> None:
    r = np.random.default_rng(1)
    x = np.round(r.normal(size=400), 6)
    side = r.choice(["buy", "sell"], size=400)
    gaps = [None if number % 7 == 0 else float(number) for number in range(400)]
    lines = [
        f"{a!r},{b},{'' if c is None else c},{d}"
        for a, b, c, d in zip(x.tolist(), side, gaps, r.choice(["true", "false"], size=400), strict=True)
    ]
    from_csv = profile_from(csv(tmp_path, "\n".join(["x,side,gaps,open", *lines]) + "\n"), Shape()).profile
    opened = [line.endswith("true") for line in lines]
    columns = {"feature.x": x, "side": side.tolist(), "gaps": gaps, "open": opened}
    from_parquet = profile_from(parquet(tmp_path, columns), Shape()).profile
    assert canonical(from_csv.to_json()) == canonical(from_parquet.to_json())
    direct = build_profile(
        model="",
        version="",
        task="regression",
        features={"x": x, "side": side.tolist(), "gaps": gaps, "open": opened},
    )
    assert from_csv == direct
    assert {name: each.kind for name, each in direct.features.items()} == {
        "x": "numeric",
        "side": "categorical",
        "gaps": "numeric",
        "open": "numeric",
    }


def test_a_later_block_of_a_csv_file_may_be_unlike_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference_files, "_BLOCK", 1 << 16)
    many = "\n".join(["1,a"] * 30_000)
    path = csv(tmp_path, f"x,c\n{many}\n2.5,b\n")
    built = profile_from(path, Shape())
    assert built.rows == 30_001
    assert built.profile.features["x"].edges == (1.0,)
    assert built.profile.features["c"].categories == ("a", "b")


def test_what_the_decoder_of_the_log_calls_a_category_is_called_so_here(tmp_path: Path) -> None:
    path = csv(tmp_path, "code\n1\n2\n2\n")
    assert profile_from(path, Shape()).profile.features["code"].kind == "numeric"
    text = profile_from(path, Shape(text=("code",))).profile.features["code"]
    assert (text.categories, text.counts) == (("1", "2"), (1, 2, 0, 0))


def test_predictions_and_outcomes_are_promised_clipped_and_left_out_of_the_features(tmp_path: Path) -> None:
    rows = "\n".join(f"{n},{n * 0.5},{'' if n == 3 else n * 0.5 + 1}" for n in range(200))
    built = profile_from(csv(tmp_path, f"x,prediction,actual\n{rows}\n"), Shape())
    assert (built.rows, built.outcomes) == (200, 199)
    assert list(built.profile.features) == ["x"]
    assert built.profile.prediction is not None
    assert built.profile.error_clip == 1.0
    assert built.profile.errors["abs_error_clipped"].mean == 1.0
    skipped = profile_from(tmp_path / "train.csv", Shape(skip=("actual",))).profile
    assert (skipped.errors, skipped.error_clip) == ({}, None)


def test_a_probability_is_calibrated(tmp_path: Path) -> None:
    rows = "\n".join(f"{n},{0.25 if n % 2 else 0.75},{int(n % 8 == 0)}" for n in range(80))
    built = profile_from(csv(tmp_path, f"x,prediction,actual\n{rows}\n"), Shape(task="probability"))
    assert built.profile.calibration is not None
    assert built.profile.calibration.x == (0.25, 0.75)
    assert built.profile.calibration.y == (0.0, 0.25)


def test_labels_promise_hits(tmp_path: Path) -> None:
    path = csv(tmp_path, "x,prediction,actual\n1,up,up\n2,down,up\n3,up,\n")
    built = profile_from(path, Shape(task="label"))
    assert built.profile.errors["hit"].n == 2
    assert built.profile.prediction is not None
    assert built.profile.prediction.categories == ("down", "up")


def minutes(count: int) -> list[datetime]:
    return [START + timedelta(minutes=number) for number in range(count)]


@pytest.mark.parametrize(
    "write",
    [
        lambda moments: [moment.isoformat() for moment in moments],
        lambda moments: [moment.isoformat().replace("+00:00", "Z") for moment in moments],
        lambda moments: [
            moment.astimezone(tz=datetime.fromisoformat("2026-01-01T00:00+05:30").tzinfo).isoformat()
            for moment in moments
        ],
        lambda moments: [int(moment.timestamp() * 1_000) for moment in moments],
    ],
    ids=["offset", "Z", "another zone", "milliseconds"],
)
def test_rows_are_sorted_by_their_times_and_cut_into_seasons(tmp_path: Path, write: Any) -> None:
    moments = minutes(3 * 1_440)
    x = [float(moment.hour >= 12) for moment in moments]
    order = np.random.default_rng(3).permutation(len(x)).tolist()
    times = write(moments)
    rows = "\n".join(f"{times[row]},{x[row]}" for row in order)
    season = Season(period_ms=DAY_MS, slots=2)
    built = profile_from(csv(tmp_path, f"at,x\n{rows}\n"), Shape(time="at", season=season))
    assert built.first_ms == int(START.timestamp() * 1_000)
    assert built.last_ms == built.first_ms + (3 * 1_440 - 1) * 60_000
    assert built.profile.season == season
    assert built.profile.features["x"].seasonal == ((2_160, 0, 0, 0, 0, 0), (0, 0, 2_160, 0, 0, 0))


def test_times_of_parquet_may_have_any_unit(tmp_path: Path) -> None:
    for unit in ("s", "ms", "us", "ns"):
        at = pa.array(minutes(300), pa.timestamp(unit, tz="UTC"))
        built = profile_from(parquet(tmp_path, {"at": at, "x": list(range(300))}), Shape(time="at"))
        assert built.first_ms == int(START.timestamp() * 1_000)
    naive = pa.array([moment.replace(tzinfo=None) for moment in minutes(300)], pa.timestamp("us"))
    path = parquet(tmp_path, {"at": naive, "x": list(range(300))})
    with pytest.raises(ReferenceUnusable, match="column at: times have no time zone; --utc"):
        profile_from(path, Shape(time="at"))
    assert profile_from(path, Shape(time="at", utc=True)).first_ms == int(START.timestamp() * 1_000)


GOOD = "x\n1\n2\n3\n"
LABELS = "x,prediction,actual\n1,0.5,1\n2,0.7,{}\n"


@pytest.mark.parametrize(
    "text, shape, says",
    [
        ("", {}, "is not a readable CSV file"),
        ("x,y\n1,2\n3\n", {}, r"is not a readable CSV file \(CSV parse error: .*Expected 2 columns, got 1"),
        ("x\n", {}, "holds no feature column with rows"),
        ("prediction\n1\n", {}, "holds no feature column with rows"),
        ("x,x\n1,2\n", {}, "has two columns named x"),
        ("x,feature.x\n1,2\n", {}, "has two columns named x"),
        (",y\n1,2\n", {}, "has a column without a name"),
        ("x,y\n1,\n2,\n", {}, "column y has no value in any of 2 rows; leave it out: --skip"),
        ("x\n1\ninf\n", {}, "column x, row 2: numbers must be finite, not inf"),
        ("x\n1\n2\nbuy\n", {}, "column x, row 3: 'buy' is text among numbers; --text x takes all of it"),
        ("x\ntrue\nfalse\n1\n", {}, "column x, row 1: 'true' is text among numbers"),
        (GOOD, {"skip": ("y",)}, r"has no column y \(--skip\)"),
        (GOOD, {"text": ("y",)}, r"has no column y \(--text\)"),
        (GOOD, {"time": "at"}, r"has no column at \(--time\)"),
        ("x,at\n1,soon\n", {"time": "at"}, "column at, row 1: 'soon' is no time; times are ISO 8601"),
        ("x,at\n1,2026-01-01T00:00\n", {"time": "at"}, "row 1: '2026-01-01T00:00' has no time zone; --utc"),
        ("x,at\n1,1767225600\n", {"time": "at"}, "row 1: 1767225600 is not in milliseconds since 1970"),
        ("x,at\n1,2026-01-01Z\n2,\n", {"time": "at"}, "column at, row 2: the time is missing"),
        (LABELS.format("buy"), {}, "column actual, row 2: 'buy' is text among numbers"),
        ("x,prediction\n1,up\n", {}, "column prediction, row 1: must be a number, not 'up'"),
        (LABELS.format("2"), {"task": "probability"}, "column actual, row 2: must be 0 or 1, not 2"),
        (
            "x,prediction\n1,1.5\n",
            {"task": "probability"},
            "column prediction, row 1: must be 0 to 1, not 1.5",
        ),
        (
            "x,at\n1,2026-01-01T00:00Z\n",
            {"time": "at", "season": Season(period_ms=DAY_MS, slots=24)},
            r"season slot 0 \(00:00:00 into the period\) has 1 rows; at least 100 are needed",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_place(
    tmp_path: Path, text: str, shape: dict[str, Any], says: str
) -> None:
    path = csv(tmp_path, text)
    with pytest.raises(ReferenceUnusable, match=says) as refused:
        profile_from(path, Shape(**shape))
    assert str(refused.value).startswith(f"{path}: ")


def test_more_features_than_an_event_may_carry_are_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path, {f"x{number}": [1.0] for number in range(513)})
    with pytest.raises(ReferenceUnusable, match="holds 513 feature columns; at most 512 can be"):
        profile_from(path, Shape())


def test_columns_that_are_neither_number_nor_text_are_refused_by_name(tmp_path: Path) -> None:
    path = parquet(tmp_path, {"x": [1.0], "blob": [b"abc"]})
    with pytest.raises(
        ReferenceUnusable, match="column blob: binary is neither number, text nor truth value"
    ):
        profile_from(path, Shape())
    assert list(profile_from(path, Shape(skip=("blob",))).profile.features) == ["x"]


def test_text_of_parquet_may_be_coded_already(tmp_path: Path) -> None:
    coded = pa.chunked_array(
        [pa.array(["a", "b", None]).dictionary_encode(), pa.array(["c", "a"]).dictionary_encode()]
    )
    reference = profile_from(parquet(tmp_path, {"c": coded}), Shape()).profile.features["c"]
    assert (reference.categories, reference.counts) == (("a", "b", "c"), (2, 1, 1, 1, 0))


def test_rubbish_is_no_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    path.write_bytes(b"PAR1 or not")
    with pytest.raises(ReferenceUnusable, match="is not a readable Parquet file"):
        profile_from(path, Shape())


@pytest.mark.parametrize(
    "fields, says",
    [
        ({"season": Season(period_ms=DAY_MS, slots=2)}, "reference.time must be given with a season"),
        ({"bins": 1}, "reference.bins must be at least 2"),
        ({"window_records": 0}, "reference.window_records must be at least 1"),
    ],
)
def test_a_shape_that_makes_no_sense_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidField, match=says):
        Shape(**fields)
