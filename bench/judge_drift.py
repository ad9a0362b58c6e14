"""CPU time of the judge's drift half: `python -m bench.judge_drift`, or `make bench-judge-drift`.

Window rows of made-up models are prepared beforehand: one input row (200 items in 20 bins for every feature
and for the prediction) and one score row a window. Two things are then measured, in processor time of the
whole process on one core:

* `judge`: the pure judgement of prepared rows, all windows of all models, no store;
* `worker`: the JudgeWorker on an SQLite store that holds the rows. Live, the clock moves one window at a
  time, so that every window costs each model a transaction, its state as JSON and its profile; catching up,
  all windows are due at once.

Cost is told per window of one model. It must be linear: `per feature` is the slope between two numbers of
features (what one more feature costs), `per model` the cost of a model's window beside that of one model
alone, and both are shown as ratios. Streams: without drift, with a drift that is tolerated (PSI .015 in every
feature), and with one that is not (every feature alarms in every window).

    python -m bench.judge_drift --quick
    python -m bench.judge_drift --repeats 5 --json
"""

import argparse
import asyncio
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any, Literal

import orjson

from bench.judging.rows import (
    BESIDE,
    FEATURES,
    ITEMS,
    LENGTH_MS,
    LIVE_WINDOWS,
    MODELS,
    SHIFT,
    VERSION,
    WINDOWS,
    Cell,
    Part,
    Prepared,
    Stream,
    prepared,
)
from consumers.bench.cost import Spread, pinned
from consumers.services.context import ServiceContext
from consumers.services.experiments import ExperimentManager
from consumers.services.judging import Judging
from consumers.services.policies import put_in_force
from consumers.services.registry import Registry
from consumers.store.engine import Store, open_store
from consumers.store.repositories.deployment import DeploymentRepository
from consumers.store.repositories.models import ModelRepository, VersionRecord
from consumers.store.repositories.profiles import ProfileRepository
from consumers.store.repositories.tallies import TallyRepository
from consumers.store.types import digest_of
from consumers.workers.judge import JudgeWorker
from consumers.workers.shell import collect_seldom
from domain.judgement.judge import Frozen, judge
from domain.judgement.policy import DatedPolicy, JudgementPolicy
from domain.judgement.rows import Row
from domain.judgement.state import ModelState
from domain.windows.policy import WindowPolicy
from domain.windows.progress import Progress
from domain.windows.rows import canonical
from schemas import Topics
from schemas.events import ModelStage

