"""Experiments with rows in a deployment's store, judged as the judge would: seeded, windows of a minute."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson

from consumers.services.experiments import ExperimentManager
from consumers.services.judging import Judging
from consumers.store.engine import Store
from consumers.store.repositories.tallies import TallyRepository
from domain.experiments.plan import ExperimentPlan
from domain.windows.progress import Progress
from domain.windows.rows import RowKey, WindowRow
from tests.experiments.streams import arm, plan, shadow_arm

MODEL = "brent"
LENGTH_MS = 60_000
GRACE_MS = 1_000
WALL = datetime(2026, 1, 1, tzinfo=UTC)


def a_plan(name: str = "e1", strategy: str = "PERCENTAGE_SPLIT", **fields: Any) -> ExperimentPlan:
    """Version 3 against version 2; decides within some dozens of windows."""
    quick: dict[str, Any] = {
        "minimums": {"batches": 5, "outcomes_per_arm": 50},
        "batch": {"min_outcomes": 30, "min_per_arm": 10, "horizon_multiple": 1.0},
        "n_star": 1_000,
    }
    made = plan(strategy, experiment=name, model=MODEL, **(quick | fields))
    champion, challenger = made.variants
    return replace(made, variants=(replace(champion, version="2"), replace(challenger, version="3")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What the arms do: `gain` is how much smaller the challenger's errors are, `lost` counts its missing
    outcomes."""

    gain: float = 0.0
    per_arm: int = 40
    challenger_share: float = 0.5
    lost: int = 0
    seed: int = 1
    other: float | None = None
    """The gain on squared_error; None where nobody measures it."""

    def bodies(self, found: ExperimentPlan, count: int) -> Iterator[Mapping[str, Any]]:
        """By variant, of `count` windows."""
        generator, another = np.random.default_rng(self.seed), np.random.default_rng([self.seed, 1])
        champion, challenger = (variant.name for variant in found.variants)
        ours = max(2, round(2 * self.per_arm * self.challenger_share))
        for _ in range(count):
            theirs = 2 * self.per_arm - ours
            one, zero = generator.standard_normal(ours) - self.gain, generator.standard_normal(theirs)
            if found.strategy == "SHADOW_MODE":
                differences = 0.5 * generator.standard_normal(self.per_arm) - self.gain
                pairs = {**shadow_arm(differences), "n": self.per_arm + self.lost, "missing": self.lost}
                yield {champion: arm({"abs_error": zero}), challenger: pairs}
            else:
                both = {champion: {"abs_error": zero}, challenger: {"abs_error": one[self.lost :]}}
                if self.other is not None:
                    both[champion]["squared_error"] = another.standard_normal(theirs)
                    both[challenger]["squared_error"] = another.standard_normal(ours) - self.other
                yield {
                    champion: arm(both[champion]),
                    challenger: arm(both[challenger], missing=self.lost),
                }


def rows(found: ExperimentPlan, stream: Stream, first: int, last: int, epoch: int = 1) -> Iterator[WindowRow]:
    """The score rows of the windows `first` to `last`."""
    versions = {variant.name: variant.version for variant in found.variants}
    for window, arms in zip(range(first, last), stream.bodies(found, last - first), strict=True):
        for name, body in arms.items():
            key = RowKey(
                kind="score",
                window_start_ms=window * LENGTH_MS,
                partition=0,
                model=found.model,
                version=versions[name],
                variant=name,
                experiment=found.experiment,
                epoch=epoch,
                horizon_s=1,
            )
            served = {"served": body["n"], "unscorable": 0}
            written = orjson.dumps({**body, **served}, option=orjson.OPT_SORT_KEYS)
            yield WindowRow(key, (window + 1) * LENGTH_MS + 1_000 + GRACE_MS, written)


async def start(store: Store, manager: ExperimentManager, found: ExperimentPlan, at_ms: int = 0) -> None:
    async with store.write() as session:
        await manager.create(session, found)
        await manager.start(session, found.experiment, at_ms=at_ms)


async def judge(store: Store, judging: Judging, model: str, closed: list[WindowRow]) -> None:
    """Put rows into the store and judge all of them."""
    through_ms = max(row.due_ms for row in closed)
    async with store.write() as session:
        progress = Progress(0, 0, 0, 0, 0, through_ms, through_ms, through_ms, through_ms)
        await TallyRepository(session).insert_closed(closed, [], progress, now=WALL)
    async with store.write() as session:
        await judging.judge(session, model, through_ms)
