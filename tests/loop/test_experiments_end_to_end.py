"""Experiments from the SDK to the registry on the embedded engine: better, equal and worse challengers."""

import hashlib
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from consumers.bootstrap import System, open_system
from consumers.log.port import NewRecord
from consumers.services.experiments import ExperimentManager
from consumers.services.importing import Import, register
from consumers.services.policies import checked, put_in_force
from consumers.settings import load_settings
from consumers.store.repositories.decisions import DecisionRepository
from consumers.store.repositories.experiments import ExperimentRepository
from consumers.store.repositories.models import ModelRepository
from consumers.store.session import WriteSession
from consumers.workers.shell import Worker, settle
from domain.experiments.plan import ExperimentPlan
from domain.registry.version import ModelArtifact
from lifecycle_sdk import EmbeddedEvents, EmbeddedPublisher, OutcomeObserved, PredictionMade, Router
from schemas.clock import from_ms
from schemas.events import ExperimentStatus

MODEL = "m"
EXPERIMENT = "m-2-v-1"
LENGTH_MS, SLACK_MS = 60_000, 1_000
PER_WINDOW = 60
UNITS = 300
STRATEGIES = ["PERCENTAGE_SPLIT", "USER_SEGMENT", "SHADOW_MODE", "SWITCHBACK"]


@dataclass(frozen=True)
class Scenario:
    """How wrong each version is, in standard deviations of its error."""

    strategy: str
    champion_sd: float
    challenger_sd: float
    seed: int
    promoted_sd: float | None = None
    """Of the challenger once it is PRODUCTION; None is no change."""
    hold_back: dict[str, Any] | None = None
    third_sd: float | None = None
    """Of a second challenger, version 3; None where there is none."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Of the plan, beside those that all scenarios share."""


def plan(scenario: Scenario) -> ExperimentPlan:
    strategy = scenario.strategy
    names = ["challenger"] if scenario.third_sd is None else ["challenger", "third"]
    share = 0.0 if strategy == "SHADOW_MODE" else 1 / (len(names) + 1)
    challengers = [
        {"name": name, "version": str(number), "share": share} for number, name in enumerate(names, start=2)
    ]
    return ExperimentPlan.from_json(
        {
            "experiment": EXPERIMENT,
            "model": MODEL,
            "strategy": strategy,
            "variants": [
                {"name": "champion", "version": "1", "share": 1 - len(names) * share, "champion": True},
                *challengers,
            ],
            "primary": {"metric": "abs_error", "direction": "decrease"},
            "harm": [{"metric": "abs_error", "direction": "decrease", "margin": 0.0}],
            "minimums": {"batches": 20, "outcomes_per_arm": 100},
            "batch": {"min_outcomes": 50, "min_per_arm": 10, "horizon_multiple": 1.0},
            "n_star": 1_500,
            "max_outcomes": 2_700,
            "hold_back": scenario.hold_back,
            "period_ms": LENGTH_MS if strategy == "SWITCHBACK" else None,
            **scenario.fields,
        }
    )


async def a_deployment(home: Path) -> System:
    settings = load_settings(
        home,
        partitions=2,
        heartbeats=False,
        windows={"length_s": LENGTH_MS / 1_000, "slack_s": SLACK_MS / 1_000, "grace_s": 1.0},
    )
    return await open_system(settings, create=True)


async def with_versions(system: System, scenario: Scenario) -> None:
    for number in (b"1", b"2") if scenario.third_sd is None else (b"1", b"2", b"3"):
        digest = hashlib.sha256(number).hexdigest()
        async with system.store.write() as session:
            artifact = ModelArtifact(uri="local:m/x", sha256=digest, manifest={"files": []})
            brought = Import(model=MODEL, task="regression", artifact=artifact, profile=None)
            await register(system.registry(), session, brought, actor="test", reason="made", at_ms=0)
    async with system.store.write() as session:
        await system.registry().promote(
            session, MODEL, "1", expected_production=None, actor="test", reason="first", at_ms=0
        )
    async with system.store.write() as session:
        manager = system.experiments()
        await manager.create(session, plan(scenario))
        await manager.start(session, EXPERIMENT, at_ms=0)


