"""The demo's clock: publishes week after week, and waits after each until every process is idle.

What is served in a week depends on the weeks before it and on nothing else: not on the machine's speed, and
not on where a run was killed. Each week's events and each week's heartbeat are appended once (idempotent
producers), and whatever was going on when a run died is finished before the clock moves on.
"""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from consumers.bootstrap import System, open_system
from consumers.demo.collect import collect
from consumers.demo.plan import (
    HORIZON_S,
    MODEL,
    TOPIC_PREFIX,
    WEEK_MS,
    policy_document,
    settings_document,
)
from consumers.demo.service import PredictionServiceProcess
from consumers.demo.stages import InProcess, Processes, Stage
from consumers.demo.story import DemoStory
from consumers.log.embedded import EmbeddedLog
from consumers.services.policies import checked, put_in_force
from consumers.settings import SETTINGS_FILE, load_settings
from consumers.store.repositories.models import ModelRepository
from consumers.store.repositories.policies import PolicyRepository
from consumers.toml import write_toml
from domain.errors import DomainError
from domain.retraining.history import HistoryRow, LabelledRow

ACTOR = "demo"
REASON = "trained on the first eight years of prices, before serving begins"
WeekDone = Callable[[int, int], None]
"""Called with the weeks done and all weeks."""


class DemoUnavailable(DomainError):
    """The demo needs the `examples` folder of a clone, and the packages of the `demo` extra."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """One run of the demo in `home`; a run that was killed is taken up where it was."""

    home: Path
    examples: Path
    weeks: int | None = None
    """Stop after so many weeks; None: all of them."""
    kafka: str | None = None
    """Brokers to play on, every worker a process; None: the embedded log, all in this process."""
    topic_prefix: str = TOPIC_PREFIX
    """Of the topics on Kafka."""
    database: str | None = None
    """URL of the store; None: a file in `home`."""

    async def run(self, week_done: WeekDone) -> DemoStory:
        """Play all weeks, check the books, write the report."""
        brent = _load(self.examples / "brent.py")
        self._write_settings()
        system = await open_system(load_settings(self.home), create=True)
        try:
            await self._begin(system, brent)
            stage = _stage(system)
            try:
                await stage.begin()
                await self._play(system, stage, brent, week_done)
            finally:
                await stage.end()
            return await self._tell(system, brent)
        finally:
            await system.close()

    def _write_settings(self) -> None:
        path = self.home / SETTINGS_FILE
        if not path.exists():
            document = settings_document(
                kafka=self.kafka, topic_prefix=self.topic_prefix, database=self.database
            )
            write_toml(path, document)
            path.chmod(0o600)  # the database's URL may hold a password
        # a demo that is taken up goes on with what it was begun with
        begun = load_settings(self.home)
        if self.kafka is not None and begun.kafka.bootstrap != self.kafka:
            raise DemoUnavailable(f"the demo in {self.home} is not on {self.kafka}: name another --home")

    # ------------------------------------------------------------ before the first week

    async def _begin(self, system: System, brent: ModuleType) -> None:
        """Version 1, trained by the same pipeline as every later one, and the model's policy."""
        async with system.store.read() as session:
            known = await PolicyRepository(session).all(MODEL)
            production = await ModelRepository(session).production(MODEL)
        if known and production is not None:
            return
        if await system.log.end(system.topics.predictions, 0):
            raise DemoUnavailable(
                f"topics {system.topics.prefix}… hold a demo already, and this store knows nothing of it: "
                "delete them, or use the database that they were played with"
            )
        archive = self.home / "archive.parquet"
        policy = checked(
            policy_document(
                trainer=self.examples / "train_xgboost.py",
                archive=archive,
                archive_sha256=brent.write_archive(archive),
            )
        )
        await system.trainer().bootstrap(
            MODEL,
            _archive_rows(brent),
            policy=policy,
            as_of_ms=min(brent.weeks()) * WEEK_MS,
            actor=ACTOR,
            reason=REASON,
        )
        if not known:
            async with system.store.write() as session:
                await put_in_force(session, MODEL, policy)

    # ------------------------------------------------------------ week by week

    async def _play(self, system: System, stage: Stage, brent: ModuleType, week_done: WeekDone) -> None:
        weeks = list(brent.weeks())[: self.weeks]
        service = await PredictionServiceProcess.start(
            self.examples / "prediction_service.py",
            [*self._service_arguments(system), "--model", MODEL],
        )
        try:
            last = await stage.last_week()
            published = service.ready.get("last_week")
            if published is not None and (last is None or published > last):
                # killed between a week's events and its heartbeat: nothing may react to half a week
                await service.advance(published)
                await stage.pass_week(published)
                last = published
            await stage.settle()
            for done, week in enumerate(weeks, start=1):
                if last is None or week > last:
                    await service.advance(week)
                    await stage.pass_week(week)
                    await stage.settle()
                week_done(done, len(weeks))
        finally:
            await service.stop()

    def _service_arguments(self, system: System) -> list[str]:
        if not system.settings.on_kafka:
            return ["--home", str(self.home)]
        return [
            *("--kafka", system.settings.kafka.bootstrap),
            *("--topic-prefix", system.settings.topic_prefix),
            *("--artifacts", str(system.settings.artifacts_path)),
        ]

    # ------------------------------------------------------------ afterwards

    async def _tell(self, system: System, brent: ModuleType) -> DemoStory:
        from consumers.demo.report import write_report

        async with system.store.read() as session:
            first = await ModelRepository(session).get_version(MODEL, "1")
        if first is None:
            raise DomainError("version 1 is not registered")
        folder = system.settings.artifacts_path / system.artifacts.key(first.artifact_uri)
        report = self.home / "report.html"
        story = await collect(
            store=system.store,
            history=system.history,
            model=MODEL,
            predict_v1=lambda rows: _predict(folder, brent.FEATURES, rows),
            accounts=await system.reconciling.accounts(),
            change_points_ms=brent.change_points(),
            report=report,
        )
        write_report(story, report)
        return story


def _stage(system: System) -> Stage:
    if isinstance(system.log, EmbeddedLog):
        return InProcess(system=system, log=system.log)
    return Processes(system=system)


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("brent", path)
    if not path.exists() or spec is None or spec.loader is None:
        raise DemoUnavailable(
            f"there is no {path}: run the demo from a clone, or name the folder by --examples"
        )
    if importlib.util.find_spec("river") is None or importlib.util.find_spec("xgboost") is None:
        raise DemoUnavailable("the demo needs the extra packages: install gal-friday-lifecycle[demo]")
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up by name
    import sys

    sys.modules["brent"] = module
    spec.loader.exec_module(module)
    return module


def _archive_rows(brent: Any) -> list[LabelledRow]:
    return [
        LabelledRow(
            prediction_id=day.prediction_id,
            occurred_at_ms=day.event_ms,
            horizon_s=HORIZON_S,
            features=dict(day.features),
            actual=day.target,
        )
        for day in brent.archive_days()
    ]


def _predict(folder: Path, features: Sequence[str], rows: Sequence[HistoryRow]) -> list[float]:
    """Version 1's answers to `rows`, as it would have given them."""
    import numpy as np
    import xgboost

    booster = xgboost.Booster(model_file=str(folder / "model.ubj"))
    booster.set_param({"nthread": 1})
    matrix = np.array([[row.features[name] for name in features] for row in rows], dtype=np.float64)
    return [float(value) for value in booster.inplace_predict(matrix)]
