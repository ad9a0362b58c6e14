"""`lifecycle experiment budget`: what was spent, what is left, which promotions stand."""

import asyncio
from pathlib import Path

import pytest

from consumers.bootstrap import open_system
from consumers.cli.faults import USAGE, WRONG
from consumers.services.judging import Judging
from consumers.settings import load_settings
from tests.cli.commands import lifecycle
from tests.report.trials import Stream, a_plan, judge, rows, start


async def _lived(home: Path) -> None:
    """A cancelled experiment that was never looked at, and one that promotes."""
    system = await open_system(load_settings(home))
    try:
        manager = system.experiments()
        judging = Judging(context=system.context("judge"), experiments=manager)
        await start(system.store, manager, a_plan("brent-3-v-2-early"))
        async with system.store.write() as session:
            await manager.cancel(session, "brent-3-v-2-early")
        found = a_plan("brent-3-v-2")
        await start(system.store, manager, found)
        await judge(system.store, judging, "brent", list(rows(found, Stream(gain=0.5), 0, 15)))
    finally:
        await system.close()


@pytest.fixture
def lived(home: Path) -> Path:
    asyncio.run(_lived(home))
    return home


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_person_sees_what_was_spent_by_whom_and_what_stands(
    lived: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    said = lifecycle("experiment", "budget", "--home", lived)
    assert (said.code, said.err) == (0, "")
    assert max(map(len, said.out.splitlines())) <= width
    words = said.out.split()
    for name in ("1970Q1", "brent-3-v-2", "brent-3-v-2-early", "CANCELLED", "0.05"):
        assert name in words
    assert "1 of 1 promotions stand" in said.out


def test_a_program_reads_the_same(lived: Path) -> None:
    told = lifecycle(
        "experiment", "budget", "brent", "--quarter", "1970Q1", "--json", "--home", lived
    ).document
    (account,) = told["accounts"]
    spent = {each["experiment"]: each["spent"] for each in account.pop("by_experiment")}
    assert spent == {"brent-3-v-2-early": 0.0, "brent-3-v-2": 0.05}
    assert account == {
        "model": "brent",
        "quarter": "1970Q1",
        "budget": 0.1,
        "spent": 0.05,
        "left": 0.05,
        "experiments": 2,
    }
    (hypothesis,) = told["e_bh"]["hypotheses"]
    assert (hypothesis["experiment"], hypothesis["version"]) == ("brent-3-v-2", "3")
    assert (hypothesis["promoted"], hypothesis["stands"]) == (True, True)
    assert hypothesis["log_e"] >= told["e_bh"]["threshold_log_e"]
    every = lifecycle("experiment", "budget", "--quarter", "all", "--json", "--home", lived).document
    assert every["e_bh"] == told["e_bh"]


def test_without_a_limit_and_without_experiments_it_says_so(home: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text('{"alpha_budget": {"per_quarter": null}}')
    assert lifecycle("policy", "set", "brent", policy, "--home", home).code == 0
    said = lifecycle("experiment", "budget", "--quarter", "2026Q1", "--home", home)
    assert said.out.count("no limit") == 2
    assert "stand" not in said.out


@pytest.mark.parametrize(
    "arguments,code,says",
    [
        (("nope",), WRONG, "there is no model nope"),
        (("--quarter", "2026Q5"), USAGE, "must be of the form 2026Q4, not '2026Q5', or all"),
        (("--fdr", "1"), USAGE, "1.0 is not in the range 0<x<1"),
    ],
)
def test_what_it_cannot_tell_is_refused(
    template: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    assert says in lifecycle("experiment", "budget", *arguments, "--home", template).refuses(code)