class Service:
    """A PredictionService that knows the answer up to its version's error."""

    def __init__(self, home: Path, scenario: Scenario) -> None:
        self._publisher = EmbeddedPublisher(home / "log.sqlite", producer="service")
        self._events = EmbeddedEvents(home / "log.sqlite")
        self.router = Router(self._events, MODEL)
        self._sd = {"1": scenario.champion_sd, "2": scenario.challenger_sd, "3": scenario.third_sd or 0.0}
        self._promoted_sd = scenario.promoted_sd
        self._random = Random(scenario.seed)

    async def window(self, number: int) -> None:
        await self.router.poll()
        current = self.router.production.current
        if current is not None and current.version == "2" and self._promoted_sd is not None:
            self._sd["2"] = self._promoted_sd
        events: list[PredictionMade | OutcomeObserved] = []
        for index in range(PER_WINDOW):
            at_ms = number * LENGTH_MS + index * LENGTH_MS // PER_WINDOW
            request, actual = f"{number}-{index}", self._random.gauss(0, 1)
            number_of_unit = self._random.randrange(UNITS)
            unit, segment = f"user-{number_of_unit}", "vip" if number_of_unit % 4 else "other"
            for assignment in self.router.route(request, unit, segment=segment, at=from_ms(at_ms)):
                error = self._random.gauss(0, self._sd[assignment.version])
                events.append(
                    PredictionMade(
                        prediction_id=request,
                        model=MODEL,
                        version=assignment.version,
                        variant=assignment.variant,
                        experiment=assignment.experiment,
                        epoch=assignment.epoch,
                        served=assignment.served,
                        unit=unit,
                        prediction=actual + error,
                        horizon_s=1,
                        occurred_at=from_ms(at_ms),
                    )
                )
            events.append(
                OutcomeObserved(prediction_id=request, actual=actual, occurred_at=from_ms(at_ms + 1_000))
            )
        await self._publisher.publish(sorted(events, key=lambda e: e.occurred_at), sequence=number)

    async def close(self) -> None:
        await self._publisher.close()
        await self._events.close()


async def tick(system: System, number: int) -> None:
    """Time passes the window's end and the last outcome's cutoff."""
    now_ms = (number + 1) * LENGTH_MS + SLACK_MS
    topics = (system.topics.predictions, system.topics.outcomes)
    await system.log.append(
        [
            NewRecord(topic=topic, key=None, value=None, timestamp_ms=now_ms, partition=partition)
            for topic in topics
            for partition in range(2)
        ]
    )


async def ended(system: System) -> bool:
    async with system.store.read() as session:
        return await ExperimentRepository(session).running(MODEL) is None


Orders = Mapping[int, Callable[[ExperimentManager, WriteSession], Awaitable[object]]]
"""By the window before which they are given."""


async def play(
    home: Path, scenario: Scenario, windows: int = 60, orders: Orders | None = None
) -> dict[str, Any]:
    system = await a_deployment(home)
    service = Service(home, scenario)
    try:
        await with_versions(system, scenario)
        workers: dict[str, Worker] = {
            name: await system.worker(name) for name in ("tally", "judge", "relay", "registry", "trainer")
        }
        await settle(workers)
        for number in range(windows):
            if orders is not None and number in orders:
                async with system.store.write() as session:
                    await orders[number](system.experiments(), session)
                await settle(workers)
            await service.window(number)
            await tick(system, number)
            await settle(workers)
            if await ended(system):
                break
        report = await system.replaying.replay()
        accounts = await system.reconciling.accounts()
        async with system.store.read() as session:
            record = await ExperimentRepository(session).get(EXPERIMENT)
            verdicts = await DecisionRepository(session).list(kind="verdict")
            production = await ModelRepository(session).production(MODEL)
            stages = {
                each.version: each.stage.value for each in await ModelRepository(session).versions(MODEL)
            }
        assert record is not None
        assert production is not None
        await service.router.poll()
        return {
            "status": record.status,
            "verdicts": [orjson.loads(verdict.body)["evidence"] for verdict in verdicts],
            "production": production.version,
            "challenger_stage": stages["2"],
            "ends": await ends(system),
            "served": service.router.production.current,
            "replay": report,
            "balanced": all(account.balanced for account in accounts),
        }
    finally:
        await service.close()
        await system.close()


async def ends(system: System) -> dict[str, Any]:
    """All decisions to the byte, and what became of every version and of the experiment."""
    async with system.store.read() as session:
        record = await ExperimentRepository(session).get(EXPERIMENT)
        assert record is not None
        versions = await ModelRepository(session).versions(MODEL)
        return {
            "decisions": [(each.decision_id, each.body) for each in await DecisionRepository(session).list()],
            "stages": {each.version: each.stage for each in versions},
            "experiment": (record.status, record.decision_id, record.closed_at_ms),
        }


async def again_from_the_log(home: Path, scenario: Scenario, name: str = "again") -> dict[str, Any]:
    """How it ends in a home that knows nothing but the plan, the versions and a copy of the log."""
    fresh = home / name
    fresh.mkdir()
    shutil.copy(home / "log.sqlite", fresh / "log.sqlite")
    system = await a_deployment(fresh)
    try:
        await with_versions(system, scenario)
        names = ("tally", "judge", "relay", "registry", "trainer")
        workers: dict[str, Worker] = {name: await system.worker(name) for name in names}
        await settle(workers)
        return await ends(system)
    finally:
        await system.close()


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
