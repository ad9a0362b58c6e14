"""`lifecycle drift bench` from its command line."""

import json
from pathlib import Path

from tests.cli.commands import lifecycle


def test_one_cell_as_json_and_as_pages(tmp_path: Path) -> None:
    words = ("--stream", "mean+1", "--detector", "e-sr", "--quick", "--jobs", "1")
    said = lifecycle(
        "drift",
        "bench",
        *words,
        "--json",
        "--write",
        str(tmp_path / "b.md"),
        "--page",
        str(tmp_path / "b.html"),
    )
    assert (said.code, said.err) == (0, "")
    told = json.loads(said.out)
    assert [(each["stream"], each["detector"], each["median"]) for each in told["delays"]] == [
        ("mean+1", "e-sr", 1.0)
    ]
    page = (tmp_path / "b.md").read_text(encoding="utf-8")
    assert "`lifecycle drift bench --stream mean+1 --detector e-sr --quick --seed 1`" in page
    assert "| mean+1 | 1 |" in page
    assert (tmp_path / "b.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_table_says_what_was_measured() -> None:
    said = lifecycle("drift", "bench", "--stream", "zipf", "--detector", "roll-up", "--quick", "--jobs", "1")
    assert said.code == 0
    assert "false alarms per 10,000 windows" in said.out
    assert "zipf" in said.out


def test_names_that_there_are_not_are_refused_with_those_there_are() -> None:
    said = lifecycle("drift", "bench", "--stream", "no-such")
    assert said.code == 2
    assert "--stream 'no-such' is none of normal, t3, ar1" in said.err
    said = lifecycle("drift", "bench", "--detector", "no-such")
    assert "--detector 'no-such' is none of roll-up" in said.err
    said = lifecycle("drift", "bench", "--stream", "error-0.10", "--detector", "roll-up")
    assert said.code == 2
    assert "watches" in said.err
