"""`lifecycle experiment plan` and `calibrate`: answers in the model's own traffic, with a seed."""

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from consumers.bootstrap import open_system
from consumers.cli.faults import USAGE, WRONG
from consumers.settings import load_settings
from consumers.store.repositories.tallies import TallyRepository
from domain.windows.progress import Progress
from domain.windows.rows import RowKey, WindowRow
from schemas.clock import from_ms
from schemas.events import OutcomeObserved, PredictionMade
from schemas.outgoing import heartbeat, record_of
from tests.cli.commands import lifecycle
from tests.rehearsal.pasts import DUE_MS, LENGTH_MS, body

WALL = datetime(2026, 1, 1, tzinfo=UTC)
PARTITIONS = 4
TEMPLATE: dict[str, Any] = {
    "strategy": "PERCENTAGE_SPLIT",
    "primary": {"metric": "abs_error", "direction": "decrease"},
    "harm": [{"metric": "abs_error", "direction": "decrease", "margin": 0.0}],
    "minimums": {"batches": 5, "outcomes_per_arm": 50},
    "batch": {"min_outcomes": 40, "min_per_arm": 10, "horizon_multiple": 1.0},
    "n_star": 400,
    "mde": 0.5,
    "max_outcomes": 800,
}


async def _fill(home: Path, windows: int) -> None:
    """Version 2 answered 20 requests a minute."""
    drawn = np.random.default_rng(1).standard_normal((windows, 20))
    rows = []
    for number, values in enumerate(drawn):
        key = RowKey(
            kind="score",
            window_start_ms=number * LENGTH_MS,
            partition=0,
            model="brent",
            version="2",
            variant="",
            experiment="",
            epoch=0,
            horizon_s=1,
        )
        found = body(values.tolist())
        found["metrics"]["squared_error"] = body((values * values).tolist())["metrics"]["abs_error"]
        scored = orjson.dumps(found, option=orjson.OPT_SORT_KEYS)
        rows.append(WindowRow(key, number * LENGTH_MS + DUE_MS, scored))
    through_ms = windows * LENGTH_MS + DUE_MS
    system = await open_system(load_settings(home))
    try:
        async with system.store.write() as session:
            for partition in range(PARTITIONS):
                progress = Progress(partition, 0, 0, 0, 0, through_ms, through_ms, through_ms, through_ms)
                closed = rows if partition == 0 else []
                await TallyRepository(session).insert_closed(closed, [], progress, now=WALL)
    finally:
        await system.close()


@pytest.fixture
def lived(home: Path) -> Path:
    asyncio.run(_fill(home, 200))
    return home


@pytest.mark.parametrize("command", ["plan", "calibrate"])
def test_on_which_of_several_primaries_gains_are_is_said(lived: Path, command: str) -> None:
    file = written(lived, more_primaries=[{"metric": "squared_error", "direction": "decrease"}])
    said = lifecycle("experiment", command, "brent", file, "--runs", "130", "--home", lived)
    assert "Gains are on abs_error; on the plan's further primaries (squared_error) no" in " ".join(
        said.out.split()
    ), said.err
    file = written(lived, more_primaries=[{"metric": "value.pnl", "direction": "increase"}])
    said = lifecycle("experiment", command, "brent", file, "--runs", "130", "--home", lived)
    assert "has 0 outcomes of value.pnl" in said.refuses(WRONG)
    assert "a rehearsal needs 400 of every metric of the plan" in said.err


def written(folder: Path, **fields: Any) -> Path:
    file = folder / "plan.json"
    file.write_bytes(orjson.dumps({**TEMPLATE, **fields}))
    return file


def run(home: Path, command: str, *arguments: Any, **fields: Any) -> Any:
    file = written(home.parent, **fields)
    return lifecycle("experiment", command, "brent", file, *map(str, arguments), "--home", home)


def test_a_plan_says_how_long_it_takes_in_this_traffic(lived: Path) -> None:
    said = run(lived, "plan", "--runs", 8, "--json")
    assert (said.code, said.err) == (0, "")
    document = said.document
    assert document["past"]["from"] == "rows"
    assert document["past"]["outcomes"] == 4_000
    assert (document["past"]["first"], document["past"]["last"]) == ("1970-01-01", "1970-01-01T03:20:00Z")
    assert document["past"]["variance"] == pytest.approx(1.0, abs=0.1)
    assert [each["gain"] for each in document["effects"]] == [0.0, 0.25, 0.5, 1.0]
    none, _, _, double = document["effects"]
    assert none["promoted"]["count"] == 0
    assert double["promoted"]["count"] == 8
    assert double["fixed_size"] == pytest.approx(24.7 * document["past"]["variance"], abs=1.0)
    # 20 outcomes a minute
    minutes = double["lasted_ms"]["median"] / LENGTH_MS
    assert minutes == pytest.approx(double["outcomes"]["median"] / 20, abs=2.0)


