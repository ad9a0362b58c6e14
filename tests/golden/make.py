"""A home whose experiments were decided by the code at hand: `python -m tests.golden.make FILE.tar.xz`.

Four models, each with an experiment of another kind, in one small deployment on the embedded engine: a ramp,
a pause, a promotion with its hold-back, a roll-back, a horizon, three arms, named segments, a ratio, exact
odds and McNemar. Drift detectors are off: what is kept here is how experiments are decided. The archive holds
the log and the store as that code left them, and `expected.json` with its decisions.
"""

import asyncio
import hashlib
import io
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from consumers.bootstrap import System, open_system
from consumers.log.port import NewRecord
from consumers.services.importing import Import, register
from consumers.services.policies import checked, put_in_force
from consumers.settings import load_settings
from consumers.store.repositories.decisions import DecisionRepository
from consumers.workers.shell import Worker, settle
from domain.experiments.plan import ExperimentPlan
from domain.registry.version import ModelArtifact
from lifecycle_sdk import EmbeddedEvents, EmbeddedPublisher, OutcomeObserved, PredictionMade, Router
from schemas.clock import from_ms

LENGTH_MS, SLACK_MS = 60_000, 1_000
PER_WINDOW, UNITS, WINDOWS = 24, 60, 42
SETTINGS: dict[str, Any] = {
    "partitions": 2,
    "heartbeats": False,
    "windows": {"length_s": LENGTH_MS / 1_000, "slack_s": SLACK_MS / 1_000, "grace_s": 1.0},
}
FILES = ("log.sqlite", "store.sqlite")
POLICY = {
    "drift": {"features": None, "predictions": None, "errors": None},
    "alpha_budget": {"per_quarter": 1.0},
}
BY: dict[str, Any] = {"actor": "ada", "reason": "golden"}
ERROR = {"metric": "abs_error", "direction": "decrease"}
HIT = {"metric": "sign_hit", "direction": "increase"}
PNL = {"metric": "value.pnl", "direction": "increase", "denominator": "value.size"}


