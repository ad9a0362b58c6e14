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
from consumers.demo.plan import HORIZON_S, MODEL, SLACK_MS, WEEK_MS, policy_document, settings_document
from consumers.demo.service import PredictionServiceProcess
from consumers.demo.story import DemoStory
from consumers.log.port import NewRecord
from consumers.services.policies import checked, put_in_force
from consumers.settings import SETTINGS_FILE, load_settings, write_toml
from consumers.store.repositories.models import ModelRepository
from consumers.store.repositories.policies import PolicyRepository
from consumers.workers.shell import Worker, settle
from domain.errors import DomainError
from domain.retraining.history import HistoryRow, LabelledRow

CLOCK = "demo-clock"
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

    async def run(self, week_done: WeekDone) -> DemoStory:
        """Play all weeks, check the books, write the report."""
        brent = _load(self.examples / "brent.py")
        self._write_settings()
        system = await open_system(load_settings(self.home), create=True)
        try:
            await self._begin(system, brent)
            workers: dict[str, Worker] = {
                name: await system.worker(name) for name in ("tally", "judge", "relay", "registry", "trainer")
            }
            await self._play(system, workers, brent, week_done)
            return await self._tell(system, brent)
        finally:
            await system.close()

    def _write_settings(self) -> None:
        path = self.home / SETTINGS_FILE
        if not path.exists():
            write_toml(path, settings_document())

    # ------------------------------------------------------------ before the first week

    async def _begin(self, system: System, brent: ModuleType) -> None:
        """Version 1, trained by the same pipeline as every later one, and the model's policy."""
        async with system.store.read() as session:
            known = await PolicyRepository(session).all(MODEL)
            production = await ModelRepository(session).production(MODEL)
        if known and production is not None:
            return
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

    async def _play(
        self, system: System, workers: dict[str, Worker], brent: ModuleType, week_done: WeekDone
    ) -> None:
        weeks = list(brent.weeks())[: self.weeks]
        service = await PredictionServiceProcess.start(
            self.examples / "prediction_service.py",
            ["--home", str(self.home), "--model", MODEL],
        )
        try:
            last = await system.log.last_sequence(CLOCK)
            published = service.ready.get("last_week")
            if published is not None and (last is None or published > last):
                # killed between a week's events and its heartbeat: nothing may react to half a week
                await self._tick(system, published)
                last = published
            await settle(workers)
            for done, week in enumerate(weeks, start=1):
                if last is None or week > last:
                    await service.advance(week)
                    await self._tick(system, week)
                    await settle(workers)
                week_done(done, len(weeks))
        finally:
            await service.stop()

    async def _tick(self, system: System, week: int) -> None:
        """Let event time pass the end of `week` in every partition."""
        now_ms = (week + 1) * WEEK_MS + SLACK_MS
        beats = [
            NewRecord(topic=topic, key=None, value=None, timestamp_ms=now_ms, partition=partition)
            for topic in (system.topics.predictions, system.topics.outcomes)
            for partition in range(system.settings.partitions)
        ]
        await system.log.append_once(beats, producer=CLOCK, sequence=week)

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
