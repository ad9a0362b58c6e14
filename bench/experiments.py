"""How often the experiments' tests are wrong, and how soon they are right: `python -m bench.experiments`.

A/A tables draw experiments in which both arms are equal and look after every batch; a cell says how often
either claim was made at any look, and the upper 95 % bound of that rate (Clopper & Pearson). Power tables say
how often a better treatment was promoted and after how many outcomes on average, beside the figures of the
design. In A/A tables promotion is allowed from batch 20 on and harm from batch 10, as in the product; in
power tables from the first look with evidence. `--test naive` is the control: a z-test of the totals at
every look, as if it were the only one. Exit code 1 when any cell does not hold: when it is surely (99.9 %)
above alpha or surely worse than the design's figure.

    python -m bench.experiments --quick
    python -m bench.experiments --table "A1 means" --runs 4000 --seed 7 --json
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from time import monotonic
from zlib import crc32

import numpy as np
from scipy.stats import beta

from bench.simulation.evidence import ALPHA, Evidence, Ints
from bench.simulation.streams import HORIZON, Seen
from bench.simulation.tables import CELLS, Cell
from domain.experiments.plan import Minimums
from domain.experiments.state import TUNING_BATCHES

FULL, QUICK = 4_000, 60
"""Runs of a cell; where a run costs more there are fewer."""
THRESHOLD = math.log(1 / ALPHA)
CONFIDENCE = 0.95
"""Of the bounds shown."""
SURE = 0.999
"""There are more than a hundred rates: some are above their 95 % bound by chance."""
TESTS = ("product", "naive", "exact", "contrast", "units")
"""What the judge goes by, the control, and the parts that the product takes the smaller of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One cell by one test. Of a power table `promoted` is the power."""

    table: str
    cell: str
    test: str
    runs: int
    promoted: float
    promoted_upper: float
    rolled_back: float
    rolled_back_upper: float
    mean_n: float
    power_wanted: float | None
    mean_n_wanted: float | None
    judged: bool
    """Whether it has to hold: the product, and a part where the part has to be right alone."""
    holds: bool
    seconds: float


class Count:
    """Of one test over the chunks of a cell."""

    def __init__(self, cell: Cell) -> None:
        self._minimums = not cell.wanted
        self.runs = self.promoted = self.rolled_back = 0
        self.sizes: list[float] = []

    def add(self, evidence: Evidence, outcomes: Ints) -> None:
        won = evidence.up >= THRESHOLD
        lost = evidence.down >= THRESHOLD
        if self._minimums:
            won[:, : Minimums().batches - 1] = False
            lost[:, : TUNING_BATCHES - 1] = False
        self.runs += len(won)
        self.promoted += int(won.any(axis=1).sum())
        self.rolled_back += int(lost.any(axis=1).sum())
        self.sizes += np.where(won.any(axis=1), outcomes[won.argmax(axis=1)], HORIZON).tolist()


def lower_bound(count: int, runs: int, confidence: float) -> float:
    """Of a rate (Clopper & Pearson)."""
    return float(beta.ppf(1 - confidence, count, runs - count + 1)) if count else 0.0


def upper_bound(count: int, runs: int, confidence: float) -> float:
    """Of a rate (Clopper & Pearson)."""
    return 1.0 - lower_bound(runs - count, runs, confidence)


def measure(cell: Cell, runs: int, seed: int, tests: Sequence[str]) -> Iterator[Result]:
    """Every test of the cell that is asked for; the same draws for all of them."""
    began = monotonic()
    source = np.random.default_rng([seed, crc32(f"{cell.table}|{cell.name}".encode())])
    counts: dict[str, Count] = {}
    left = max(1, round(runs / cell.cost))
    while left > 0:
        seen: Seen = cell.draw(source, min(cell.chunk, left))
        left -= cell.chunk
        for name in tests:
            if name in seen.tests:
                counts.setdefault(name, Count(cell)).add(seen.tests[name], seen.outcomes)
    seconds = (monotonic() - began) / max(1, len(counts))
    for name, count in counts.items():
        yield result(
            cell, name, count, seconds, judged=len(tests) == 1 or name in (cell.wanted or cell.judged)
        )


def result(cell: Cell, test: str, count: Count, seconds: float, *, judged: bool) -> Result:
    runs, won, lost = count.runs, count.promoted, count.rolled_back
    mean_n = float(np.mean(count.sizes))
    error = float(np.std(count.sizes)) / math.sqrt(count.runs)
    power, size = cell.wanted.get(test, (None, None))
    if power is not None and size is not None:
        # the design's figures have errors of their own: .01 in 1,000 runs, and 2 % of the size
        holds = upper_bound(won, runs, SURE) >= power - 0.02 and mean_n - 3 * error <= 1.04 * size
    else:
        holds = bool(cell.wanted) or lower_bound(max(won, lost), runs, SURE) <= ALPHA
    return Result(
        table=cell.table,
        cell=cell.name,
        test=test,
        runs=runs,
        promoted=won / runs,
        promoted_upper=upper_bound(won, runs, CONFIDENCE),
        rolled_back=lost / runs,
        rolled_back_upper=upper_bound(lost, runs, CONFIDENCE),
        mean_n=mean_n,
        power_wanted=power,
        mean_n_wanted=size,
        judged=judged,
        holds=holds,
        seconds=seconds,
    )


def line(cell: Cell, found: Result) -> str:
    name = f"{found.cell[:38]:38} {found.test:8} {found.runs:6}"
    if cell.wanted:
        power = "" if found.power_wanted is None else f"{found.power_wanted:.2f}"
        size = "" if found.mean_n_wanted is None else f"{found.mean_n_wanted:,.0f}"
        rates = f"{found.promoted:8.3f} {power:>7} {found.mean_n:11,.0f} {size:>7}"
    else:
        rates = (
            f"{found.promoted:8.4f} {found.promoted_upper:7.4f} "
            f"{found.rolled_back:11.4f} {found.rolled_back_upper:7.4f}"
        )
    remark = "" if found.holds else "DOES NOT HOLD" if found.judged else "(not valid here alone)"
    return f"{name} {rates}  {remark}".rstrip()


def heading(cell: Cell) -> str:
    if cell.wanted:
        columns = f"{'power':>8} {'design':>7} {'mean n':>11} {'design':>7}"
    else:
        columns = f"{'promoted':>8} {'<= 95 %':>7} {'rolled back':>11} {'<= 95 %':>7}"
    return f"\n{cell.table:38} {'test':8} {'runs':>6} {columns}"


def main(arguments: Sequence[str] | None = None) -> int:
    words = argparse.ArgumentParser(prog="python -m bench.experiments", description=__doc__.split("\n\n")[0])
    words.add_argument("--quick", action="store_true", help=f"{QUICK} runs of a cell instead of {FULL:,}")
    words.add_argument("--runs", type=int, help="runs of a cell")
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--table", action="append", choices=sorted({cell.table for cell in CELLS}))
    words.add_argument("--test", action="append", choices=TESTS, help="default: product, and its parts")
    words.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    chosen = words.parse_args(arguments)
    runs = chosen.runs or (QUICK if chosen.quick else FULL)
    tests = chosen.test or [name for name in TESTS if name != "naive"]
    results: list[Result] = []
    table = None
    for cell in CELLS:
        if chosen.table and cell.table not in chosen.table:
            continue
        if cell.table != table and not chosen.json:
            print(heading(cell))
        table = cell.table
        for found in measure(cell, runs, chosen.seed, tests):
            results.append(found)
            if not chosen.json:
                print(line(cell, found), flush=True)
    judged = [found for found in results if found.judged]
    failed = [found for found in judged if not found.holds]
    if chosen.json:
        rows = [asdict(found) for found in results]
        print(json.dumps({"seed": chosen.seed, "alpha": ALPHA, "results": rows, "failed": len(failed)}))
    else:
        print(f"\n{len(judged) - len(failed)} of {len(judged)} cells hold (seed {chosen.seed})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
