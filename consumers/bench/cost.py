"""What a measurement found, and where it ran.

Processor time of the whole process (all threads), not wall time: a busy machine hardly changes it. Floor and
worker run in turn, each several times; the median of each is reported, and the spread beside it.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Microseconds of processor time per record over several repeats."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, costs: Sequence[float]) -> "Spread":
        return cls(median=median(costs), least=min(costs), most=max(costs))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.most:.2f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class TallyCost:
    """The tally worker's cost beside the floor of reading and decoding alone."""

    log: str
    store: str
    records: int
    partitions: int
    features: int
    models: int
    repeats: int
    core: int | None
    """The one that the process was pinned to; None where the system cannot."""
    rows: int
    divergences: int
    worker: Spread
    floor: Spread

    def to_json(self) -> dict[str, Any]:
        return {
            "log": self.log,
            "store": self.store,
            "records": self.records,
            "partitions": self.partitions,
            "features": self.features,
            "models": self.models,
            "repeats": self.repeats,
            "core": self.core,
            "rows": self.rows,
            "divergences": self.divergences,
            "cpu_us_per_record": round(self.worker.median, 2),
            "cpu_us_spread": [round(self.worker.least, 2), round(self.worker.most, 2)],
            "floor_us_per_record": round(self.floor.median, 2),
            "floor_us_spread": [round(self.floor.least, 2), round(self.floor.most, 2)],
            "ratio_to_floor": round(self.worker.median / self.floor.median, 2),
        }


@contextmanager
def pinned() -> Iterator[int | None]:
    """This process, and those it starts, on one core, which is yielded; None where the system cannot."""
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    cores = os.sched_getaffinity(0)
    core = max(cores)
    os.sched_setaffinity(0, {core})
    try:
        yield core
    finally:
        os.sched_setaffinity(0, cores)
