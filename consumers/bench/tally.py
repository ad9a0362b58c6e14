"""CPU per record of the tally worker on the embedded log, beside the floor of reading and decoding alone."""

import time
from pathlib import Path

from consumers.bench.cost import Spread, TallyCost
from consumers.bench.stream import StreamPlan, chunks
from consumers.bench.versions import register
from consumers.bootstrap import System, open_system
from consumers.log.decode import decode_outcomes, decode_predictions
from consumers.settings import load_settings

_CHUNK = 10_000


async def measure(home: Path, plan: StreamPlan, repeats: int, core: int | None = None) -> TallyCost:
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
        log="embedded",
        store="SQLite",
        records=total,
        partitions=plan.partitions,
        features=plan.features,
        models=plan.models,
        repeats=repeats,
        core=core,
        rows=rows,
        divergences=divergences,
        worker=Spread.of(costs),
        floor=Spread.of(floors),
    )


async def _open(home: Path, plan: StreamPlan, repeat: int) -> System:
    settings = load_settings(
        home,
        database_url=f"sqlite+aiosqlite:///{home / f'store-{repeat}.sqlite'}",
        # whatever brokers the environment names
        kafka={"bootstrap": ""},
        partitions=plan.partitions,
        heartbeats=False,
        log_level="WARNING",
    )
    system = await open_system(settings, create=True)
    await register(system, plan)
    return system


async def _fill(home: Path, plan: StreamPlan) -> int:
    system = await _open(home, plan, 0)
    total = 0
    for chunk in chunks(plan, system.topics, _CHUNK):
        await system.log.append(chunk)
        total += len(chunk)
    await system.close()
    return total


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
