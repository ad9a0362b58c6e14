"""How often the experiments' tests are wrong, and how soon they are right: `python -m bench.experiments`.

A/A tables draw experiments in which all arms are equal and look after every batch; a cell says how often
either claim was made at any look. Power tables say how often a better treatment was promoted (a worse one
rolled back, a wrong split found) and after how many outcomes on average, beside the figures of the design. In
A/A tables promotion is allowed from batch 20 on and harm from batch 10, as in the product; in power tables
from the first look with evidence. Tests: "product" is what the judge goes by; "exact", "contrast" and "units"
are parts of it; "information" is what A3 would do if it knew the variance; "uncorrected" gives each of
several treatments the whole alpha; "naive" is the control: a z-test of the totals at every look, as if it
were the only one (of a split, a chi-square test).

Bounds are one-sided, 95 % each (Clopper & Pearson). A cell HOLDS if its rates are at or under alpha. It is
SHOWN if their upper bounds are too. It FAILS, and with it the run (exit code 1), if a lower bound at 99.9 %
is above alpha: at 95 % some of two hundred rates would by chance. It is NOT SHOWN if neither is so. Power
holds if it is at least the design's less 0.02, and the mean size if it is at most 1.04 times the design's,
by the same rule. Only the product has to hold, and a part where it has to be right alone; all else is shown
for comparison.

    python -m bench.experiments --quick
    python -m bench.experiments --table "A1 means" --runs 4000 --seed 7 --json
    python -m bench.experiments --table ramp --test naive
    python -m bench.experiments --write docs/simulation.md
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

from bench.simulation.document import document
from bench.simulation.rates import Result, measure
from bench.simulation.tables import CELLS, Cell

FULL, QUICK = 4_000, 60
"""Runs of a cell; where a run costs more there are fewer, where it costs less more."""
TESTS = ("product", "exact", "contrast", "units", "information", "uncorrected", "naive")


def found(
    cells: Sequence[int], runs: int, seed: int, tests: Sequence[str], jobs: int
) -> Iterator[list[Result]]:
    """Of each cell, in order. What is drawn depends on the cell and the seed, not on the number of jobs."""
    if jobs == 1:
        yield from (measured(cell, runs, seed, tests) for cell in cells)
        return
    # forked processes would share the threads of numpy's libraries
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(measured, cell, runs, seed, tests) for cell in cells]
        yield from (future.result() for future in futures)


def measured(cell: int, runs: int, seed: int, tests: Sequence[str]) -> list[Result]:
    return measure(CELLS[cell], runs, seed, tests)


def line(result: Result) -> str:
    name = f"{result.cell[:34]:34} {result.test:11} {result.runs:6}"
    if result.kind == "power":
        power = "" if result.power_wanted is None else f"{result.power_wanted:.2f}"
        size = "" if result.mean_n_wanted is None else f"{result.mean_n_wanted:,.0f}"
        rates = f"{result.promoted:7.3f} {power:>6} {result.mean_n:8,.0f} {size:>7}"
    else:
        rates = f"{result.promoted:7.4f} {result.promoted_upper:6.4f}"
        if result.rolled_back is not None:
            rates += f" {result.rolled_back:8.4f} {result.rolled_back_upper:6.4f}"
    return f"{name} {rates}  {remark(result)}".rstrip()


def remark(result: Result) -> str:
    if result.judged:
        return "" if result.status == "shown" else result.status
    if result.test == "naive":
        return "(control)"
    return "" if result.kind == "power" or result.holds else "(not valid here alone)"


def heading(cell: Cell) -> str:
    columns = {
        "power": f"{'power':>7} {'design':>6} {'mean n':>8} {'design':>7}",
        "alarm": f"{'alarms':>7} {'<=':>6}",
        "error": f"{'promo.':>7} {'<=':>6} {'rolled b.':>8} {'<=':>5}",
    }
    return f"\n{cell.table:34} {'test':11} {'runs':>6} {columns[cell.kind]}"


def summary(results: Sequence[Result]) -> str:
    judged = [result for result in results if result.judged]
    holding = sum(result.holds for result in judged)
    shown, not_shown, failed = (
        sum(result.status == status for result in judged) for status in ("shown", "not shown", "FAILS")
    )
    return (
        f"{holding} of {len(judged)} judged rows hold by their estimates; by their bounds {shown} are shown, "
        f"{not_shown} not shown, {failed} fail"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    words = argparse.ArgumentParser(
        prog="python -m bench.experiments",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    words.add_argument("--quick", action="store_true", help=f"{QUICK} runs of a cell instead of {FULL:,}")
    words.add_argument("--runs", type=int, help="runs of a cell")
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes, default 2")
    words.add_argument("--table", action="append", choices=sorted({cell.table for cell in CELLS}))
    words.add_argument("--test", action="append", choices=TESTS, help="default: all; one alone has to hold")
    words.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    words.add_argument("--write", type=Path, metavar="FILE", help="write the tables as Markdown too")
    chosen = words.parse_args(arguments)
    runs = chosen.runs or (QUICK if chosen.quick else FULL)
    cells = [k for k, cell in enumerate(CELLS) if not chosen.table or cell.table in chosen.table]
    results: list[Result] = []
    table = None
    for cell, ours in zip(
        cells, found(cells, runs, chosen.seed, chosen.test or TESTS, chosen.jobs), strict=True
    ):
        results += ours
        if chosen.json:
            continue
        if CELLS[cell].table != table:
            table = CELLS[cell].table
            print(heading(CELLS[cell]))
        for result in ours:
            print(line(result), flush=True)
    failed = sum(result.judged and result.status == "FAILS" for result in results)
    if chosen.write:
        asked = " ".join(sys.argv[1:] if arguments is None else arguments)
        text = document(results, f"python -m bench.experiments {asked}", chosen.seed, summary(results))
        chosen.write.write_text(text, "utf-8")
    if chosen.json:
        rows = [asdict(result) for result in results]
        print(json.dumps({"seed": chosen.seed, "runs": runs, "results": rows, "failed": failed}))
    else:
        print(f"\n{summary(results)} (seed {chosen.seed})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
