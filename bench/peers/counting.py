"""What the peers count, and how they say what it cost. Standard library only: each has its own environment.

A peer does the least that can be called the same counting, so that its figure is that of its framework:

- per window of one minute, model, version and variant: predictions, outcomes, the sum of squared errors;
- an outcome meets its prediction by id, in memory, in whichever order they come; of several with one id the
  first counts.

What the tally worker does beyond that: it checks every field, counts each of the features (bins, moments,
missing values) and the errors, closes windows by event time, writes rows and progress in one transaction,
forgets what is closed, and comes back from any crash with the same rows. A peer does none of it.
"""

import gc
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WINDOW_MS = 60_000
_Key = tuple[int, str, str, str | None]


@dataclass(slots=True)
class Cell:
    """One window of one variant."""

    predictions: int = 0
    outcomes: int = 0
    squared_error: float = 0.0


@dataclass(slots=True)
class Counting:
    """The counts, and the processor time of the records after the first `warm_up`."""

    warm_up: int
    records: int
    cells: dict[_Key, Cell] = field(default_factory=dict)
    seen: int = 0
    _predicted: dict[str, tuple[Cell, float]] = field(default_factory=dict)
    _early: dict[str, float] = field(default_factory=dict)
    """Outcomes whose predictions have not come yet."""
    _settled: set[str] = field(default_factory=set)
    _began_s: float = 0.0
    _ended_s: float = 0.0

    def __post_init__(self) -> None:
        # as the tally worker has it: the collector would walk the open predictions every 700 objects
        gc.freeze()
        gc.set_threshold(100_000, 20, 20)

    @property
    def done(self) -> bool:
        return self.seen >= self.warm_up + self.records

    def prediction(self, at_ms: int, value: Mapping[str, Any]) -> None:
        self._tick()
        identity = value["prediction_id"]
        if identity in self._predicted:
            return
        key = (at_ms - at_ms % WINDOW_MS, value["model"], value["version"], value.get("variant"))
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cells[key] = Cell()
        cell.predictions += 1
        self._predicted[identity] = cell, value["prediction"]
        actual = self._early.pop(identity, None)
        if actual is not None:
            self._settle(identity, actual)

    def outcome(self, value: Mapping[str, Any]) -> None:
        self._tick()
        identity = value["prediction_id"]
        if identity in self._predicted:
            self._settle(identity, value["actual"])
        else:
            self._early[identity] = value["actual"]

    def report(self, framework: str) -> str:
        """One line of JSON: what was measured, and enough of the counts to see that they were made."""
        cells = self.cells.values()
        return json.dumps(
            {
                "framework": framework,
                "records": self.records,
                "warm_up": self.warm_up,
                "cpu_us_per_record": (self._ended_s - self._began_s) / self.records * 1e6,
                "cells": len(self.cells),
                "predictions": sum(cell.predictions for cell in cells),
                "outcomes": sum(cell.outcomes for cell in cells),
            }
        )

    def _settle(self, identity: str, actual: float) -> None:
        if identity in self._settled:
            return
        self._settled.add(identity)
        cell, predicted = self._predicted[identity]
        cell.outcomes += 1
        cell.squared_error += (predicted - actual) ** 2

    def _tick(self) -> None:
        """Processor time of all threads: what a client does behind the scenes is part of the price."""
        if self.seen == self.warm_up:
            self._began_s = time.process_time()
        self.seen += 1
        if self.seen == self.warm_up + self.records:
            self._ended_s = time.process_time()
