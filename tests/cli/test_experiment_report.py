"""`lifecycle experiment report`: a file, or the same numbers as JSON."""

import asyncio
from pathlib import Path

import pytest

from consumers.bootstrap import open_system
from consumers.cli.faults import USAGE, WRONG
from consumers.report import words
from consumers.services.judging import Judging
from consumers.settings import load_settings
from tests.cli.commands import lifecycle
from tests.report.trials import Stream, a_plan, judge, rows, start

NAME = "brent-3-v-2"


async def _lived(home: Path) -> None:
    system = await open_system(load_settings(home))
    try:
        manager = system.experiments()
        found = a_plan(NAME)
        await start(system.store, manager, found)
        judging = Judging(context=system.context("judge"), experiments=manager)
        await judge(system.store, judging, "brent", list(rows(found, Stream(gain=-0.5), 0, 15)))
    finally:
        await system.close()


@pytest.fixture
def lived(home: Path) -> Path:
    asyncio.run(_lived(home))
    return home


def test_a_page_is_written_and_json_has_its_numbers(lived: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "report.html"
    said = lifecycle("experiment", "report", NAME, "--out", out, "--home", lived)
    assert (said.code, said.err) == (0, "")
    page = out.read_text("utf-8")
    document = lifecycle("experiment", "report", NAME, "--json", "--home", lived).document
    assert said.out == f"{out}: rolled back, {len(document['looks'])} looks\n"
    assert (document["headline"], document["recomputed_agrees"]) == ("rolled back", True)
    assert document["looks"][-1]["treatments"] == document["numbers"]["treatments"]
    (measures,) = document["numbers"]["treatments"].values()
    for shown in (
        words.signed(measures["primary"]["estimate"]),
        words.e_value(measures["harm"][0]["log_e"]),
        document["decision_id"],
        document["config_hash"],
    ):
        assert shown in page
    assert document["alpha"] == {"quarter": "1970Q1", "budget": 0.1, "spent": 0.05}
    (epoch,) = document["epochs"]
    assert {arm["missing"] for arm in epoch["arms"].values()} == {0}


def test_both_can_be_had_at_once_with_the_same_bytes(lived: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "1.html", tmp_path / "2.html"
    both = lifecycle("experiment", "report", NAME, "--out", one, "--json", "--home", lived)
    assert both.document["experiment"] == NAME
    lifecycle("experiment", "report", NAME, "--out", two, "--home", lived)
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    "arguments,code,says",
    [
        (("nope", "--json"), WRONG, "there is no experiment nope: lifecycle experiment list"),
        ((NAME,), USAGE, "--out FILE.html says where the page goes"),
        ((NAME, "--out", "/proc/none/report.html"), 3, "/proc/none"),
    ],
)
def test_what_it_cannot_do_is_refused(lived: Path, arguments: tuple[str, ...], code: int, says: str) -> None:
    assert says in lifecycle("experiment", "report", *arguments, "--home", lived).refuses(code)
