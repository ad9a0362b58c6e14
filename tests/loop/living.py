"""A deployment on the embedded engine, a PredictionService of its own, and experiments to their end."""

import hashlib
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import orjson

from consumers.bootstrap import System, open_system
from consumers.log.port import NewRecord
from consumers.services.experiments import ExperimentManager
from consumers.services.importing import Import, register
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
