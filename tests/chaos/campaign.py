"""What people and their policies do during a run: versions, experiments one after the other, retraining.

It works through the services, straight on the database: faults are for the processes under test.
"""

import asyncio
import hashlib
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from consumers.services.context import ServiceContext
from consumers.services.experiments import ExperimentManager, plan_from_template
from consumers.services.importing import Import, register
from consumers.services.policies import checked, put_in_force
from consumers.services.registry import Registry
from consumers.store.engine import Store
from consumers.store.errors import StoreError
from consumers.store.repositories.experiments import ExperimentRepository
from consumers.store.repositories.models import ModelRepository
from domain.errors import DomainError
from domain.registry.version import ModelArtifact
from domain.windows.build import build_profile
from domain.windows.profile import ReferenceProfile
from schemas.events import ModelStage
from tests.chaos.scenario import DRIFTING, STEADY, Scenario
from tests.chaos.traffic import Trial, World
from tests.workers.workshop import MEAN

_ACTOR = "chaos"
_LATE_REGISTRATION = 0.4
"""Part of the run after which the version that serves unregistered is registered."""
_NO_LIMIT = {"per_quarter": None}
"""Dozens of experiments start within an hour of event time, and none of them for its result."""


@dataclass(slots=True, kw_only=True)
class Campaign:
    """Keeps every trial model in an experiment, and knows what serves."""

    scenario: Scenario
    store: Store
    context: ServiceContext
    home: Path
    world: World = World()
    started: int = 0
    """Experiments."""
    _made: dict[str, int] = field(default_factory=dict)
    """Versions that were brought in, by model."""

    @property
    def registry(self) -> Registry:
        return Registry(context=self.context)

    @property
    def experiments(self) -> ExperimentManager:
        return ExperimentManager(context=self.context, registry=self.registry)

    async def prepare(self, begin_ms: int) -> None:
        """Version 1 of every model in PRODUCTION, with its profile and its policy."""
        script = self.home / "mean.py"
        await asyncio.to_thread(script.write_text, MEAN)
        for model in self.scenario.models:
            await self._version(model, begin_ms)
            async with self.store.write() as session:
                await self.registry.promote(
                    session,
                    model,
                    "1",
                    expected_production=None,
                    actor=_ACTOR,
                    reason="first",
                    at_ms=begin_ms,
                )
                await put_in_force(session, model, checked(self._policy(model, script)))
        for model in self.scenario.trials:
            await self._next_trial(model, begin_ms)
        await self.look()

    async def step(self, event_ms: int, part: float) -> None:
        """Look who serves; start what is due. A store that is away is asked again next time."""
        await _if_possible(self.look)
        for model in self.scenario.trials:
            # the last experiments need time to end
            if model not in self.world.trials and part < 0.8:
                await _if_possible(partial(self._next_trial, model, event_ms))
        if part > _LATE_REGISTRATION and self._made[STEADY] == 1:
            await _if_possible(partial(self._version, STEADY, event_ms))

    async def look(self) -> None:
        """What routers would be told."""
        async with self.store.read() as session:
            models = ModelRepository(session)
            production = {m: await models.production(m) for m in self.scenario.models}
            running = {m: await ExperimentRepository(session).running(m) for m in self.scenario.models}
        trials = {
            model: Trial(
                experiment=found.experiment_id,
                epoch=found.epoch,
                shadow=found.config["strategy"] == "SHADOW_MODE",
                champion=_version_of(found.config, champion=True),
                challenger=_version_of(found.config, champion=False),
            )
            for model, found in running.items()
            if found is not None
        }
        self.world = World(
            production={model: found.version for model, found in production.items() if found is not None},
            trials=trials,
        )

    # ------------------------------------------------------------ versions and experiments

    async def _version(self, model: str, at_ms: int) -> str:
        number = self._made.get(model, 0) + 1
        digest = hashlib.sha256(f"{self.scenario.seed} {model} {number}".encode()).hexdigest()
        brought = Import(
            model=model,
            task="regression",
            artifact=ModelArtifact(uri=f"local:{model}/{digest}", sha256=digest, manifest={"files": []}),
            profile=_profile(Random(f"profile {self.scenario.seed} {model}"), self.scenario),
        )
        async with self.store.write() as session:
            made = await register(
                self.registry, session, brought, actor=_ACTOR, reason="imported", at_ms=at_ms
            )
        self._made[model] = number
        return made.version

    async def _next_trial(self, model: str, at_ms: int) -> None:
        async with self.store.read() as session:
            versions = await ModelRepository(session).versions(model)
            production = await ModelRepository(session).production(model)
        staged = [record.version for record in versions if record.stage is ModelStage.STAGING]
        challenger = staged[-1] if staged else await self._version(model, at_ms)
        assert production is not None
        name = f"{model}-{challenger}-v-{production.version}"
        plan = plan_from_template(
            _template(split=self.started % 3 == 2),
            experiment=name,
            model=model,
            champion=production.version,
            challenger=challenger,
        )
        async with self.store.write() as session:
            await self.experiments.create(session, plan)
            await self.experiments.start(session, name, at_ms=at_ms)
        self.started += 1

    def _policy(self, model: str, script: Path) -> dict[str, Any]:
        window_ms = self.scenario.windows.length_ms
        drift = {"features": {"min_items": 30}, "predictions": {"min_items": 30}}
        if model != DRIFTING:
            return {"drift": drift, "retrain": {"budget": 0}, "alpha_budget": _NO_LIMIT}
        training: dict[str, Any] = {
            "command": [sys.executable, str(script), "{job_dir}"],
            "history_ms": 20 * window_ms,
            "min_rows": 40,
            "holdout_rows": 40,
        }
        retrain = {
            "cooldown_ms": 5 * window_ms,
            "budget": 5,
            "budget_window_ms": 10_000 * window_ms,
            "repeat_ms": 15 * window_ms,
        }
        return {
            "drift": drift,
            "retrain": retrain,
            "training": training,
            "validation": {"min_rows": 10, "tolerance": 100.0},
            "experiment": _template(split=False),
            "alpha_budget": _NO_LIMIT,
        }