_AT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Microseconds of processor time for one window of one model."""

    cell: Cell
    cost: Spread
    decisions: int

    @property
    def per_feature(self) -> float:
        """Of one window and feature, all that a window costs included; the prediction counts as one."""
        return self.cost.median / (self.cell.features + 1)

    def to_json(self) -> dict[str, Any]:
        return {
            **asdict(self.cell),
            "us_per_window": round(self.cost.median, 2),
            "us_per_window_spread": [round(self.cost.least, 2), round(self.cost.most, 2)],
            "us_per_window_and_feature": round(self.per_feature, 3),
            "decisions": self.decisions,
        }


# ---------------------------------------------------------------- the pure judge


def judged(cell: Cell, made: Prepared, policy: JudgementPolicy) -> tuple[float, int]:
    """Seconds that judging all rows of all models took, and the decisions."""
    rows = [
        Row(key=key, due_ms=due_ms, body=orjson.loads(body), digest=sha256(body).hexdigest())
        for key, due_ms, body in made.rows
    ]
    frozen = Frozen(
        length_ms=LENGTH_MS,
        policies=[DatedPolicy(effective_from_ms=0, policy=policy)],
        profiles={VERSION: made.profile},
    )
    began, decisions = process_time(), 0
    for number in range(cell.models):
        decisions += sum(1 for _ in judge(f"model-{number}", ModelState(), rows, frozen))
    return process_time() - began, decisions


# ---------------------------------------------------------------- the worker on its store


async def worked(cell: Cell, made: Prepared, policy: JudgementPolicy) -> tuple[float, int]:
    """The same through the JudgeWorker: rows are written beforehand, only its steps are measured."""
    with TemporaryDirectory(prefix="lifecycle-bench-") as folder:
        store = await open_store(f"sqlite:///{Path(folder) / 'store.db'}", migrate=True)
        try:
            await _fill(store, cell, made, policy)
            return await _judge(store, cell)
        finally:
            await store.dispose()


async def _fill(store: Store, cell: Cell, made: Prepared, policy: JudgementPolicy) -> None:
    profile = canonical(made.profile.to_json())
    async with store.write() as session:
        await DeploymentRepository(session).put("partitions", 1)
        for number in range(cell.models):
            model = f"model-{number:04d}"
            await ModelRepository(session).create_model(name=model, task="regression", created_at_ms=0)
            await ModelRepository(session).add_version(_version(model))
            await ProfileRepository(session).add(
                model=model,
                version=VERSION,
                body=profile,
                digest=digest_of(profile),
                effective_from_ms=0,
            )
            await put_in_force(session, model, policy.to_json())
    for number in range(cell.models):
        async with store.write() as session:
            await TallyRepository(session).insert_closed(
                made.of_model(f"model-{number:04d}"), [], Progress.start(0), now=_AT
            )


def _version(model: str) -> VersionRecord:
    return VersionRecord(
        model=model,
        version=VERSION,
        stage=ModelStage.STAGING,
        status="REGISTERED",
        artifact_uri="none",
        artifact_sha256="0" * 64,
        manifest={},
        metadata={},
        lineage={},
        registered_at_ms=0,
    )


async def _judge(store: Store, cell: Cell) -> tuple[float, int]:
    context = ServiceContext(
        topics=Topics(), windows=WindowPolicy(length_ms=LENGTH_MS), source="lifecycle/bench", now=lambda: _AT
    )
    experiments = ExperimentManager(context=context, registry=Registry(context=context))
    worker = JudgeWorker(store=store, judging=Judging(context=context, experiments=experiments))
    live = cell.part == "worker live"
    ends = range(1, cell.windows + 1) if live else [cell.windows]
    seconds = 0.0
    for windows in ends:
        through_ms = (windows + 1) * LENGTH_MS - 1
        async with store.write() as session:
            await TallyRepository(session).insert_closed([], [], _progress(through_ms), now=_AT)
        began = process_time()
        while await worker.step():
            pass
        seconds += process_time() - began
    expected = 2 * cell.windows * cell.models
    if (worker.counts.rows, worker.counts.failed) != (expected, 0):
        raise RuntimeError(f"{worker.counts} of {expected} rows")
    return seconds, worker.counts.decisions


def _progress(through_ms: int) -> Progress:
    return Progress(0, through_ms, 0, through_ms, 0, through_ms, through_ms, through_ms, through_ms)


# ---------------------------------------------------------------- measuring


def cells(quick: bool) -> Iterator[Cell]:
    """All measurements, in the order of the tables."""
    features = FEATURES[:2] if quick else FEATURES
    models = MODELS[:2] if quick else MODELS
    for stream in SHIFT:
        for number in features:
            yield Cell(part="judge", stream=stream, features=number, models=1, windows=WINDOWS)
    for number in models:
        yield Cell(part="judge", stream="stationary", features=BESIDE, models=number, windows=WINDOWS)
    parts: tuple[Part, Part] = ("worker live", "worker catching up")
    for part in parts:
        for number in features:
            yield Cell(part=part, stream="stationary", features=number, models=1, windows=LIVE_WINDOWS)
        for number in models:
            yield Cell(part=part, stream="stationary", features=BESIDE, models=number, windows=LIVE_WINDOWS)


def measure(cell: Cell, repeats: int, seed: int, policy: JudgementPolicy | None = None) -> Result:
    """The cell, `repeats` times."""
    made, policy = prepared(cell, seed), policy or JudgementPolicy()
    costs, decisions = [], 0
    for _ in range(repeats):
        if cell.part == "judge":
            seconds, decisions = judged(cell, made, policy)
        else:
            seconds, decisions = asyncio.run(worked(cell, made, policy))
        costs.append(seconds / (cell.models * cell.windows) * 1e6)
    return Result(cell=cell, cost=Spread.of(costs), decisions=decisions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """Whether cost grows as the number of features or models does, between two results of one table."""

    what: Literal["features", "models"]
    part: Part
    stream: Stream
    least: int
    most: int
    slope_us: float
    """Of one more feature in a window; of models: one more model's window."""
    ratio: float
    """To the slope, or for models the cost, between the smaller numbers; 1 is linear."""


