"""Experiments from the SDK to the registry on the embedded engine: better, equal and worse challengers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consumers.services.experiments import ExperimentManager
from consumers.services.policies import checked, put_in_force
from consumers.store.repositories.experiments import ExperimentRepository
from consumers.store.session import WriteSession
from schemas.events import ExperimentStatus
from tests.loop.living import (
    EXPERIMENT,
    LENGTH_MS,
    MODEL,
    PER_WINDOW,
    STRATEGIES,
    Orders,
    Scenario,
    again_from_the_log,
    play,
)

BY: dict[str, Any] = {"actor": "ada", "reason": "a test"}
RAMP: Orders = {
    4: lambda manager, session: manager.ramp(session, EXPERIMENT, {"challenger": 0.2}, **BY),
    8: lambda manager, session: manager.pause(session, EXPERIMENT, **BY),
    11: lambda manager, session: manager.resume(session, EXPERIMENT, **BY),
    14: lambda manager, session: manager.ramp(session, EXPERIMENT, {"challenger": 0.6}, **BY),
}


def assert_holds_from_the_log(outcome: dict[str, Any]) -> None:
    assert outcome["replay"].equal
    assert outcome["replay"].decisions >= 1
    assert outcome["balanced"]


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_truly_better_challenger_is_promoted_and_served(strategy: str, tmp_path: Path) -> None:
    scenario = Scenario(strategy, champion_sd=1.0, challenger_sd=0.6, seed=1)
    outcome = await play(tmp_path, scenario)
    assert outcome["status"] is ExperimentStatus.COMPLETED_PROMOTED
    assert [verdict["verdict"] for verdict in outcome["verdicts"]] == ["PROMOTE"]
    assert outcome["production"] == "2"
    assert outcome["served"].version == "2"
    assert outcome["served"].epoch == 2
    assert_holds_from_the_log(outcome)
    assert await again_from_the_log(tmp_path, scenario) == outcome["ends"]


@pytest.mark.parametrize("strategy", ["PERCENTAGE_SPLIT", "USER_SEGMENT", "SWITCHBACK"])
async def test_ramps_and_pauses_change_the_traffic_and_neither_verdict_nor_replay(
    strategy: str, tmp_path: Path
) -> None:
    scenario = Scenario(strategy, champion_sd=1.0, challenger_sd=0.6, seed=1)
    outcome = await play(tmp_path, scenario, orders=RAMP)
    (verdict,) = outcome["verdicts"]
    assert verdict["verdict"] == "PROMOTE"
    assert verdict["invalid"] == [], "each epoch kept the shares that it was promised"
    assert outcome["production"] == "2"
    assert_holds_from_the_log(outcome)


async def test_what_a_person_stops_has_no_verdict_and_the_champion_stays(tmp_path: Path) -> None:
    scenario = Scenario("PERCENTAGE_SPLIT", champion_sd=1.0, challenger_sd=0.6, seed=1)
    stop: Orders = {6: lambda manager, session: manager.stop(session, EXPERIMENT, **BY)}
    outcome = await play(tmp_path, scenario, orders=stop)
    assert outcome["status"] is ExperimentStatus.COMPLETED_ROLLED_BACK
    assert outcome["verdicts"] == []
    assert (outcome["production"], outcome["challenger_stage"]) == ("1", "ARCHIVED")
    assert outcome["replay"].equal


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_worse_challenger_is_rolled_back_and_archived(strategy: str, tmp_path: Path) -> None:
    scenario = Scenario(strategy, champion_sd=0.6, challenger_sd=1.0, seed=2)
    outcome = await play(tmp_path, scenario)
    assert outcome["status"] is ExperimentStatus.COMPLETED_ROLLED_BACK
    assert [verdict["verdict"] for verdict in outcome["verdicts"]] == ["ROLL_BACK"]
    assert outcome["production"] == "1"
    assert outcome["challenger_stage"] == "ARCHIVED"
    assert_holds_from_the_log(outcome)
    assert await again_from_the_log(tmp_path, scenario) == outcome["ends"]


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_an_equal_challenger_reaches_the_horizon_and_the_incumbent_stays(
    strategy: str, tmp_path: Path
) -> None:
    scenario = Scenario(strategy, champion_sd=1.0, challenger_sd=1.0, seed=3)
    outcome = await play(tmp_path, scenario)
    assert [verdict["verdict"] for verdict in outcome["verdicts"]] == ["INCONCLUSIVE"]
    assert outcome["status"] is ExperimentStatus.COMPLETED_ROLLED_BACK
    assert outcome["production"] == "1"
    assert outcome["challenger_stage"] == "ARCHIVED"
    assert_holds_from_the_log(outcome)
    assert await again_from_the_log(tmp_path, scenario) == outcome["ends"]


@pytest.mark.parametrize(
    "champion_sd,challenger_sd,kind,production",
    [(1.0, 0.6, "PROMOTE", "2"), (0.6, 1.0, "ROLL_BACK", "1")],
)
async def test_a_verdict_that_policy_leaves_to_a_person_is_decided_at_once_and_carried_out_by_them(
    champion_sd: float, challenger_sd: float, kind: str, production: str, tmp_path: Path
) -> None:
    by_hand = {"verdicts": {"promote": "by_hand", "roll_back": "by_hand"}}
    completed: list[str] = []

    async def complete(manager: ExperimentManager, session: WriteSession) -> None:
        record = await ExperimentRepository(session).get(EXPERIMENT)
        assert record is not None
        assert record.status is ExperimentStatus.RUNNING, "it waits, with the traffic as it was"
        completed.append(await manager.complete(session, EXPERIMENT, **BY))

    orders: Orders = {0: lambda _, session: put_in_force(session, MODEL, checked(by_hand)), 55: complete}
    scenario = Scenario("PERCENTAGE_SPLIT", champion_sd, challenger_sd, seed=1)
    outcome = await play(tmp_path, scenario, orders=orders)
    assert completed == [kind]
    assert [verdict["verdict"] for verdict in outcome["verdicts"]] == [kind]
    assert outcome["production"] == production
    assert_holds_from_the_log(outcome)


HOLD_BACK = {"share": 0.25, "duration_ms": 40 * LENGTH_MS}


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_version_that_disappoints_once_it_serves_gives_way_to_the_one_held_back(
    strategy: str, tmp_path: Path
) -> None:
    scenario = Scenario(strategy, 1.0, 0.6, seed=1, promoted_sd=1.8, hold_back=HOLD_BACK)
    outcome = await play(tmp_path, scenario, windows=120)
    assert outcome["status"] is ExperimentStatus.COMPLETED_PROMOTED
    assert [(v["verdict"], v["version"]) for v in outcome["verdicts"]] == [("PROMOTE", "2"), ("PROMOTE", "1")]
    assert outcome["verdicts"][1]["experiment"] == f"{EXPERIMENT}-hold-back"
    assert (outcome["production"], outcome["challenger_stage"]) == ("1", "ARCHIVED")
    assert (outcome["served"].version, outcome["served"].epoch) == ("1", 3)
    assert_holds_from_the_log(outcome)


@pytest.mark.parametrize("promoted_sd,verdict", [(None, "ROLL_BACK"), (1.0, "INCONCLUSIVE")])
async def test_a_version_that_keeps_its_promise_gets_all_the_traffic_when_its_hold_back_ends(
    promoted_sd: float | None, verdict: str, tmp_path: Path
) -> None:
    scenario = Scenario("PERCENTAGE_SPLIT", 1.0, 0.6, seed=1, promoted_sd=promoted_sd, hold_back=HOLD_BACK)
    outcome = await play(tmp_path, scenario, windows=120)
    assert [each["verdict"] for each in outcome["verdicts"]] == ["PROMOTE", verdict]
    assert outcome["production"] == "2"
    assert_holds_from_the_log(outcome)


async def test_the_control_another_plan_on_the_same_log_does_not_end_the_same(tmp_path: Path) -> None:
    scenario = Scenario("PERCENTAGE_SPLIT", champion_sd=1.0, challenger_sd=0.6, seed=1)
    outcome = await play(tmp_path, scenario)
    assert await again_from_the_log(tmp_path, scenario) == outcome["ends"]
    stricter = replace(scenario, fields={"alpha": 0.049})
    assert await again_from_the_log(tmp_path, stricter, "stricter") != outcome["ends"]


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_of_two_challengers_the_better_one_is_promoted_and_the_other_archived(
    strategy: str, tmp_path: Path
) -> None:
    fields = {"n_star": 2_500, "max_outcomes": 6_000, "harm": []}
    scenario = Scenario(strategy, 1.0, 0.95, seed=1, third_sd=0.5, fields=fields)
    outcome = await play(tmp_path, scenario, windows=120)
    assert [(each["verdict"], each["version"]) for each in outcome["verdicts"]] == [("PROMOTE", "3")]
    assert outcome["verdicts"][0]["treatments"]["third"]["primary"]["alpha"] == 0.025
    assert outcome["ends"]["stages"] == {"1": "ARCHIVED", "2": "ARCHIVED", "3": "PRODUCTION"}
    assert outcome["served"].version == "3"
    assert_holds_from_the_log(outcome)
    assert await again_from_the_log(tmp_path, scenario) == outcome["ends"]


@pytest.mark.parametrize(
    "champion_sd,challenger_sd,verdict",
    [(1.0, 0.6, "PROMOTE"), (0.6, 1.0, "ROLL_BACK"), (1.0, 1.0, "INCONCLUSIVE")],
)
async def test_among_the_units_of_named_segments_it_ends_as_it_should_and_others_have_no_part(
    champion_sd: float, challenger_sd: float, verdict: str, tmp_path: Path
) -> None:
    scenario = Scenario("USER_SEGMENT", champion_sd, challenger_sd, seed=4, fields={"segments": ["vip"]})
    outcome = await play(tmp_path, scenario, windows=90)
    (found,) = outcome["verdicts"]
    assert (found["verdict"], found["invalid"]) == (verdict, [])
    taken_part = sum(arm["n"] for arm in found["arms"].values())
    through = found["last_window_ms"] // LENGTH_MS
    assert 0.7 < taken_part / (through * PER_WINDOW) < 0.8, "three quarters of the units are vip"
    assert_holds_from_the_log(outcome)
    assert await again_from_the_log(tmp_path, scenario) == outcome["ends"]


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_any_of_several_primaries_promotes(strategy: str, tmp_path: Path) -> None:
    fields = {
        "primary": {"metric": "directional_return", "direction": "increase"},
        "more_primaries": [{"metric": "squared_error", "direction": "decrease"}],
        "harm": [],
    }
    scenario = Scenario(strategy, 1.0, 0.5, seed=1, fields=fields)
    outcome = await play(tmp_path, scenario)
    (found,) = outcome["verdicts"]
    assert found["verdict"] == "PROMOTE"
    measures = found["treatments"]["challenger"]
    assert [each["alpha"] for each in (measures["primary"], *measures["more_primaries"])] == [0.025, 0.025]
    assert outcome["production"] == "2"
    assert_holds_from_the_log(outcome)
    assert await again_from_the_log(tmp_path, scenario) == outcome["ends"]
