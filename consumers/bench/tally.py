"""CPU per record of the tally worker, beside the floor of reading and decoding alone, in one run.

Processor time of the whole process (all threads), not wall time: a busy machine hardly changes it. Floor and
worker run in turn, each several times; the median of each is reported, and the spread beside it.
"""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from consumers.bench.stream import StreamPlan, records
from consumers.bootstrap import System, open_system
from consumers.log.decode import decode_outcomes, decode_predictions
from consumers.log.port import NewRecord
from consumers.settings import load_settings
from domain.registry.version import Lineage, ModelArtifact, ModelMetadata
from domain.windows.build import build_profile

_CHUNK = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TallyCost:
    """Microseconds of processor time per record, medians over `repeats`."""

    records: int
    features: int
    models: int
    repeats: int
    rows: int
    divergences: int
    cpu_us_per_record: float
    cpu_us_spread: tuple[float, float]
    floor_us_per_record: float
    floor_us_spread: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        return {
            "records": self.records,
            "features": self.features,
            "models": self.models,
            "repeats": self.repeats,
            "rows": self.rows,
            "divergences": self.divergences,
            "cpu_us_per_record": round(self.cpu_us_per_record, 2),
            "cpu_us_spread": [round(value, 2) for value in self.cpu_us_spread],
            "floor_us_per_record": round(self.floor_us_per_record, 2),
            "floor_us_spread": [round(value, 2) for value in self.floor_us_spread],
            "ratio_to_floor": round(self.cpu_us_per_record / self.floor_us_per_record, 2),
        }


async def measure(home: Path, plan: StreamPlan, repeats: int) -> TallyCost:
    """Fill a log in `home` with the stream, then time floor and worker in turn."""
    total = await _fill(home, plan)
    floors, costs = [], []
    rows = divergences = 0
    for repeat in range(repeats):
        system = await _open(home, plan, repeat)
        try:
            began = time.process_time()
            read = await _read_and_decode(system)
            floors.append((time.process_time() - began) / total * 1e6)
            if read != total:
                raise AssertionError(f"the floor read {read} of {total} records")
            worker = await system.tally()
            began = time.process_time()
            while await worker.step():
                pass
            costs.append((time.process_time() - began) / total * 1e6)
            if worker.counts.records != total or worker.counts.invalid:
                raise AssertionError(f"the worker folded {worker.counts} of {total} records")
            rows, divergences = worker.counts.rows, worker.counts.divergences
        finally:
            await system.close()
    return TallyCost(
        records=total,
        features=plan.features,
        models=plan.models,
        repeats=repeats,
        rows=rows,
        divergences=divergences,
        cpu_us_per_record=median(costs),
        cpu_us_spread=(min(costs), max(costs)),
        floor_us_per_record=median(floors),
        floor_us_spread=(min(floors), max(floors)),
    )


async def _open(home: Path, plan: StreamPlan, repeat: int) -> System:
    settings = load_settings(
        home,
        database_url=f"sqlite+aiosqlite:///{home / f'store-{repeat}.sqlite'}",
        partitions=plan.partitions,
        heartbeats=False,
        log_level="WARNING",
    )
    system = await open_system(settings, create=True)
    random = Random(plan.seed)
    columns = {name: [random.gauss(0, 1) for _ in range(2_000)] for name in plan.feature_names}
    predictions = [random.gauss(0, 1) for _ in range(2_000)]
    async with system.store.write() as session:
        for model in plan.model_names:
            profile = build_profile(
                model=model,
                version="1",
                task="regression",
                features=columns,
                predictions=predictions,
                error_clip=3.0,
            )
            await system.registry("bench").register_version(
                session,
                ModelMetadata(model=model, created_at_ms=0),
                ModelArtifact(uri=f"local:{model}/1", sha256=hashlib.sha256(b"").hexdigest(), manifest={}),
                profile=profile,
                lineage=Lineage(source="import"),
                actor="bench",
                reason="bench",
                at_ms=0,
            )
    return system


async def _fill(home: Path, plan: StreamPlan) -> int:
    system = await _open(home, plan, 0)
    total = 0
    stream = records(plan, system.topics)
    for chunk in _chunks(stream):
        await system.log.append(chunk)
        total += len(chunk)
    await system.close()
    return total


def _chunks(stream: Iterator[NewRecord]) -> Iterator[list[NewRecord]]:
    while chunk := list(islice(stream, _CHUNK)):
        yield chunk


async def _read_and_decode(system: System) -> int:
    read = 0
    for topic, decode in (
        (system.topics.predictions, decode_predictions),
        (system.topics.outcomes, decode_outcomes),
    ):
        for partition in range(system.settings.partitions):
            offset = 0
            while batch := await system.log.read(topic, partition, offset, system.settings.batch_records):
                decode(batch, system.limits)
                offset = batch[-1].offset + 1
                read += len(batch)
    return read