def linear(results: Sequence[Result]) -> Iterator[Linear]:
    """Slopes of every table that has the numbers for them."""
    tables: dict[tuple[str, Part, Stream], list[Result]] = {}
    for found in results:
        cell = found.cell
        if cell.models == 1 and cell.features in FEATURES:
            tables.setdefault(("features", cell.part, cell.stream), []).append(found)
        elif cell.features == BESIDE:
            tables.setdefault(("models", cell.part, cell.stream), []).append(found)
    for (what, part, stream), rows in tables.items():
        if what == "models":
            first = rows[0].cost.median
            for row in rows[1:]:
                cost, ratio = row.cost.median, row.cost.median / first
                most = row.cell.models
                yield Linear(
                    what="models", part=part, stream=stream, least=1, most=most, slope_us=cost, ratio=ratio
                )
            continue
        before: float | None = None
        for one, two in pairwise(rows):
            more = two.cell.features - one.cell.features
            slope = (two.cost.median - one.cost.median) / more
            yield Linear(
                what="features",
                part=part,
                stream=stream,
                least=one.cell.features,
                most=two.cell.features,
                slope_us=slope,
                ratio=math.nan if before is None else slope / before,
            )
            before = slope


HEADING = (
    f"{'part':20} {'stream':11} {'features':>8} {'models':>6} {'windows':>7} "
    f"{'us/window':>10} {'spread':>19} {'us/feature':>10}"
)


def line(found: Result) -> str:
    cell, cost = found.cell, found.cost
    spread = f"{cost.least:,.0f} to {cost.most:,.0f}"
    return (
        f"{cell.part:20} {cell.stream:11} {cell.features:8} {cell.models:6} {cell.windows:7} "
        f"{cost.median:10,.1f} {spread:>19} {found.per_feature:10.2f}"
    )


def slope_line(each: Linear) -> str:
    what = f"{each.part}, {each.stream}, {each.least:,} to {each.most:,} {each.what}"
    cost = "us per feature" if each.what == "features" else "us per model's window"
    ratio = "" if math.isnan(each.ratio) else f", {each.ratio:.2f} times that of fewer"
    return f"{what}: {each.slope_us:,.2f} {cost}{ratio}"


def main(arguments: Sequence[str] | None = None) -> int:
    words = argparse.ArgumentParser(
        prog="python -m bench.judge_drift", description=(__doc__ or "").split("\n\n")[0]
    )
    words.add_argument("--quick", action="store_true", help="without 500 features and 1,000 models")
    words.add_argument("--repeats", type=int, default=3, help="measure so often; the median counts")
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--part", action="append", choices=("judge", "worker"), help="only this")
    words.add_argument("--policy", type=Path, help="policy document to judge by  [default: the defaults]")
    words.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    chosen = words.parse_args(arguments)
    policy = None
    if chosen.policy is not None:
        policy = JudgementPolicy.from_json(orjson.loads(chosen.policy.read_bytes()))
    results = []
    collect_seldom()
    with pinned() as core:
        if not chosen.json:
            print(HEADING)
        for cell in cells(chosen.quick):
            if chosen.part and cell.part.split()[0] not in chosen.part:
                continue
            results.append(measure(cell, chosen.repeats, chosen.seed, policy))
            if not chosen.json:
                print(line(results[-1]), flush=True)
    slopes = list(linear(results))
    if chosen.json:
        document = {
            "core": core,
            "seed": chosen.seed,
            "repeats": chosen.repeats,
            "items_per_window": ITEMS,
            "results": [found.to_json() for found in results],
            "linear": [
                asdict(each) | {"ratio": None if math.isnan(each.ratio) else each.ratio} for each in slopes
            ],
        }
        print(json.dumps(document))
    else:
        print()
        for each in slopes:
            print(slope_line(each))
    return 0


if __name__ == "__main__":
    sys.exit(main())