def test_a_plan_is_told_in_words_within_eighty_columns(lived: Path) -> None:
    said = run(lived, "plan", "--runs", 5, "--effect", 0.5, "--effect", 0)
    assert (said.code, said.err) == (0, "")
    assert max(map(len, said.out.splitlines())) <= 80
    assert "A challenger that is better by that much is promoted in" in said.out
    assert re.search(r"gain +promoted +rolled back +neither +time +middle half", said.out.replace("\n", " "))
    again = run(lived, "plan", "--runs", 5, "--effect", 0.5, "--effect", 0)
    assert again.out == said.out
    other = run(lived, "plan", "--runs", 5, "--effect", 0.5, "--effect", 0, "--seed", 2)
    assert other.out != said.out


def test_a_whole_plan_may_be_given(lived: Path) -> None:
    variants = [
        {"name": "champion", "version": "2", "share": 0.8, "champion": True},
        {"name": "bold", "version": "3", "share": 0.1},
        {"name": "meek", "version": "1", "share": 0.1},
    ]
    three = {"variants": variants, "experiment": "three", "max_outcomes": 3_000}
    said = run(lived, "plan", "--runs", 2, "--effect", 2, "--json", **three)
    assert said.document["experiment"] == "three"
    (effect,) = said.document["effects"]
    assert effect["promoted"]["count"] == 2


def test_a_plan_without_an_mde_takes_what_n_star_finds(lived: Path) -> None:
    document = run(lived, "plan", "--runs", 1, "--json", mde=None).document
    assert document["mde_from"] == "n_star"
    assert document["effects"][2]["fixed_size"] in (400, 401)


def test_shadows_without_earlier_pairs_have_nothing_in_common(lived: Path) -> None:
    document = run(lived, "plan", "--runs", 2, "--json", strategy="SHADOW_MODE", mde=1.0).document
    assert document["past"]["variance"] == pytest.approx(2.0, abs=0.2)
    assert document["effects"][3]["promoted"]["count"] == 2


def test_equal_models_on_rows_and_made_up_are_calibrated(lived: Path) -> None:
    arguments = ("--mode", "own", "--mode", "t3", "--runs", 40, "--alpha", 0.2)
    said = run(lived, "calibrate", *arguments)
    assert (said.code, said.err) == (0, ""), said.out
    assert max(map(len, said.out.splitlines())) <= 80
    assert "calibrated: false promotions are at most" in said.out
    assert "by window rows of version 2" in " ".join(said.out.split())
    document = run(lived, "calibrate", *arguments, "--json").document
    assert document["calibrated"] is True
    own, made_up = document["modes"]
    assert (own["mode"], made_up["mode"]) == ("own", "t3")
    assert own["better"]["runs"] == 10
    assert own["better"]["promoted"]["share"] > 0.5


def test_a_plan_that_promotes_noise_is_not_calibrated(lived: Path) -> None:
    """By what is asked of it: its own alpha is eight times as large."""
    arguments = ("--mode", "normal", "--runs", 59, "--alpha", 0.05)
    said = run(lived, "calibrate", *arguments, alpha=0.4)
    assert said.code == WRONG
    assert re.search(r"NOT calibrated: upper 95 % bound .* % > alpha 5 % \(normal\)", said.out)
    again = run(lived, "calibrate", *arguments, "--json", alpha=0.4)
    assert (again.code, again.document["calibrated"]) == (WRONG, False)


def test_a_recorded_failure_keeps_the_experiment_from_starting(lived: Path) -> None:
    by = ("--actor", "ada", "--reason", "a test needs it", "--home", lived)
    arguments = ("--mode", "normal", "--runs", 59, "--alpha", 0.05, "--record")
    failed = run(lived, "calibrate", *arguments, alpha=0.4)
    assert failed.code == WRONG
    assert failed.out.endswith("recorded for all experiments by these rules\n")
    said = run(lived, "create", "--challenger", "3", "--name", "e1", alpha=0.4)
    assert said.code == 0, said.err
    refused = lifecycle("experiment", "start", "e1", *by).refuses(WRONG)
    assert "its plan is not calibrated" in refused
    assert run(lived, "create", "--challenger", "3", "--name", "e2", alpha=0.09).code == 0
    assert lifecycle("experiment", "start", "e2", *by).code == 0
    again = run(lived, "calibrate", *arguments, alpha=0.4)
    assert again.out.endswith("recorded for all experiments by these rules\n"), "e2 has others"


def test_a_recorded_failure_leaves_the_promotion_of_an_experiment_that_runs_to_a_person(lived: Path) -> None:
    policy = lived.parent / "policy.json"
    policy.write_text('{"alpha_budget": {"per_quarter": null}}')
    assert lifecycle("policy", "set", "brent", policy, "--home", lived).code == 0
    assert run(lived, "create", "--challenger", "3", "--name", "e2", alpha=0.4).code == 0
    started = lifecycle("experiment", "start", "e2", "--actor", "ada", "--reason", "a test", "--home", lived)
    assert started.code == 0
    arguments = ("--mode", "normal", "--runs", 59, "--alpha", 0.05, "--record")
    said = run(lived, "calibrate", *arguments, alpha=0.4)
    assert said.code == WRONG
    assert "e2 runs by them: its promotion would wait for a person to complete it" in said.out


