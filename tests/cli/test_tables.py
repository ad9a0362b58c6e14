"""What commands print: tables that fit the terminal, JSON that parses, and the two saying the same."""

import asyncio
import re
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from consumers.cli.output import print_fields, print_table
from lifecycle_sdk import EmbeddedPublisher, OutcomeObserved
from schemas.logfile import LogFile
from schemas.logrecords import NewRecord
from tests.cli.commands import all_commands, lifecycle

TABLES = (
    ("status",),
    ("reconcile",),
    ("replay",),
    ("registry", "list"),
    ("registry", "history", "brent"),
    ("registry", "show", "brent", "1"),
    ("registry", "at", "brent", "--time", "2020-01-01"),
    ("experiment", "list"),
    ("experiment", "budget"),
    ("retraining", "list"),
    ("decision", "list"),
    ("drift", "list"),
    ("drift", "mutes"),
    ("drift", "budget"),
    ("dead-letter", "list"),
    ("topics", "skipped"),
)
ORDERS = {
    ("init",),
    ("run",),
    ("policy", "set"),
    ("registry", "restore"),
    ("registry", "freeze"),
    ("experiment", "cancel"),
    ("experiment", "pause"),
    ("experiment", "ramp"),
    ("experiment", "resume"),
    ("experiment", "start"),
    ("experiment", "stop"),
    ("retraining", "request"),
    ("topics", "create"),
    ("topics", "skip"),
}


