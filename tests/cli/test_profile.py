"""Profiles on the command line: built from files, learned from the log, shown, compared, refused."""

import asyncio
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from consumers.bootstrap import System, open_system
from consumers.cli.faults import UNAVAILABLE, USAGE, WRONG
from consumers.settings import load_settings
from schemas.clock import to_ms
from schemas.events import OutcomeObserved, PredictionMade
from schemas.outgoing import heartbeat, record_of
from tests.cli.commands import lifecycle

BY = ("--actor", "ada", "--reason", "because")
START = datetime(2026, 11, 2, tzinfo=UTC)
EACH = 30
"""Predictions a window."""


@pytest.fixture(autouse=True)
def _no_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is that of the test's records."""
    monkeypatch.setenv("LIFECYCLE_HEARTBEATS", "false")


@pytest.fixture(scope="module")
def served_template(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 2 of brent, without a profile, has served 60 windows of a minute; they are closed."""
    home = Path(shutil.copytree(template, tmp_path_factory.mktemp("served") / "home"))
    asyncio.run(_serve(home, 0, 60))
    return home


@pytest.fixture
def served(served_template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(served_template, tmp_path / "served"))


async def _serve(home: Path, first: int, last: int, shift: float = 0.0) -> None:
    """Windows `first` to `last` (not included), read by a tally worker."""
    system = await open_system(load_settings(home))
    try:
        r = np.random.default_rng(first)
        events: list[PredictionMade | OutcomeObserved] = []
        for number in range(first * EACH, last * EACH):
            at = START + timedelta(seconds=number * 60 / EACH)
            x = float(r.normal()) + shift
            events.append(
                PredictionMade(
                    occurred_at=at,
                    prediction_id=f"p{number}",
                    model="brent",
                    version="2",
                    prediction=x,
                    features={"x": x, "side": "buy" if r.random() < 0.5 else "sell"},
                    horizon_s=1,
                )
            )
            events.append(
                OutcomeObserved(
                    occurred_at=at + timedelta(seconds=1),
                    prediction_id=f"p{number}",
                    actual=x + float(r.normal()),
                    values={},
                )
            )
        await system.log.append([record_of(event, system.topics, source="test") for event in events])
        await _close(system, to_ms(START) + last * 60_000 + 120_000)
    finally:
        await system.close()


async def _close(system: System, at_ms: int) -> None:
    await system.log.append(
        [
            heartbeat(topic, partition, at_ms)
            for topic in (system.topics.predictions, system.topics.outcomes)
            for partition in range(system.settings.partitions)
        ]
    )
    worker = await system.tally()
    while await worker.step():
        pass
    await worker.close()


def training_file(folder: Path, *, shift: float = 0.0) -> Path:
    """Three days of a feature with a day's season, a category, probabilities and labels."""
    r = np.random.default_rng(2)
    lines = ["at,x,side,prediction,actual"]
    for minute in range(3 * 1_440):
        at = START + timedelta(minutes=minute)
        x = float(r.normal()) + 2 * (at.hour >= 12) + shift
        p = 1 / (1 + float(np.exp(-x)))
        lines.append(f"{at.isoformat()},{x:.6f},{'buy' if x > 1 else 'sell'},{p:.6f},{int(r.random() < p)}")
    path = folder / "train.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_profile_is_built_shown_and_compared(home: Path, tmp_path: Path) -> None:
    train, file = training_file(tmp_path), tmp_path / "profile.json"
    how = ("--time", "at", "--season", "day", "--slots", "4", "--task", "probability")
    built = lifecycle("profile", "build", "--from", train, *how, "--out", file)
    assert (built.code, built.err) == (0, "")
    assert "calibrated with" in built.out
    assert "4,320 rows, 4,320 with an outcome\n2026-11-02 to 2026-11-04T23:59:00Z, 3.0 seasons" in built.out
    assert all(len(line) <= 80 for line in built.out.splitlines() if str(file) not in line)
    told = lifecycle("profile", "build", "--from", train, *how, "--json").document
    assert told["season"] == {"period_ms": 86_400_000, "slots": 4}
    assert set(told["errors"]) == {"brier", "hit", "log_loss"}

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.txt").write_text("a model of probabilities")
    order = ("registry", "register", "up", "--artifact", tmp_path / "model", "--task", "probability", *BY)
    assert lifecycle(*order, "--profile", file, "--home", home).code == 0
    shown = lifecycle("profile", "show", "up", "1", "--home", home)
    assert all(len(line) <= 80 for line in shown.out.splitlines())
    assert "4 slots" in shown.out
    document = lifecycle("profile", "show", "up", "1", "--home", home, "--json").document
    assert document["features"] == told["features"]
    assert document["calibration"] == told["calibration"]

    (tmp_path / "model" / "model.txt").write_text("another")
    moved = training_file(tmp_path, shift=0.5)
    again = ("--reference", moved, "--time", "at", "--season", "day", "--slots", "4")
    assert lifecycle(*order, *again, "--home", home).code == 0
    page = tmp_path / "pages" / "compared.html"
    compared = lifecycle("profile", "compare", "up", "2", "1", "--out", page, "--home", home)
    assert (compared.code, compared.err) == (0, "")
    assert all(len(line) <= 80 for line in compared.out.splitlines() if str(page) not in line)
    assert "<svg" in page.read_text()
    sizes = lifecycle("profile", "compare", "up", "2", "1", "--home", home, "--json").document
    by_name = {each["name"]: each for each in sizes["features"]}
    assert by_name["x"]["effect_sizes"]["wasserstein_per_sd"] == pytest.approx(0.35, abs=0.05)
    assert by_name["x"]["estimated"]
    same = lifecycle("profile", "compare", "up", "1", "1", "--home", home, "--json").document
    assert all(each["effect_sizes"]["psi"] == 0 for each in same["features"])


def test_a_profile_is_learned_counts_later_and_is_compared_with_windows(served: Path) -> None:
    dry = lifecycle("profile", "learn", "brent", "2", "--windows", "55", "--dry-run", "--home", served)
    assert (dry.code, dry.err) == (0, "")
    assert f"{55 * EACH:,} predictions in 55 windows, {55 * EACH:,} with an outcome" in dry.out
    assert "nothing is attached" in dry.out
    told = lifecycle("profile", "learn", "brent", "2", "--windows", "55", "--home", served, "--json").document
    assert told["effective_from"] == "2026-11-02T01:01:00Z"
    assert told["profile"]["features"].keys() == {"x", "side"}
    stretch = ("--from", told["from"], "--to", told["to"])
    again = lifecycle("profile", "learn", "brent", "2", *stretch, "--home", served)
    assert "version 2 of brent has a reference profile already" in again.refuses(WRONG)

    asyncio.run(_serve(served, 64, 74, shift=1.0))
    minutes = [(START + timedelta(minutes=minute)).isoformat() for minute in (64, 74)]
    compared = lifecycle(
        "profile", "compare", "brent", "2", "--windows", *minutes, "--home", served, "--json"
    ).document
    assert compared["windows"] == 10
    by_name = {each["name"]: each["effect_sizes"] for each in compared["features"]}
    assert by_name["x"]["wasserstein_per_sd"] == pytest.approx(1.0, abs=0.2)
    assert by_name["side"]["psi"] < 0.1 < by_name["x"]["psi"]
    early = lifecycle(
        "profile", "compare", "brent", "2", "--windows", "2026-11-02", "2026-11-02T01:00Z", "--home", served
    )
    assert "no closed window there that its reference profile counts for" in early.refuses(WRONG)


def test_a_profile_is_attached_once(home: Path, tmp_path: Path) -> None:
    train, file = training_file(tmp_path), tmp_path / "profile.json"
    lifecycle("profile", "build", "--from", train, "--time", "at", "--out", file)
    said = lifecycle("profile", "attach", "brent", "3", file, "--home", home)
    assert said.code == 0
    assert "version 3 of brent has a profile from" in said.out
    again = lifecycle("profile", "attach", "brent", "3", file, "--home", home)
    assert "version 3 of brent has a reference profile already" in again.refuses(WRONG)
    lifecycle("profile", "build", "--from", train, "--task", "probability", "--out", file)
    other = lifecycle("profile", "attach", "brent", "2", file, "--home", home)
    assert (
        "brent is a model of task regression; the reference profile is of task probability"
        in other.refuses(WRONG)
    )


@pytest.mark.parametrize(
    "arguments, code, says",
    [
        (("show", "brent", "9"), WRONG, "there is no version 9 of brent"),
        (("show", "brent", "2"), WRONG, "version 2 of brent has no reference profile"),
        (("compare", "brent", "2"), USAGE, "say what with"),
        (("compare", "brent", "2", "3", "--windows", "2026-11-02", "2026-11-03"), USAGE, "say what with"),
        (("compare", "brent", "2", "--windows", "2026-11-03", "2026-11-02"), USAGE, "FROM must be before TO"),
        (("compare", "brent", "2", "--windows", "soon", "2026-11-02"), USAGE, "'soon' is not an ISO 8601"),
        (("compare", "brent", "2", "3", "--tolerance", "-1"), USAGE, "-1.0 is not in the range"),
        (("learn", "brent", "2"), USAGE, "say which stretch"),
        (("learn", "brent", "2", "--from", "2026-11-02"), USAGE, "say which stretch"),
        (("learn", "brent", "2", "--windows", "49"), WRONG, "49 windows are too few: phi"),
        (("learn", "brent", "2", "--windows", "61"), WRONG, "served in 60 closed windows of the stretch; 61"),
        (("learn", "brent", "9", "--windows", "50"), WRONG, "no version 9 of brent"),
        (
            ("learn", "brent", "2", "--from", "2026-11-02", "--to", "2026-11-02T00:10Z"),
            WRONG,
            "served in 10 closed windows of the stretch; 50 are needed",
        ),
        (
            ("learn", "brent", "2", "--from", "2026-11-02", "--to", "2026-11-09"),
            UNAVAILABLE,
            "the stretch is not over yet",
        ),
        (
            ("learn", "brent", "2", "--windows", "50", "--season", "day"),
            WRONG,
            "season slot 1 (01:00:00 into the period) has 0 rows",
        ),
        (("learn", "brent", "2", "--windows", "50", "--slots", "4"), USAGE, "--slots cuts a season"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_order_is_refused_in_one_line(
    served_template: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    assert says in lifecycle("profile", *arguments, "--home", served_template).refuses(code)


@pytest.mark.parametrize(
    "options, says",
    [
        (("--season", "day"), "--season needs --time"),
        (("--time", "at", "--season", "year"), "'year' is not day, week or a number of milliseconds"),
        (("--time", "at", "--season", "60000"), "--season in milliseconds needs --slots"),
        (("--time", "at", "--season", "day", "--slots", "1"), "--season: slots must be 2 to 168, not 1"),
        (("--time", "when"), "has no column when (--time)"),
        (("--time", "x"), "column x, row 1: '"),
        (("--bins", "1"), "1 is not in the range 2<=x<=100"),
    ],
)
def test_a_file_taken_wrongly_is_refused_in_one_line(
    tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    assert says in lifecycle("profile", "build", "--from", training_file(tmp_path), *options).refuses(USAGE)


@pytest.mark.parametrize(
    "text, says",
    [
        ("{", "is not JSON"),
        ("[]", "is not a reference profile: a JSON object was expected"),
        ("{}", "is not a reference profile: missing field 'model'"),
    ],
)
def test_a_file_that_holds_no_profile_is_refused(home: Path, tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "profile.json"
    file.write_text(text)
    said = lifecycle("profile", "attach", "brent", "2", file, "--home", home)
    assert f"{file}: {says}" in said.refuses(USAGE)


def test_a_reference_and_a_profile_at_once_are_refused(home: Path, tmp_path: Path) -> None:
    train = training_file(tmp_path)
    order = ("registry", "register", "brent", "--artifact", tmp_path, *BY, "--home", home)
    said = lifecycle(*order, "--reference", train, "--profile", train)
    assert "give one of them" in said.refuses(USAGE)
