"""What a cell's runs say: how often each claim was made, how sure that is, and whether the cell holds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Literal
from zlib import crc32

import numpy as np
from scipy.stats import beta

from bench.simulation.evidence import Evidence, Ints
from bench.simulation.streams import HORIZON, Seen
from bench.simulation.tables import Cell
from domain.experiments.plan import Minimums
from domain.experiments.state import TUNING_BATCHES

Status = Literal["shown", "not shown", "FAILS"]
CONFIDENCE = 0.95
"""Of each bound that is reported."""
SURE = 0.999
"""Of the bound that fails a cell: of two hundred rates some lie beyond their 95 % bounds by chance."""
_Z, _Z_SURE = 1.6448536269514722, 3.090232306167813
POWER_SLACK, SIZE_SLACK = 0.02, 1.04
"""The design's figures have errors of their own: .01 in 1,000 runs, and 2 % of the size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One cell by one test. Of a power table `promoted` is the power, of harm too; of a ratio, the alarms."""

    table: str
    cell: str
    test: str
    kind: str
    """error, alarm or power."""
    alpha: float
    runs: int
    promoted: float
    promoted_lower: float
    promoted_upper: float
    rolled_back: float | None
    """None, like its bounds, where only one claim is looked at."""
    rolled_back_lower: float | None
    rolled_back_upper: float | None
    mean_n: float
    mean_n_error: float
    """Standard error."""
    power_wanted: float | None
    mean_n_wanted: float | None
    judged: bool
    """Whether it has to hold: the product, and a part where the part has to be right alone."""
    holds: bool
    """By its estimates."""
    status: Status
    """By its bounds: shown if the reported ones lie on the right side, FAILS if it surely does not hold."""
    seconds: float


class Count:
    """Of one test over the chunks of a cell."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.runs = self.promoted = self.rolled_back = 0
        self.sizes: list[float] = []

    def add(self, evidence: Evidence, outcomes: Ints) -> None:
        threshold = math.log(1 / self._cell.alpha)
        won, lost = evidence.up >= threshold, evidence.down >= threshold
        if self._cell.harm:
            won, lost = lost, won
        if self._cell.kind == "error":
            won[:, : Minimums().batches - 1] = False
            lost[:, : TUNING_BATCHES - 1] = False
        self.runs += len(won)
        self.promoted += int(won.any(axis=1).sum())
        self.rolled_back += int(lost.any(axis=1).sum())
        self.sizes += np.where(won.any(axis=1), outcomes[won.argmax(axis=1)], HORIZON).tolist()

    @property
    def mean_n(self) -> float:
        return float(np.mean(self.sizes))

    @property
    def mean_n_error(self) -> float:
        return float(np.std(self.sizes)) / math.sqrt(self.runs)


def lower_bound(count: int, runs: int, confidence: float = CONFIDENCE) -> float:
    """Of a rate (Clopper & Pearson)."""
    return float(beta.ppf(1 - confidence, count, runs - count + 1)) if count else 0.0


def upper_bound(count: int, runs: int, confidence: float = CONFIDENCE) -> float:
    """Of a rate (Clopper & Pearson)."""
    return 1.0 - lower_bound(runs - count, runs, confidence)


def measure(cell: Cell, runs: int, seed: int, tests: Sequence[str]) -> list[Result]:
    """Every test of the cell that is asked for; the same draws for all of them."""
    began = monotonic()
    source = np.random.default_rng([seed, crc32(f"{cell.table}|{cell.name}".encode())])
    counts: dict[str, Count] = {}
    left = max(1, round(runs / cell.cost))
    while left > 0:
        seen: Seen = cell.draw(source, min(cell.chunk, left))
        left -= cell.chunk
        for name, evidence in seen.tests.items():
            counts.setdefault(name, Count(cell)).add(evidence, seen.outcomes)
    asked = {name: count for name, count in counts.items() if name in tests}
    if cell.kind == "power" and len(tests) > 1:
        # the control finds everything, also what is not there
        right = {*cell.wanted, "product", cell.beside}
        asked = {name: count for name, count in asked.items() if name in right}
    seconds = (monotonic() - began) / max(1, len(asked))
    found = []
    for name, count in asked.items():
        judged = len(tests) == 1 or name in (() if cell.beside else cell.wanted or cell.judged)
        found.append(_result(cell, name, count, _wanted(cell, name, counts), judged, seconds))
    return found


def _wanted(cell: Cell, test: str, counts: Mapping[str, Count]) -> tuple[float, float] | None:
    """Power and mean size: the design's, or of the test beside."""
    beside = counts.get(cell.beside)
    if beside is not None and test == "product":
        return beside.promoted / beside.runs, beside.mean_n
    return cell.wanted.get(test)


def _result(
    cell: Cell, test: str, count: Count, wanted: tuple[float, float] | None, judged: bool, seconds: float
) -> Result:
    runs, won, lost = count.runs, count.promoted, count.rolled_back
    both = cell.kind == "error"
    holds, status = _of_power(count, wanted) if cell.kind == "power" else _of_errors(cell, count)
    return Result(
        table=cell.table,
        cell=cell.name,
        test=test,
        kind=cell.kind,
        alpha=cell.alpha,
        runs=runs,
        promoted=won / runs,
        promoted_lower=lower_bound(won, runs),
        promoted_upper=upper_bound(won, runs),
        rolled_back=lost / runs if both else None,
        rolled_back_lower=lower_bound(lost, runs) if both else None,
        rolled_back_upper=upper_bound(lost, runs) if both else None,
        mean_n=count.mean_n,
        mean_n_error=count.mean_n_error,
        power_wanted=None if wanted is None else wanted[0],
        mean_n_wanted=None if wanted is None or math.isinf(wanted[1]) else wanted[1],
        judged=judged,
        holds=holds,
        status=status,
        seconds=seconds,
    )


def _of_errors(cell: Cell, count: Count) -> tuple[bool, Status]:
    worst = max(count.promoted, count.rolled_back)
    holds = worst / count.runs <= cell.alpha
    if lower_bound(worst, count.runs, SURE) > cell.alpha:
        return holds, "FAILS"
    return holds, "shown" if upper_bound(worst, count.runs) <= cell.alpha else "not shown"


def _of_power(count: Count, wanted: tuple[float, float] | None) -> tuple[bool, Status]:
    if wanted is None:
        return True, "shown"
    least, most = wanted[0] - POWER_SLACK, wanted[1] * SIZE_SLACK
    won, runs, mean_n, error = count.promoted, count.runs, count.mean_n, count.mean_n_error
    holds = won / runs >= least and mean_n <= most
    if upper_bound(won, runs, SURE) < least or mean_n - _Z_SURE * error > most:
        return holds, "FAILS"
    shown = lower_bound(won, runs) >= least and mean_n + _Z * error <= most
    return holds, "shown" if shown else "not shown"