@pytest.mark.parametrize(
    "arguments,fields,code,says",
    [
        (
            ("--runs", 58),
            {},
            USAGE,
            "58 runs cannot show that false promotions are at most 0.05: it takes 59",
        ),
        (("--mode", "sticky"), {}, USAGE, "--mode sticky says nothing about a plan of PERCENTAGE_SPLIT"),
        ((), {"strategy": "USER_SEGMENT"}, WRONG, "the log does not hold"),
        (("--from", "rows"), {"strategy": "USER_SEGMENT"}, WRONG, "--from log reads them"),
        ((), {"primary": {"metric": "brier", "direction": "decrease"}}, WRONG, "0 outcomes of brier"),
        ((), {"batch": {"min_outcomes": 500}, "max_outcomes": None}, WRONG, "a rehearsal needs 5000"),
        ((), {"alpha": 2}, USAGE, "plan.json: ExperimentPlan.alpha"),
        ((), {"model": "other", "variants": []}, USAGE, "brent, or left out"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(
    lived: Path, arguments: tuple[Any, ...], fields: dict[str, Any], code: int, says: str
) -> None:
    if fields.get("strategy") == "USER_SEGMENT":
        shares = {"champion": True, "challenger": False}
        fields = {
            **fields,
            "variants": [
                {"name": name, "version": "2", "share": 0.5, "champion": champion}
                for name, champion in shares.items()
            ],
        }
    assert says in run(lived, "calibrate", *arguments, **fields).refuses(code)


def test_without_a_past_it_says_what_is_missing(home: Path) -> None:
    assert "no window is closed" in run(home, "plan").refuses(WRONG)
    asyncio.run(_fill(home, 3))
    assert "60 outcomes of abs_error" in run(home, "plan").refuses(WRONG)
    file = written(home.parent)
    assert "there is no model" in lifecycle("experiment", "plan", "x", file, "--home", home).refuses(WRONG)
    file.write_text("{")
    assert "is not JSON" in lifecycle("experiment", "plan", "brent", file, "--home", home).refuses(USAGE)


async def _log(home: Path, windows: int, each: int) -> None:
    """Version 2 answered so many requests in each minute, of 80 units; all outcomes came in time."""
    system = await open_system(load_settings(home))
    source = np.random.default_rng(2)
    try:
        events: list[PredictionMade | OutcomeObserved] = []
        for number in range(windows * each):
            at_ms = number // each * LENGTH_MS + number % each * 1_000
            name = f"p{number}"
            events.append(
                PredictionMade(
                    occurred_at=from_ms(at_ms),
                    prediction_id=name,
                    model="brent",
                    version="2",
                    prediction=0.0,
                    features={},
                    unit=f"u{number % 80}",
                    horizon_s=1,
                )
            )
            actual = float(source.standard_normal())
            events.append(
                OutcomeObserved(occurred_at=from_ms(at_ms + 1_000), prediction_id=name, actual=actual)
            )
        await system.log.append([record_of(event, system.topics, source="test") for event in events])
        end_ms = (windows + 5) * LENGTH_MS
        for topic in (system.topics.predictions, system.topics.outcomes):
            await system.log.append([heartbeat(topic, partition, end_ms) for partition in range(PARTITIONS)])
        worker = await system.tally()
        try:
            while await worker.step():
                pass
        finally:
            await worker.close()
    finally:
        await system.close()


@pytest.mark.parametrize("strategy", ["PERCENTAGE_SPLIT", "USER_SEGMENT", "SWITCHBACK"])
def test_the_users_own_log_is_relabelled(home: Path, strategy: str) -> None:
    asyncio.run(_log(home, 40, 20))
    variants = [
        {"name": "champion", "version": "2", "share": 0.5, "champion": True},
        {"name": "challenger", "version": "3", "share": 0.5},
    ]
    fields: dict[str, Any] = {"strategy": strategy, "variants": variants}
    if strategy == "SWITCHBACK":
        fields |= {"period_ms": 30_000}
    arguments = ("--runs", 20, "--alpha", 0.2)
    said = run(home, "calibrate", *arguments, "--json", **fields)
    assert said.code == 0, said
    document = said.document
    assert (document["past"]["from"], document["past"]["outcomes"]) == ("log", 800)
    (own,) = document["modes"]
    assert own["equal"]["invalid"]["count"] == 0
    assert own["better"]["promoted"]["share"] >= 0.5
    assert "Predictions were put into arms by the plan's allocation" in " ".join(
        run(home, "calibrate", *arguments, **fields).out.split()
    )
    planned = run(home, "plan", "--runs", 2, "--json", "--from", "log", **fields)
    assert planned.document["past"]["from"] == "log"
