"""`lifecycle experiment create`, `start`, `ramp`, `pause`, `resume`, `stop`, `complete`, `cancel`."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from consumers.bootstrap import open_system
from consumers.cli.faults import USAGE, WRONG
from consumers.services.judging import Judging
from consumers.settings import load_settings
from domain.experiments.plan import ExperimentPlan
from tests.cli.commands import Said, lifecycle
from tests.report.trials import Stream, a_plan, judge, rows

NAME = "brent-3-v-2"
BY = ("--actor", "ada", "--reason", "a test")
TEMPLATE = {
    "strategy": "PERCENTAGE_SPLIT",
    "primary": {"metric": "abs_error", "direction": "decrease"},
    "challenger_share": 0.1,
}


def plan_file(home: Path, document: object = TEMPLATE) -> Path:
    file = home / "plan.json"
    file.write_text(json.dumps(document))
    return file


def create(home: Path, document: object = TEMPLATE, *more: str) -> Said:
    return lifecycle("experiment", "create", "brent", plan_file(home, document), *more, "--home", home)


def order(home: Path, name: str, *more: str) -> Said:
    return lifecycle("experiment", name, NAME, *more, *BY, "--home", home)


def shown(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = lifecycle("experiment", "show", NAME, "--json", "--home", home).document
    return found


def test_a_person_leads_an_experiment_from_its_plan_to_its_end(home: Path) -> None:
    assert create(home, TEMPLATE, "--challenger", "3").out.startswith(f"experiment {NAME} is CREATED")
    assert order(home, "start").out == f"experiment {NAME} is RUNNING (epoch 1)\n"
    assert shown(home)["shares"] == {"champion": 0.9, "challenger": 0.1}
    assert order(home, "ramp", "--share", "challenger=0.25").out.endswith("(epoch 2)\n")
    assert shown(home)["shares"] == {"champion": 0.75, "challenger": 0.25}
    assert order(home, "pause").code == 0
    assert shown(home)["status"] == "PAUSED"
    (listed,) = lifecycle("experiment", "list", "--json", "--home", home).document
    assert listed["status"] == "PAUSED"
    assert order(home, "resume").code == 0
    assert order(home, "stop").out == f"experiment {NAME} is stopped: the champion stays\n"
    told = shown(home)
    assert told["status"] == "COMPLETED_ROLLED_BACK"
    assert [move["move"] for move in told["history"]] == ["Start", "Ramp", "Pause", "Resume", "Stop"]
    assert {move["actor"] for move in told["history"]} == {"ada"}
    stages = lifecycle("registry", "list", "brent", "--json", "--home", home).document
    assert [version["stage"] for version in stages] == ["ARCHIVED", "PRODUCTION", "ARCHIVED"]


@pytest.mark.parametrize(
    "name,more,says",
    [
        ("ramp", ("--share", "challenger=0.25"), "Ramp is not allowed from CREATED"),
        ("pause", (), "Pause is not allowed from CREATED"),
        ("resume", (), "Resume is not allowed from CREATED"),
        ("stop", (), "Stop is not allowed from CREATED (allowed: Start, Cancel)"),
        ("complete", (), "not allowed from CREATED"),
    ],
)
def test_an_order_out_of_turn_is_refused_in_a_sentence(
    home: Path, name: str, more: tuple[str, ...], says: str
) -> None:
    create(home, TEMPLATE, "--challenger", "3")
    assert says in order(home, name, *more).refuses(WRONG)
    assert shown(home)["status"] == "CREATED"
    assert shown(home)["history"] == []


@pytest.mark.parametrize("share", ["challenger", "=0.5", "challenger=", "challenger=much", "0.5"])
def test_a_share_that_cannot_be_read_is_a_mistake_of_usage(home: Path, share: str) -> None:
    create(home, TEMPLATE, "--challenger", "3")
    order(home, "start")
    twice = ("--share", "challenger=0.2", "--share", "challenger=0.3")
    assert "--share names challenger twice" in order(home, "ramp", *twice).refuses(USAGE)
    assert "not of the form challenger=0.25" in order(home, "ramp", "--share", share).refuses(USAGE)


@pytest.mark.parametrize(
    "document,more,says",
    [
        ([], (), "must be a JSON object, not list"),
        (TEMPLATE, (), "the plan names no variants"),
        ({**TEMPLATE, "alpha": 2}, ("--challenger", "3"), "alpha"),
        ({**TEMPLATE, "model": "wti"}, ("--challenger", "3"), "model must be brent, or left out"),
        ({**TEMPLATE, "variants": []}, (), "experiment must be given"),
        ({**TEMPLATE, "reverses": "e1"}, ("--challenger", "3"), "plan.reverses must be left out"),
        ({**TEMPLATE, "variants": []}, ("--challenger", "3"), "--challenger is for a plan that names no"),
    ],
)
def test_a_wrong_plan_is_refused_by_its_field(
    home: Path, document: object, more: tuple[str, ...], says: str
) -> None:
    assert says in create(home, document, *more).refuses(USAGE)
    assert lifecycle("experiment", "list", "--json", "--home", home).document == []


def test_a_version_that_nobody_registered_is_refused_when_the_plan_is_recorded(home: Path) -> None:
    said = create(home, TEMPLATE, "--challenger", "9")
    assert "brent has no version 9: lifecycle registry list brent shows them" in said.refuses(WRONG)
    itself = create(home, TEMPLATE, "--challenger", "2")
    assert "variants must be of different versions" in itself.refuses(USAGE)
    assert lifecycle("experiment", "list", "--json", "--home", home).document == []


def test_a_plan_is_created_once_and_never_changed(home: Path) -> None:
    first = create(home, TEMPLATE, "--challenger", "3", "--json").document
    assert create(home, TEMPLATE, "--challenger", "3", "--json").document == first, "again is harmless"
    said = create(home, {**TEMPLATE, "alpha": 0.01}, "--challenger", "3")
    assert NAME in said.refuses(WRONG)
    other = create(home, {**TEMPLATE, "alpha": 0.01}, "--challenger", "3", "--name", "careful", "--json")
    assert other.document["experiment"] == "careful"


async def _judged(home: Path, plan: ExperimentPlan, stream: Stream) -> None:
    system = await open_system(load_settings(home))
    try:
        judging = Judging(context=system.context("judge"), experiments=system.experiments())
        await judge(system.store, judging, "brent", list(rows(plan, stream, 0, 10)))
    finally:
        await system.close()


@pytest.fixture
def judged(home: Path) -> Path:
    """A split experiment from the beginning of event time, ten windows in."""
    assert create(home, a_plan(NAME).to_json()).code == 0
    assert order(home, "start", "--time", "1970-01-01").code == 0
    asyncio.run(_judged(home, a_plan(NAME), Stream(gain=0.05)))
    return home


def test_the_performance_on_several_primaries_is_a_table_each(home: Path) -> None:
    squared = {"metric": "squared_error", "direction": "decrease"}
    plan = a_plan(NAME, more_primaries=[squared], harm=[])
    assert create(home, plan.to_json()).code == 0
    assert order(home, "start", "--time", "1970-01-01").code == 0
    asyncio.run(_judged(home, plan, Stream(gain=0.5, other=-0.9)))
    said = lifecycle("experiment", "performance", NAME, "--home", home)
    assert said.code == 0
    assert f"{NAME}: gain on abs_error" in said.out
    assert f"{NAME}: gain on squared_error" in said.out
    assert "challenger-1 is shown to get worse on squared_error: it is not promoted" in said.out
    assert max(map(len, said.out.splitlines())) <= 80
    _, challenger = lifecycle("experiment", "performance", NAME, "--json", "--home", home).document
    assert (challenger["metric"], challenger["losing"]) == ("abs_error", ["squared_error"])
    assert challenger["more_primaries"][0]["upper"] < 0
    page = home / "page.html"
    assert lifecycle("experiment", "report", NAME, "--out", page, "--home", home).code == 0
    assert "Shown to get worse: squared_error" in page.read_text()


@pytest.mark.parametrize("end", [None, "stop"])
def test_the_performance_of_each_arm_is_there_at_any_time(judged: Path, end: str | None) -> None:
    if end is not None:
        assert order(judged, end).code == 0
    said = lifecycle("experiment", "performance", NAME, "--json", "--home", judged)
    champion, challenger = said.document
    assert (champion["variant"], champion["champion"], champion["log_e"]) == ("champion", True, None)
    assert (champion["outcomes"], challenger["outcomes"]) == (400, 400)
    assert challenger["metric"] == "abs_error"
    assert challenger["lower"] < challenger["estimate"] < challenger["upper"]
    assert 0 < challenger["p_value"] <= 1
    table = lifecycle("experiment", "performance", NAME, "--home", judged)
    assert (table.code, table.err) == (0, "")
    assert max(map(len, table.out.splitlines())) <= 80


@pytest.mark.parametrize("end", [None, "stop"])
def test_what_each_arm_scored_on_its_own_is_told_where_that_is_asked_for(
    judged: Path, end: str | None
) -> None:
    if end is not None:
        assert order(judged, end).code == 0
    said = lifecycle("experiment", "performance", NAME, "--own", "--json", "--home", judged)
    for found in said.document:
        assert (found["level"]["metric"], found["level"]["n"]) == ("abs_error", 400)
        # errors around zero: no part of that is worth telling
        assert found["level"]["lift"] is None
    table = lifecycle("experiment", "performance", NAME, "--own", "--home", judged)
    assert f"{NAME}: each arm's own abs_error" in table.out
    assert max(map(len, table.out.splitlines())) <= 80
    plain = lifecycle("experiment", "performance", NAME, "--json", "--home", judged)
    assert all("level" not in arm for arm in plain.document)


def test_before_the_start_there_are_arms_without_numbers(home: Path) -> None:
    create(home, TEMPLATE, "--challenger", "3")
    arms = lifecycle("experiment", "performance", NAME, "--json", "--home", home).document
    assert [(arm["share"], arm["outcomes"], arm["estimate"]) for arm in arms] == [
        (0.9, 0, None),
        (0.1, 0, None),
    ]
    missing = lifecycle("experiment", "performance", "e9", "--home", home)
    assert "there is no experiment e9" in missing.refuses(WRONG)


def test_a_cancellation_may_say_who_and_why(home: Path) -> None:
    create(home, TEMPLATE, "--challenger", "3")
    assert lifecycle("experiment", "cancel", NAME, "--home", home).code == 0
    assert shown(home)["history"][-1]["actor"] == "a person"
