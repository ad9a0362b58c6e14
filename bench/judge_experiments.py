"""What the judge spends on an experiment, by how much is behind it: `python -m bench.judge_experiments`.

An experiment of two equal arms runs for so many batches; then the processor time of the whole process is
measured while it closes some more, one transaction each, as a judge that keeps up does. `whole` is that time
with an SQLite store: reading rows, the state's JSON, the look, the commit. `core` is the pure judgement of
the same rows with the state read from JSON and written back. Both are in milliseconds per closed batch, the
median of several repeats with the least and the most. Every plan has a primary, a guardrail and a harm rule.
Exit code 1 when a strategy's cost at the longest past is over `--flat` times that at the shortest.

    python -m bench.judge_experiments --past 100 --past 1000 --json
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import numpy as np
import orjson

from consumers.bench.cost import Spread, pinned
from consumers.bootstrap import System, open_system
from consumers.logger import LoggerService
from consumers.services.importing import Import, register
from consumers.services.judging import Judging, frozen_for
from consumers.settings import load_settings
from consumers.store.repositories.judgements import JudgementRepository
from consumers.store.repositories.tallies import TallyRepository
from domain.experiments.plan import ExperimentPlan
from domain.judgement.judge import judge
from domain.judgement.rows import Row
from domain.judgement.state import ModelState
from domain.registry.version import ModelArtifact
from domain.windows.progress import Progress
from domain.windows.rows import RowKey, WindowRow

MODEL, EXPERIMENT = "m", "e"
LENGTH_MS = 60_000
DUE_MS = LENGTH_MS + 1_000
PER_ARM = 100
BUCKETS = 64
POOL = 20
"""Different windows; each is played again with its arms exchanged, so that no evidence ever gathers."""
WALL = datetime(2026, 1, 1, tzinfo=UTC)
PAST = (100, 1_000, 10_000)
PERIODS = 5
"""To a batch of a switchback."""
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A strategy and what its primary is."""

    name: str
    strategy: str
    metric: str = "abs_error"