@pytest.mark.parametrize("words", TABLES, ids=" ".join)
def test_what_a_person_reads_fits_and_what_a_program_reads_parses(
    template: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for width in (80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        said = lifecycle(*words, "--home", template)
        assert (said.code, said.err) == (0, "")
        assert said.out.strip()
        if words != ("replay",):
            assert max(len(line) for line in said.out.splitlines()) <= width
    told = lifecycle(*words, "--home", template, "--json")
    assert (told.code, told.err) == (0, "")
    assert isinstance(told.document, dict | list)


def test_every_command_that_tells_something_tells_it_as_json_too() -> None:
    without = {
        words
        for words, command in all_commands()
        if "--json" not in {option for each in command.params for option in each.opts}
    }
    assert without == ORDERS


def test_orders_that_make_something_say_what_as_json(home: Path, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "model.txt").write_text("model 4")
    by = ("--actor", "bob", "--reason", "better", "--json", "--home", home)
    made = lifecycle("registry", "register", "brent", "--artifact", tmp_path / "files", *by)
    assert made.document == {"model": "brent", "version": "4", "stage": "STAGING"}
    moved = lifecycle("registry", "promote", "brent", "4", "--expect", "2", *by)
    assert moved.document == {"model": "brent", "version": "4", "epoch": 3}


def test_the_registry_shows_who_serves_in_every_form(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    said = lifecycle("registry", "list", "brent", "--home", template)
    stages = {line.split()[1]: line.split()[2] for line in said.out.splitlines() if "brent" in line}
    assert stages == {"1": "ARCHIVED", "2": "PRODUCTION", "3": "STAGING"}
    told = lifecycle("registry", "list", "--home", template, "--json").document
    assert {each["version"]: each["stage"] for each in told} == stages
    (model,) = lifecycle("status", "--home", template, "--json").document["models"]
    assert (model["production"], model["epoch"], model["frozen"]) == ("2", 2, False)


def test_a_model_is_frozen_restored_and_told_about(home: Path) -> None:
    at = ("--home", home)
    assert lifecycle("registry", "freeze", "brent", *at).out.startswith("brent is frozen")
    assert lifecycle("status", *at, "--json").document["models"][0]["frozen"] is True
    assert lifecycle("registry", "freeze", "brent", "--off", *at).out.startswith("brent is free")
    by = ("--actor", "bob", "--reason", "losses", *at)
    said = lifecycle("registry", "restore", "brent", "1", "--expect", "2", *by)
    assert said.out == "version 1 of brent is PRODUCTION again (epoch 3)\n"
    newest = lifecycle("registry", "history", "brent", *at, "--json").document[-1]
    assert (newest["version"], newest["to"], newest["actor"], newest["reason"]) == (
        "1",
        "PRODUCTION",
        "bob",
        "losses",
    )


def test_a_policy_is_put_in_force_and_shown(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text('{"drift": {"errors": {"delta": 0.01}}}')
    said = lifecycle("policy", "set", "brent", file, "--home", home)
    silent = "the version has no reference profile"
    assert (said.code, said.err) == (0, f"note: errors is silent: {silent}\n")
    assert "is in force from the beginning" in said.out
    (shown,) = lifecycle("policy", "show", "brent", "--home", home).document
    assert lifecycle("policy", "show", "brent", "--json", "--home", home).document == [shown]
    assert shown["from"] == "the beginning"
    assert shown["drift"]["errors"]["delta"] == 0.01
    assert shown["silent"] == dict.fromkeys(("features", "predictions", "errors"), silent)
    unknown = lifecycle("policy", "set", "brend", file, "--home", home)
    assert unknown.code == 0
    assert "the registry has no model brend yet" in unknown.err, "a slip of the pen is seen"


def test_a_request_for_retraining_waits_for_the_relay(home: Path) -> None:
    said = lifecycle("retraining", "request", "brent", "--reason", "new feed", "--home", home)
    assert said.code == 0
    before = lifecycle("status", "--home", home, "--json").document["outbox_waiting"]
    assert before >= 1


def test_reconcile_shows_every_term_of_the_law_and_says_what_open_means(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explained = "open: their window is not decided yet"
    assert explained not in lifecycle("reconcile", "--home", home).out, "nothing is open"

    async def publish() -> None:
        async with EmbeddedPublisher(home / "log.sqlite", producer="service") as publisher:
            now = datetime.now(UTC)
            await publisher.publish([OutcomeObserved(prediction_id="p", actual=1.0, occurred_at=now)])

    asyncio.run(publish())
    terms = "matched superseded late correction orphan invalid open heartbeat tallied duplicate unaccounted"
    for width in (60, 90, 160):
        monkeypatch.setenv("COLUMNS", str(width))
        said = lifecycle("reconcile", "--home", home)
        assert said.code == 0
        assert said.out.count(explained) == 1
        assert all(term in said.out for term in terms.split())
        assert max(map(len, said.out.splitlines())) <= width
    assert sum(each.get("open", 0) for each in accounts(home)) == 1


def test_reconcile_has_a_column_for_each_partition_where_a_line_for_each_does_not_fit(home: Path) -> None:
    out = lifecycle("reconcile", "--home", home).out
    assert re.search(r"partition +0 +1 +2 +3\b", out)
    assert re.search(r"late correction +0 +0 +0 +0\b", out)
    assert " of 4" not in out, "no block for each"


def test_dead_letters_are_a_table_on_a_narrow_terminal(home: Path) -> None:
    file = LogFile(home / "log.sqlite", now_ms=lambda: 10**12, future_ms=60_000)
    headers = (
        ("topic", b"lifecycle.predictions"),
        ("partition", b"12"),
        ("offset", b"1234567890"),
        ("reason", b"record: Invalid JSON: EOF while parsing an object at line 1 column 1"),
    )
    letter = NewRecord(topic="lifecycle.dead-letter", key=b"k", value=b"{", timestamp_ms=5, headers=headers)
    file.append([letter, letter])
    file.close()
    out = lifecycle("dead-letter", "list", "--home", home).out
    assert re.search(r"\b0 +lifecycle\.predictions\[12\]:1234567890 +record: Invalid JSON", out)
    assert "1 of 2" not in out


def test_status_says_what_became_of_records(home: Path) -> None:
    assert "predictions of closed windows: none" in lifecycle("status", "--home", home).out
    body = '{"duplicate":0,"heartbeat":1,"invalid":2,"late":3,"read":10,"tallied":4}'
    store = sqlite3.connect(home / "store.sqlite")
    store.execute("INSERT INTO arrival_tallies VALUES ('predictions', 0, 0, ?, 'd')", (body.encode(),))
    store.commit()
    store.close()
    told = "predictions of closed windows: 1 heartbeat, 2 invalid, 3 late, 4 tallied\n"
    assert told in lifecycle("status", "--home", home).out
    records = lifecycle("status", "--home", home, "--json").document["records"]
    assert records["predictions"] == {"duplicate": 0, "heartbeat": 1, "invalid": 2, "late": 3, "tallied": 4}


def accounts(home: Path) -> list[dict[str, int]]:
    told: list[dict[str, int]] = lifecycle("reconcile", "--home", home, "--json").document["accounts"]
    return told


def test_init_again_is_harmless(home: Path) -> None:
    before = lifecycle("registry", "list", "--home", home, "--json").document
    said = lifecycle("init", "--home", home).out
    assert "4 partitions, windows of 60 s" in said
    assert f"next: lifecycle run all --home {home}\n" in said
    assert lifecycle("registry", "list", "--home", home, "--json").document == before


def wide(number: int) -> Mapping[str, object]:
    return {
        "name": f"m{number}",
        "an_identity": "0b5c7c0e-3c0f-5f0e-9b0a-2f0d8b0e4a11",
        "reason": "the price of oil " * 6,
        "share": number / 3,
    }


COLUMNS = ("name", "an_identity", "reason", "share")


def test_a_table_breaks_prose_and_never_identities(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    print_table("things", [wide(1), wide(2)], COLUMNS, "none")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 90
    assert sum("0b5c7c0e-3c0f-5f0e-9b0a-2f0d8b0e4a11" in line for line in lines) == 2
    assert any("0.3333" in line for line in lines)


def test_where_a_table_would_not_fit_each_record_is_a_block(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    print_table("things", [wide(1), wide(2)], COLUMNS, "none")
    out = capsys.readouterr().out
    assert "things, 1 of 2" in out
    assert "things, 2 of 2" in out
    assert out.count("0b5c7c0e-3c0f-5f0e-9b0a-2f0d8b0e4a11") == 2
    assert max(map(len, out.splitlines())) <= 60


def test_at_every_width_every_column_is_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = ("model", "production", "epoch", "frozen", "features_tested", "judged_through", "open_episodes")
    record = {**dict.fromkeys(columns, 7), "judged_through": "2001-05-04T00:00:00Z", "model": "brent-move"}
    prose = {"experiment": "0b5c7c0e-3c0f-5f0e-9b0a-2f0d8b0e4a11", "job": "cd" * 18, "last": "why not " * 9}
    for width in range(60, 161):
        monkeypatch.setenv("COLUMNS", str(width))
        print_table("things", [{**record, **prose}], [*columns, *prose], "none")
        out = capsys.readouterr().out
        assert max(map(len, out.splitlines())) <= width
        for word in " ".join([*columns, *prose]).replace("_", " ").split():
            assert word in out, (width, word)
        assert all(str(prose[name]) in out for name in ("experiment", "job"))


def test_text_of_the_log_is_never_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("things", [{"reason": "[red]no[/red] [/]"}], ("reason",), "none")
    print_fields("[bold]one[/bold]", {"reason": "[red]no[/red]"})
    out = capsys.readouterr().out
    assert out.count("[red]no[/red]") == 2


def test_nothing_is_said_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("things", [], COLUMNS, "no things yet")
    assert capsys.readouterr().out == "no things yet\n"
