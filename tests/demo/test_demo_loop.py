"""The whole loop on 24 years of prices, run once as a person runs it, and everything said about it."""

import re
import shutil
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import orjson
import pytest

from tests.cli import commands
from tests.demo.runs import Ended, assert_equal_rows, left_behind, lifecycle, rows

pytestmark = [pytest.mark.demo, pytest.mark.slow]

WEEK_MS = 604_800_000
SLACK_MS = 3_600_000
GRACE_MS = 5 * 86_400_000
HORIZON_MS = 86_400_000
CHANGED = "brent-1999-03-10"
SECOND_RUN_WEEKS = 290
KEYS = {
    "predictions",
    "outcomes",
    "windows",
    "drift_episodes",
    "retraining_jobs",
    "experiments",
    "promotions",
    "champion_mae",
    "frozen_v1_mae",
    "divergences",
    "conservation_ok",
    "report",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "home"


@pytest.fixture(scope="module")
def run(home: Path) -> Ended:
    """The one full run. Tests read its home; those that change something copy it."""
    return lifecycle("demo", "--home", home, "--json")


@pytest.fixture
def copy(run: Ended, home: Path, tmp_path: Path) -> Path:
    assert run.code == 0, run.stderr
    return Path(shutil.copytree(home, tmp_path / "copy"))


def test_the_demo_ends_with_one_json_object_and_serves_better_than_version_1_alone(run: Ended) -> None:
    assert run.code == 0, run.stderr
    told = run.document
    assert told.keys() >= KEYS
    assert told["predictions"] > told["outcomes"] > 6_000
    assert told["windows"] == 1_267
    assert told["champion_mae"] < told["frozen_v1_mae"]
    assert told["divergences"] == 0
    assert told["conservation_ok"] is True
    for name, moment in (
        ("drift_episodes", "opened_at"),
        ("retraining_jobs", "opened_at"),
        ("experiments", "started_at"),
        ("promotions", "at"),
    ):
        assert told[name], f"{name} is empty"
        moments = [datetime.fromisoformat(each[moment]) for each in told[name]]
        assert moments == sorted(moments), name


def test_episodes_experiments_and_promotions_carry_the_evidence_of_a_stored_decision(
    run: Ended, home: Path
) -> None:
    stored = dict(rows(home / "store.sqlite", "SELECT decision_id, body FROM decisions"))
    bodies = [orjson.loads(body) for body in stored.values()]
    for name in ("drift_episodes", "experiments", "promotions"):
        for each in run.document[name]:
            assert each["evidence"] in bodies, (name, each["evidence"])
    for promotion in run.document["promotions"]:
        assert promotion["evidence"] == orjson.loads(stored[promotion["decision_id"]])


def test_the_report_is_one_file_that_needs_nothing_else(run: Ended, home: Path) -> None:
    report = Path(run.document["report"])
    assert report == home / "report.html"
    page = report.read_text(encoding="utf-8")
    assert "<svg" in page or "data:image/" in page
    # addresses may stand in it as names of XML dialects; nothing may be fetched from one
    fetched = re.findall(r"""(?:src|href|xlink:href)\s*=\s*["']([^"'#]+)|url\(\s*["']?([^)"'#]+)""", page)
    assert [a or b for a, b in fetched if not (a or b).startswith("data:")] == []
    assert "@import" not in page


def test_a_finished_demo_says_the_same_again_and_trains_nothing(run: Ended, copy: Path) -> None:
    before = left_behind(copy)
    again = lifecycle("demo", "--home", copy, "--json")
    assert again.code == 0, again.stderr
    assert again.document | {"report": ""} == run.document | {"report": ""}
    assert left_behind(copy) == before


def test_replay_recomputes_every_decision_and_finds_all_equal(run: Ended, home: Path) -> None:
    assert run.code == 0, run.stderr
    (decisions,) = rows(home / "store.sqlite", "SELECT count(*) FROM decisions")[0]
    said = lifecycle("replay", "--home", home)
    assert said.code == 0, said.stderr
    assert said.stdout.startswith(f"{decisions} decisions recomputed")


def test_after_one_outcome_is_changed_replay_names_the_first_decision_that_leans_on_it(copy: Path) -> None:
    prediction_ms = change_outcome(copy, CHANGED)
    cutoff_ms = (prediction_ms // WEEK_MS + 1) * WEEK_MS + HORIZON_MS + GRACE_MS
    decisions = rows(
        copy / "store.sqlite", "SELECT decision_id, at_ms, kind FROM decisions ORDER BY at_ms, decision_id"
    )
    earlier = [found for found in decisions if found[1] < cutoff_ms]
    # the digest of all rows so far is part of every decision's evidence: none after the cutoff can hold
    first, later = next((found, i) for i, found in enumerate(decisions) if found[1] >= cutoff_ms)
    assert later == len(earlier) > 0, "there are decisions before and after the changed outcome"
    said = lifecycle("replay", "--home", copy)
    assert said.code == 1, said.stderr
    assert f"first decision that differs: {first[2]}" in said.stdout
    assert first[0] in said.stdout
    assert commands.lifecycle("verify", first[0], "--home", copy).code == 1
    assert commands.lifecycle("verify", earlier[-1][0], "--home", copy).code == 0


def test_one_decision_verifies_by_its_id(run: Ended, home: Path) -> None:
    promotion = run.document["promotions"][0]
    said = commands.lifecycle("verify", promotion["decision_id"], "--home", home, "--json")
    assert said.code == 0, said.err
    assert said.document["equal"] is True
    assert said.document["recomputed"] == promotion["evidence"]


def test_every_record_of_the_log_is_accounted_for(run: Ended, home: Path) -> None:
    said = commands.lifecycle("reconcile", "--home", home, "--json")
    assert said.code == 0, said.err
    hot = {"lifecycle.predictions", "lifecycle.outcomes"}
    ((records,),) = rows(
        home / "log.sqlite", f"SELECT count(*) FROM records WHERE topic IN {tuple(sorted(hot))}"
    )
    assert sum(account["records"] for account in said.document["accounts"]) == records
    assert all(account["balanced"] for account in said.document["accounts"])


def test_the_registry_tells_who_was_production_before_and_after_a_promotion(run: Ended, home: Path) -> None:
    promotion = run.document["promotions"][0]
    at = datetime.fromisoformat(promotion["at"])
    told = {}
    for name, moment in (("before", at - timedelta(milliseconds=1)), ("at", at)):
        said = commands.lifecycle(
            "registry", "at", "brent-move", "--time", moment.isoformat(), "--home", home, "--json"
        )
        assert said.code == 0, said.err
        told[name] = said.document["version"]
    assert told == {"before": promotion["previous_version"], "at": promotion["version"]}


def test_the_status_of_a_finished_demo_shows_who_serves_and_nothing_wrong(run: Ended, home: Path) -> None:
    said = commands.lifecycle("status", "--home", home, "--json")
    assert said.code == 0, said.err
    (model,) = said.document["models"]
    assert model["production"] == run.document["promotions"][-1]["version"]
    assert (said.document["divergences"], said.document["dead_letters"]) == (0, 0)
    assert said.document["outbox_waiting"] == 0
    assert said.document["unknown_versions"] == []


def test_a_second_run_is_byte_equal_as_far_as_it_goes(run: Ended, home: Path, tmp_path: Path) -> None:
    assert run.code == 0, run.stderr
    short = lifecycle("demo", "--home", tmp_path / "second", "--weeks", str(SECOND_RUN_WEEKS), "--json")
    assert short.code == 0, short.stderr
    whole, part = left_behind(home), left_behind(tmp_path / "second")
    ((through_ms,),) = rows(
        tmp_path / "second" / "store.sqlite", "SELECT judged_through_ms FROM judgement_states"
    )
    ((inputs_ms, outcomes_ms),) = rows(
        tmp_path / "second" / "store.sqlite",
        "SELECT DISTINCT inputs_through_ms, outcomes_through_ms FROM partition_progress",
    )
    assert through_ms == min(inputs_ms, outcomes_ms)
    closed = [
        row for row in whole["window rows"] if row[9] <= (inputs_ms if row[0] == "input" else outcomes_ms)
    ]
    assert_equal_rows("window rows", closed, part["window rows"])
    decided = [decision for decision in whole["decisions"] if decision[4] <= through_ms]
    assert len(decided) > 5
    assert_equal_rows("decisions", decided, part["decisions"])
    arrivals = set(whole["arrival rows"])
    assert [row for row in part["arrival rows"] if row not in arrivals] == []


def change_outcome(home: Path, prediction_id: str) -> int:
    """Makes the outcome a cent bigger in the log file; returns the time of its prediction."""
    with closing(sqlite3.connect(home / "log.sqlite")) as log, log:
        where = "topic = 'lifecycle.outcomes' AND key = ? AND value IS NOT NULL"
        ((value,),) = log.execute(
            f"SELECT value FROM records WHERE {where}", (prediction_id.encode(),)
        ).fetchall()
        document = orjson.loads(value)
        document["actual"] += 0.01
        changed = log.execute(
            f"UPDATE records SET value = ? WHERE {where}", (orjson.dumps(document), prediction_id.encode())
        )
        assert changed.rowcount == 1
        ((made_ms,),) = log.execute(
            "SELECT DISTINCT timestamp_ms FROM records WHERE topic = 'lifecycle.predictions' AND key = ?",
            (prediction_id.encode(),),
        ).fetchall()
    return int(made_ms)
