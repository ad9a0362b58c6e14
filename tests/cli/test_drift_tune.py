"""`lifecycle drift tune`: a table, JSON, a page; wrong settings are named."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from consumers.cli.faults import USAGE, WRONG
from tests.cli.commands import Said, lifecycle
from tests.cli.homes import home_of
from tests.services.deployment import MODEL, drifting_life


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of the embedded engine with a drift in it, judged."""
    return home_of(tmp_path_factory.mktemp("tune"), drifting_life)


def tune(home: Path, *arguments: str | Path) -> Said:
    return lifecycle("drift", "tune", MODEL, *arguments, "--home", home)


def test_a_table_fits_the_terminal_and_json_has_its_numbers(lived: Path) -> None:
    change = ("--set", "drift.features.tolerance_drift=0.1,9")
    said = tune(lived, *change)
    assert (said.code, said.err) == (0, "")
    assert "A: drift.features.tolerance_drift=0.1\n" in said.out
    assert max(map(len, said.out.splitlines())) <= 80
    document = tune(lived, *change, "--json").document
    assert document["recomputed_agrees"] is True
    assert [each["setting"] for each in document["settings"]] == ["A", "B"]
    real, (same, tolerant) = document["real"], document["settings"]
    assert same["episodes"] == real["episodes"] != []
    assert same["beside_real"]["median_later_ms"] == 0
    assert tolerant["by_drift_type"]["DATA_DRIFT"]["drift"] == 0
    assert tolerant["policy"]["drift"]["features"]["tolerance_drift"] == 9
    rows = {line.split()[0]: line.split() for line in said.out.splitlines() if line.strip()}
    assert rows["real"][1] == str(real["all"]["opened"])


def test_a_document_and_a_page(lived: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "mine.json", tmp_path / "new" / "tune.html"
    file.write_text('{"drift": {"features": null}}')
    said = tune(lived, file, "--out", out)
    assert said.code == 0, said.err
    assert "A: mine.json\n" in said.out
    assert f"{out}: the timelines as a picture" in said.out
    assert "<svg" in out.read_text("utf-8")


def test_decisions_that_the_rows_do_not_lead_to_are_exit_code_1(lived: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(lived, tmp_path / "home"))
    connection = sqlite3.connect(home / "store.sqlite")
    with connection:
        connection.execute("DELETE FROM decisions WHERE kind = 'retrain'")
    connection.close()
    said = tune(home, "--set", "drift.errors.delta=0.1")
    assert said.code == WRONG
    assert "NOT those that the rows lead to; the first is retrain 1 at" in said.err
    assert tune(home, "--set", "drift.errors.delta=0.1", "--json").code == WRONG


@pytest.mark.parametrize(
    "arguments,code,says",
    [
        ((), USAGE, "what is to be tried? --set drift.PART.FIELD=VALUE"),
        (("--set", "drift.features.tolerance_drift=x"), USAGE, "policy.drift.features.tolerance_drift"),
        (("--set", "drift.features.bins=5"), USAGE, "frozen in the reference profile"),
        (("--set", "drift.errors.delta=0.1", "--from", "2"), USAGE, "--from '2' is not an ISO 8601 date"),
        (
            ("--set", "drift.errors.delta=0.1", "--from", "1970-01-02", "--to", "1970-01-01"),
            USAGE,
            "--from must be before --to",
        ),
    ],
)
def test_what_cannot_be_tried_is_refused(
    lived: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    assert says in tune(lived, *arguments).refuses(code)


def test_a_model_without_rows_is_refused(lived: Path) -> None:
    said = lifecycle("drift", "tune", "other", "--set", "drift.errors.delta=0.1", "--home", lived)
    assert "other has no judged window rows" in said.refuses(WRONG)