KINDS = (
    Kind("shadow", "SHADOW_MODE"),
    Kind("shadow hits", "SHADOW_MODE", "hit"),
    Kind("split", "PERCENTAGE_SPLIT"),
    Kind("split hits", "PERCENTAGE_SPLIT", "hit"),
    Kind(f"units, {BUCKETS} buckets", "USER_SEGMENT"),
    Kind("switchback", "SWITCHBACK"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Milliseconds of processor time per closed batch, with so many behind."""

    kind: str
    past: int
    whole: Spread
    core: Spread
    state_bytes: int


def plan(kind: Kind) -> ExperimentPlan:
    direction = "increase" if kind.metric == "hit" else "decrease"
    rule = {"metric": kind.metric, "direction": direction}
    share = 0.0 if kind.strategy == "SHADOW_MODE" else 0.5
    return ExperimentPlan.from_json(
        {
            "experiment": EXPERIMENT,
            "model": MODEL,
            "strategy": kind.strategy,
            "variants": [
                {"name": "champion", "version": "1", "share": share, "champion": True},
                {"name": "challenger", "version": "2", "share": share},
            ],
            "primary": rule,
            "guardrails": [{"metric": "squared_error", "direction": "decrease", "margin": 0.01}],
            "harm": [{**rule, "margin": 0.01}],
            "alpha": 1e-6,
            "harm_alpha": 1e-6,
            "batch": {"min_outcomes": PER_ARM, "min_per_arm": 10, "horizon_multiple": PERIODS},
            "period_ms": LENGTH_MS if kind.strategy == "SWITCHBACK" else None,
        }
    )


# ---------------------------------------------------------------- rows


def moments(values: np.ndarray) -> Body:
    mean = float(values.mean())
    return {"n": len(values), "mean": mean, "M2": float(((values - mean) ** 2).sum())}


def bodies(kind: Kind, source: np.random.Generator) -> dict[str, Body]:
    """One window's, by arm."""
    drawn = {arm: source.standard_normal((2, PER_ARM)) for arm in ("champion", "challenger")}
    values = {
        arm: {
            kind.metric: (rows[0] > 0).astype(float) if kind.metric == "hit" else np.abs(rows[0]),
            "squared_error": rows[1] ** 2,
        }
        for arm, rows in drawn.items()
    }
    counts = {"n": PER_ARM, "matched": PER_ARM, "missing": 0, "served": PER_ARM, "unscorable": 0}
    found: dict[str, Body] = {}
    for arm, metrics in values.items():
        found[arm] = {**counts, "metrics": {name: moments(each) for name, each in metrics.items()}}
        if kind.strategy == "USER_SEGMENT":
            units = {
                name: {str(b): [2, float(each[b] + each[b + 1])] for b in range(BUCKETS)}
                for name, each in metrics.items()
            }
            found[arm] = {**found[arm], "units": units}
    if kind.strategy == "SHADOW_MODE":
        paired = {name: each - values["champion"][name] for name, each in values["challenger"].items()}
        hits = {}
        if kind.metric == "hit":
            won, lost = (int((paired["hit"] == sign).sum()) for sign in (1.0, -1.0))
            hits = {"paired_hits": {"hit": {"n": PER_ARM, "b": won, "c": lost}}}
        pairs = {"paired": {name: moments(each) for name, each in paired.items()}}
        found["challenger"] = {**found["challenger"], **pairs, **hits}
    return found


def pool(kind: Kind) -> list[dict[str, bytes]]:
    """Windows and their mirror images, encoded."""
    source, found = np.random.default_rng(1), []
    for _ in range(POOL):
        one = bodies(kind, source)
        found += [one, mirrored(kind, one)]
    return [
        {arm: orjson.dumps(body, option=orjson.OPT_SORT_KEYS) for arm, body in each.items()} for each in found
    ]


def mirrored(kind: Kind, one: Mapping[str, Body]) -> dict[str, Body]:
    """With arms exchanged; of pairs the differences turned round."""
    if kind.strategy != "SHADOW_MODE":
        return {"champion": one["challenger"], "challenger": one["champion"]}
    pairs = {name: {**each, "mean": -each["mean"]} for name, each in one["challenger"]["paired"].items()}
    hits = {
        name: {"n": each["n"], "b": each["c"], "c": each["b"]}
        for name, each in one["challenger"].get("paired_hits", {}).items()
    }
    return {**one, "challenger": {**one["challenger"], "paired": pairs, "paired_hits": hits}}


def rows(windows: Sequence[Mapping[str, bytes]], first: int, last: int) -> Iterator[WindowRow]:
    versions = {"champion": "1", "challenger": "2"}
    for window in range(first, last):
        for arm, body in windows[window % len(windows)].items():
            key = RowKey(
                kind="score",
                window_start_ms=window * LENGTH_MS,
                partition=0,
                model=MODEL,
                version=versions[arm],
                variant=arm,
                experiment=EXPERIMENT,
                epoch=1,
                horizon_s=1,
            )
            yield WindowRow(key, window * LENGTH_MS + DUE_MS, body)


# ---------------------------------------------------------------- measuring


class Course:
    """One experiment in a deployment of its own, batch by batch."""

    def __init__(self, system: System, kind: Kind) -> None:
        self._system, self._windows = system, pool(kind)
        self._judging = Judging(context=system.context("judge"), experiments=system.experiments())
        self._step = PERIODS if kind.strategy == "SWITCHBACK" else 1
        self._batches = 0

    async def start(self, kind: Kind) -> None:
        system = self._system
        async with system.store.write() as session:
            for digit in ("1", "2"):
                artifact = ModelArtifact(uri="local:m/x", sha256=digit * 64, manifest={"files": []})
                brought = Import(model=MODEL, task="regression", artifact=artifact, profile=None)
                await register(system.registry(), session, brought, actor="bench", reason="made", at_ms=0)
            await system.registry().promote(
                session, MODEL, "1", expected_production=None, actor="bench", reason="first", at_ms=0
            )
            await system.experiments().create(session, plan(kind))
            await system.experiments().start(session, EXPERIMENT, at_ms=0)

    async def put(self, batches: int) -> list[WindowRow]:
        """The rows of so many more batches into the store."""
        first = self._batches * self._step
        self._batches += batches
        closed = list(rows(self._windows, first, self._batches * self._step))
        through_ms = closed[-1].due_ms
        progress = Progress(0, 0, 0, 0, 0, through_ms, through_ms, through_ms, through_ms)
        async with self._system.store.write() as session:
            await TallyRepository(session).insert_closed(closed, [], progress, now=WALL)
        return closed

    async def judge(self, through_ms: int) -> None:
        more = True
        while more:
            async with self._system.store.write() as session:
                more = (await self._judging.judge(session, MODEL, through_ms)).more

    async def state(self) -> bytes:
        async with self._system.store.read() as session:
            judgement = await JudgementRepository(session).load(MODEL, for_update=False)
        if judgement is None or judgement.state["trials"][EXPERIMENT]["evidence"] is None:
            raise RuntimeError("the experiment has ended: equal arms should not have")
        if judgement.state["trials"][EXPERIMENT]["evidence"]["batches"] != self._batches:
            raise RuntimeError("a batch did not close")
        return orjson.dumps(judgement.state)

    async def whole(self, batches: int) -> float:
        """Milliseconds per batch, each in a transaction of its own."""
        closed = await self.put(batches)
        per_batch = len(closed) // batches
        began = process_time()
        for last in closed[per_batch - 1 :: per_batch]:
            await self.judge(last.due_ms)
        return (process_time() - began) * 1_000 / batches

    async def core(self, batches: int) -> float:
        """The same of the judgement alone, over batches that would come next; nothing is kept."""
        state, first = await self.state(), self._batches * self._step
        closed = list(rows(self._windows, first, first + batches * self._step))
        read = [
            Row(
                key=row.key,
                due_ms=row.due_ms,
                body=orjson.loads(row.body),
                digest=sha256(row.body).hexdigest(),
            )
            for row in closed
        ]
        async with self._system.store.read() as session:
            frozen = await frozen_for(session, MODEL, read, LENGTH_MS)
        per_batch = len(read) // batches
        began = process_time()
        for at in range(0, len(read), per_batch):
            model = ModelState.from_json(orjson.loads(state))
            list(judge(MODEL, model, read[at : at + per_batch], frozen))
            state = orjson.dumps(model.to_json())
        return (process_time() - began) * 1_000 / batches


async def course(home: Path, kind: Kind, past: Sequence[int], repeats: int, batches: int) -> list[Cost]:
    """The cost of one kind of experiment at each of the pasts, which rise."""
    settings = load_settings(home, partitions=1, windows={"length_s": LENGTH_MS / 1_000})
    system = await open_system(settings, create=True)
    try:
        run = Course(system, kind)
        await run.start(kind)
        found, behind = [], 0
        for count in past:
            if count > behind:
                closed = await run.put(count - behind)
                await run.judge(closed[-1].due_ms)
            core = [await run.core(batches) for _ in range(repeats)]
            whole = [await run.whole(batches) for _ in range(repeats)]
            behind = max(behind, count) + repeats * batches
            found.append(
                Cost(
                    kind=kind.name,
                    past=count,
                    whole=Spread.of(whole),
                    core=Spread.of(core),
                    state_bytes=len(await run.state()),
                )
            )
        return found
    finally:
        await system.close()


def told(costs: Sequence[Cost]) -> Iterator[str]:
    yield f"{'experiment':18}{'past':>7}  {'whole, ms a batch':24}{'core, ms a batch':24}{'state':>7}"
    for each in costs:
        state = f"{each.state_bytes / 1_000:.1f}k"
        yield f"{each.kind:18}{each.past:7,}  {each.whole!s:24}{each.core!s:24}{state:>7}"


def document(cost: Cost) -> dict[str, Any]:
    spreads = {
        name: {"median": each.median, "least": each.least, "most": each.most}
        for name, each in (("whole_ms", cost.whole), ("core_ms", cost.core))
    }
    return {"experiment": cost.kind, "past": cost.past, **spreads, "state_bytes": cost.state_bytes}


def rising(costs: Sequence[Cost], flat: float) -> list[str]:
    """Kinds whose cost with the longest past is more than `flat` times that with the shortest."""
    found = []
    for kind in dict.fromkeys(each.kind for each in costs):
        mine = [each for each in costs if each.kind == kind]
        pairs = ((mine[0].core, mine[-1].core), (mine[0].whole, mine[-1].whole))
        if any(after.median > flat * before.median for before, after in pairs):
            found.append(kind)
    return found


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.judge_experiments", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    names = [kind.name for kind in KINDS]
    parser.add_argument("--past", type=int, action="append", help="batches behind; again for more")
    parser.add_argument("--kind", action="append", choices=names, help="only these  [all]")
    parser.add_argument("--repeats", type=int, default=5, help="measure so often; the median counts  [5]")
    parser.add_argument("--batches", type=int, default=20, help="batches of each measurement  [20]")
    parser.add_argument("--flat", type=float, default=1.5, help="how much dearer a long past may be  [1.5]")
    parser.add_argument("--json", action="store_true")
    found = parser.parse_args(given)
    if min([found.repeats, found.batches, *(found.past or PAST)]) < 1:
        parser.error("--past, --repeats and --batches must be at least 1")
    return found


def main(given: Sequence[str] | None = None) -> int:
    asked = arguments(given)
    LoggerService("WARNING")
    past = sorted(set(asked.past or PAST))
    kinds = [kind for kind in KINDS if asked.kind is None or kind.name in asked.kind]
    costs: list[Cost] = []
    with pinned():
        for kind in kinds:
            with TemporaryDirectory(prefix="lifecycle-bench-") as folder:
                costs += asyncio.run(course(Path(folder), kind, past, asked.repeats, asked.batches))
    print(json.dumps([document(each) for each in costs], indent=2) if asked.json else "\n".join(told(costs)))
    dearer = rising(costs, asked.flat)
    if dearer:
        print(f"not flat: {', '.join(dearer)}", file=sys.stderr)
    return 1 if dearer else 0


if __name__ == "__main__":
    sys.exit(main())