@dataclass(frozen=True)
class Model:
    """How wrong each version is, from version 1 on, and the plan's own fields."""

    name: str
    strategy: str
    sds: tuple[float, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def experiment(self) -> str:
        return f"{self.name}-e"


MODELS = (
    Model(
        "split",
        "PERCENTAGE_SPLIT",
        (1.0, 0.45),
        {
            "hold_back": {"share": 0.3, "duration_ms": 15 * LENGTH_MS},
            "guardrails": [{"metric": "squared_error", "direction": "decrease", "margin": 0.5}],
        },
    ),
    Model(
        "odds",
        "PERCENTAGE_SPLIT",
        (0.2, 1.5, 0.3),
        {"primary": HIT, "harm": [HIT], "base_rate": 0.9, "mde": 0.05},
    ),
    Model("shadow", "SHADOW_MODE", (1.5, 0.2), {"primary": HIT, "harm": []}),
    Model(
        "units",
        "USER_SEGMENT",
        (1.0, 1.0),
        {"primary": PNL, "segments": ["vip"], "harm": [ERROR], "max_outcomes": 500},
    ),
    Model("switch", "SWITCHBACK", (0.5, 1.2), {"period_ms": 20_000}),
)


def plan(model: Model) -> ExperimentPlan:
    share = 0.0 if model.strategy == "SHADOW_MODE" else 1 / len(model.sds)
    return ExperimentPlan.from_json(
        {
            "experiment": model.experiment,
            "model": model.name,
            "strategy": model.strategy,
            "variants": [
                {"name": f"arm-{number}", "version": str(number), "share": share, "champion": number == 1}
                for number in range(1, len(model.sds) + 1)
            ],
            "primary": ERROR,
            "harm": [ERROR],
            "alpha": 0.1,
            "harm_alpha": 0.1,
            "minimums": {"batches": 10, "outcomes_per_arm": 40},
            "batch": {"min_outcomes": 20, "min_per_arm": 3, "horizon_multiple": 1.0},
            "n_star": 400,
            "max_outcomes": 900,
            **model.fields,
        }
    )


async def prepare(system: System, model: Model) -> None:
    async with system.store.write() as session:
        for number in range(1, len(model.sds) + 1):
            digest = hashlib.sha256(f"{model.name} {number}".encode()).hexdigest()
            artifact = ModelArtifact(uri="local:golden", sha256=digest, manifest={"files": []})
            brought = Import(model=model.name, task="regression", artifact=artifact, profile=None)
            await register(system.registry(), session, brought, at_ms=0, **BY)
        await system.registry().promote(session, model.name, "1", expected_production=None, at_ms=0, **BY)
        await put_in_force(session, model.name, checked(POLICY))
        await system.experiments().create(session, plan(model))
        await system.experiments().start(session, model.experiment, at_ms=0)


async def orders(system: System, window: int) -> None:
    manager = system.experiments()
    async with system.store.write() as session:
        if window == 3:
            await manager.ramp(session, "split-e", {"arm-2": 0.2}, **BY)
            await manager.ramp(session, "units-e", {"arm-2": 0.3}, **BY)
        if window == 6:
            await manager.pause(session, "split-e", **BY)
        if window == 8:
            await manager.resume(session, "split-e", **BY)
        if window == 9:
            await manager.ramp(session, "split-e", {"arm-2": 0.6}, **BY)


def answers(
    number: int, model: Model, router: Router, source: Random
) -> Iterator[PredictionMade | OutcomeObserved]:
    """One window of requests to a service that knows the answer up to its version's error."""
    for index in range(PER_WINDOW):
        at_ms = number * LENGTH_MS + index * LENGTH_MS // PER_WINDOW
        request, actual = f"{model.name}-{number}-{index}", round(source.gauss(0, 1), 2)
        unit = source.randrange(UNITS)
        segment = "vip" if unit % 4 else "other"
        for arm in router.route(request, f"u{unit}", segment=segment, at=from_ms(at_ms)):
            yield PredictionMade(
                prediction_id=request,
                model=model.name,
                version=arm.version,
                variant=arm.variant,
                experiment=arm.experiment,
                epoch=arm.epoch,
                served=arm.served,
                unit=f"u{unit}",
                prediction=round(actual + source.gauss(0, model.sds[int(arm.version) - 1]), 2),
                covariate=round(actual / 2, 2) if model.name == "split" else None,
                horizon_s=1,
                occurred_at=from_ms(at_ms),
            )
        values = {"pnl": round(source.gauss(0, 1), 2), "size": 1.0} if model.name == "units" else {}
        if source.random() < 0.98:
            at = from_ms(at_ms + 1_000)
            yield OutcomeObserved(prediction_id=request, actual=actual, values=values, occurred_at=at)


async def tick(system: System, number: int) -> None:
    now_ms = (number + 1) * LENGTH_MS + SLACK_MS
    topics = (system.topics.predictions, system.topics.outcomes)
    await system.log.append(
        [
            NewRecord(topic=topic, key=None, value=None, timestamp_ms=now_ms, partition=partition)
            for topic in topics
            for partition in range(SETTINGS["partitions"])
        ]
    )


async def live(home: Path) -> None:
    system = await open_system(load_settings(home, **SETTINGS), create=True)
    try:
        for model in MODELS:
            await prepare(system, model)
        names = ("tally", "judge", "relay", "registry", "trainer")
        workers: dict[str, Worker] = {name: await system.worker(name) for name in names}
        await settle(workers)
        events = [EmbeddedEvents(home / "log.sqlite") for _ in MODELS]
        publisher = EmbeddedPublisher(home / "log.sqlite", producer="golden")
        routers = [Router(each, model.name) for each, model in zip(events, MODELS, strict=True)]
        sources = [Random(index) for index in range(len(MODELS))]
        for number in range(WINDOWS):
            await orders(system, number)
            await settle(workers)
            said: list[PredictionMade | OutcomeObserved] = []
            for model, router, source in zip(MODELS, routers, sources, strict=True):
                await router.poll()
                # what comes after an experiment would only make the archive larger
                if router.experiment is not None:
                    said += answers(number, model, router, source)
            await publisher.publish(sorted(said, key=lambda event: event.occurred_at), sequence=number)
            await tick(system, number)
            await settle(workers)
        await publisher.close()
        for each in events:
            await each.close()
        report = await system.replaying.replay()
        if not report.equal:
            raise RuntimeError("the code does not agree with itself")
    finally:
        await system.close()


async def decisions(home: Path) -> list[dict[str, Any]]:
    """What the store of `home` says was decided, in order."""
    system = await open_system(load_settings(home, **SETTINGS))
    try:
        async with system.store.read() as session:
            found = await DecisionRepository(session).list()
    finally:
        await system.close()
    return [{"decision_id": each.decision_id, "body": each.body.decode()} for each in found]


def main(target: Path) -> int:
    with TemporaryDirectory() as folder:
        home = Path(folder)
        asyncio.run(live(home))
        expected = orjson.dumps(asyncio.run(decisions(home)), option=orjson.OPT_INDENT_2)
        with tarfile.open(target, "w:xz", preset=9) as archive:
            for name in FILES:
                archive.add(home / name, name, filter=anonymous)
            entry = tarfile.TarInfo("expected.json")
            entry.size = len(expected)
            archive.addfile(entry, io.BytesIO(expected))
    for each in orjson.loads(expected):
        evidence = orjson.loads(each["body"])["evidence"]
        said = (evidence[name] or "-" for name in ("experiment", "verdict", "treatment", "rule"))
        sys.stdout.write("; ".join(said) + "\n")
    sys.stdout.write(f"{target}: {target.stat().st_size:,} bytes\n")
    return 0


def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without the maker's name and time."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
