"""What the judge spends on an experiment is measured with an experiment that really runs on."""

import json
from pathlib import Path

import pytest

from bench.judge_experiments import KINDS, Cost, course, main, plan, pool, rising
from consumers.bench.cost import Spread


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_every_kind_closes_a_batch_at_a_time_and_does_not_end(tmp_path: Path, kind: object) -> None:
    (chosen,) = [each for each in KINDS if each is kind]
    costs = await course(tmp_path, chosen, [3, 25], repeats=2, batches=2)
    assert [(each.kind, each.past) for each in costs] == [(chosen.name, 3), (chosen.name, 25)]
    assert all(0 < each.core.least <= each.core.median <= each.core.most for each in costs)
    assert all(each.whole.least > 0 and each.state_bytes > 500 for each in costs)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_window_and_its_mirror_image_cancel(kind: object) -> None:
    (chosen,) = [each for each in KINDS if each is kind]
    first, second = ({arm: json.loads(body) for arm, body in each.items()} for each in pool(chosen)[:2])
    metric = plan(chosen).primary.metric

    def gap(window: dict[str, dict[str, dict[str, dict[str, float]]]]) -> float:
        if chosen.strategy == "SHADOW_MODE":
            return window["challenger"]["paired"][metric]["mean"]
        return window["challenger"]["metrics"][metric]["mean"] - window["champion"]["metrics"][metric]["mean"]

    assert gap(first) != 0
    assert gap(first) == -gap(second)


def test_a_cost_that_rises_is_named_and_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    def cost(past: int, core: float, whole: float) -> Cost:
        return Cost(kind="split", past=past, core=Spread.of([core]), whole=Spread.of([whole]), state_bytes=1)

    assert rising([cost(1, 1.0, 1.0), cost(9, 1.4, 1.4)], 1.5) == []
    assert rising([cost(1, 1.0, 1.0), cost(9, 1.0, 1.6)], 1.5) == ["split"]
    quick = ["--past", "2", "--past", "4", "--kind", "split", "--repeats", "1", "--batches", "1", "--json"]
    assert main([*quick, "--flat", "1000"]) == 0
    assert [each["past"] for each in json.loads(capsys.readouterr().out)] == [2, 4]
    assert main([*quick, "--flat", "0.000001"]) == 1
    assert "not flat: split" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--past", "0"])