def _template(*, split: bool) -> dict[str, Any]:
    """Decides within some ten windows: errors are Gaussian here, and differences large."""
    return {
        "strategy": "PERCENTAGE_SPLIT" if split else "SHADOW_MODE",
        "primary": {"metric": "abs_error", "direction": "decrease"},
        "harm": [{"metric": "abs_error", "direction": "decrease", "margin": 0.0}],
        "minimums": {"batches": 6, "outcomes_per_arm": 60, "arrived_share": 0.5},
        "batch": {"min_outcomes": 40, "min_per_arm": 10, "horizon_multiple": 1.0},
        "n_star": 400,
        "max_outcomes": 1_500,
    }


def _profile(r: Random, scenario: Scenario) -> ReferenceProfile:
    """Of data like those that are served, so that nothing drifts by itself."""
    rows = 2_000
    return build_profile(
        model="",
        version="",
        task="regression",
        features={
            "x": [r.gauss(0, 1) for _ in range(rows)],
            "y": [r.gauss(0, 1) if r.random() < 0.98 else None for _ in range(rows)],
            "side": [r.choice(("buy", "sell", "sell", "hold")) for _ in range(rows)],
        },
        predictions=[r.gauss(0, 2**0.5) for _ in range(rows)],
        error_clip=4.0,
    )


def _version_of(config: Mapping[str, Any], *, champion: bool) -> str:
    return next(str(v["version"]) for v in config["variants"] if v["champion"] is champion)


async def _if_possible(work: Callable[[], Awaitable[object]]) -> bool:
    """False when the store was away, or somebody was quicker."""
    try:
        await work()
    except (StoreError, DomainError):
        return False
    return True
