"""`python -m bench.judge_drift` measures whole judgements: the same decisions with a store and without."""

import gc
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from bench import judge_drift
from bench.judge_drift import Result, linear, main, measure
from bench.judging.rows import BESIDE, Cell, Part
from consumers.bench.cost import Spread

CELL = Cell(part="judge", stream="drifting", features=2, models=2, windows=8)


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    """The garbage collector as it was: the command sets it up for a process that only measures."""
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    gc.unfreeze()


@pytest.mark.parametrize("part", ["worker live", "worker catching up"])
def test_the_worker_decides_what_the_pure_judge_does(part: Part) -> None:
    pure = measure(CELL, 1, 1)
    assert pure.decisions >= 2
    assert measure(replace(CELL, part=part), 1, 1).decisions == pure.decisions


def test_streams_are_what_they_are_called() -> None:
    quiet = [measure(replace(CELL, stream=each), 1, 1) for each in ("stationary", "tolerated")]
    assert [found.decisions for found in quiet] == [0, 0]


def test_slopes_are_those_of_the_costs() -> None:
    def found(features: int, models: int, cost: float) -> Result:
        cell = replace(CELL, features=features, models=models)
        return Result(cell=cell, cost=Spread(median=cost, least=cost, most=cost), decisions=0)

    rows = [found(1, 1, 110.0), found(50, 1, 600.0), found(500, 1, 9_600.0)]
    models = [found(12, 1, 200.0), found(12, 100, 300.0)]
    slopes = list(linear([*rows, *models]))
    assert [each.slope_us for each in slopes] == [10.0, 20.0, 300.0]
    assert [each.ratio for each in slopes][1:] == [2.0, 1.5]


def test_the_command_prints_tables_or_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge_drift, "WINDOWS", 4)
    monkeypatch.setattr(judge_drift, "MODELS", (1, 2, 3))
    monkeypatch.setattr(judge_drift, "FEATURES", (1, 2, 3))
    assert main(["--part", "judge", "--repeats", "1", "--quick"]) == 0
    printed = capsys.readouterr().out
    assert "us/window" in printed
    assert "us per feature" in printed
    assert main(["--part", "judge", "--repeats", "1", "--quick", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {row["features"] for row in document["results"]} == {1, 2, BESIDE}
    assert all(row["us_per_window"] > 0 for row in document["results"])
    assert {each["what"] for each in document["linear"]} == {"features", "models"}
