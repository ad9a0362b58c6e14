"""`lifecycle prune` on a deployment where nothing is old: what it says, and what it refuses."""

from pathlib import Path

import pytest

from tests.cli.commands import lifecycle


def test_what_would_be_deleted_is_said_in_words_and_as_json(home: Path) -> None:
    said = lifecycle("prune", "--dry-run", "--home", home)
    assert (said.code, said.err) == (0, "")
    assert "would be deleted" in said.out
    told = lifecycle("prune", "--dry-run", "--json", "--home", home).document
    assert told == {
        "dry_run": True,
        "outbox": 0,
        "inbox": 0,
        "window_rows": 0,
        "arrival_rows": 0,
        "tallies_through_ms": None,
        "older_than_days": {"outbox": 30, "inbox": None, "tallies": 90},
    }


def test_each_age_can_be_set_and_each_kind_kept(home: Path) -> None:
    ages = ("--outbox-older-than", "keep", "--inbox-older-than", "keep", "--tallies-older-than", "7")
    told = lifecycle("prune", *ages, "--json", "--home", home).document
    assert told["older_than_days"] == {"outbox": None, "inbox": None, "tallies": 7}


def test_an_inbox_shorter_than_the_log_is_refused(home: Path) -> None:
    line = lifecycle("prune", "--inbox-older-than", "400", "--home", home).refuses(1)
    assert "keeps events for ever" in line


@pytest.mark.parametrize("days", ["0", "-1", "1.5", "soon", "log", "9999999"])
def test_an_age_that_is_none_is_refused(home: Path, days: str) -> None:
    line = lifecycle("prune", f"--outbox-older-than={days}", "--home", home).refuses(2)
    assert f"'{days}' is neither a number of days, at least 1, nor keep" in line
