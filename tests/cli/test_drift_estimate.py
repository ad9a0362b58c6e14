"""`lifecycle drift estimate`: a table, JSON and a page say what is an estimate."""

from pathlib import Path

import pytest

from consumers.cli.faults import WRONG
from tests.cli.commands import lifecycle
from tests.cli.homes import home_of
from tests.services.deployment import LENGTH, MODEL, Deployment, drifting_life
from tests.services.test_estimating import answered, calibrated


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten windows that turn out as expected, and ten in which labels are chance."""

    async def live(where: Deployment) -> None:
        await where.register(calibrated())
        await where.append(*answered(0, 10), *answered(10, 20, chances=(0.5, 0.5, 0.5, 0.5)))
        await where.beat(LENGTH * 20 + 10_000)

    return home_of(tmp_path_factory.mktemp("estimate"), live)


def test_a_table_says_that_it_is_an_estimate_and_json_has_its_numbers(lived: Path) -> None:
    said = lifecycle("drift", "estimate", MODEL, "--windows", "10", "--home", lived)
    assert (said.code, said.err) == (0, "")
    assert "an estimate" in said.out.splitlines()[0]
    words = " ".join(said.out.split())
    assert "Precision, recall and F1 are estimates only" in words
    assert "below what was expected in the stretch from" in words
    assert max(map(len, said.out.splitlines())) <= 80
    document = lifecycle(
        "drift", "estimate", MODEL, "1", "--windows", "10", "--json", "--home", lived
    ).document
    assert (document["estimate"], document["version"], document["promised_accuracy"]) == (True, "1", 0.83)
    before, after = document["stretches"]
    assert (before["unexplained"], after["unexplained"]) == (False, True)
    assert f"{after['estimated']['accuracy']:.3f}" in said.out
    assert f"{after['realised']['accuracy']:.3f}" in said.out
    assert document["whole"]["windows"] == 20


def test_a_page_needs_nothing_else(lived: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "estimate.html"
    said = lifecycle("drift", "estimate", MODEL, "--out", out, "--home", lived)
    assert said.code == 0
    page = out.read_text("utf-8")
    assert page.count("<svg") == 2
    assert "http" not in page


def test_a_version_without_a_calibration_is_told_how_to_get_one(tmp_path: Path) -> None:
    home = home_of(tmp_path, drifting_life)
    line = lifecycle("drift", "estimate", MODEL, "--home", home).refuses(WRONG)
    assert "version 1 of m has no calibration: its task is regression" in line
    assert "other has no window rows" in lifecycle("drift", "estimate", "other", "--home", home).refuses(
        WRONG
    )
