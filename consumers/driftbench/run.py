"""Measuring many cells, in one process or several; in order either way."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from consumers.driftbench.tables import Cell, Result, Size, measure


def measured(cells: Sequence[Cell], size: Size, seed: int, jobs: int) -> Iterator[Result]:
    """The results, in the order of `cells`; costs are measured alone, after the others are done."""
    busy = [cell for cell in cells if cell.table != "cost"]
    quiet = [cell for cell in cells if cell.table == "cost"]
    one = partial(measure, size=size, seed=seed)
    if jobs > 1 and len(busy) > 1:
        # spawned: a child that is forked from a process with threads may hang
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            yield from pool.map(one, busy)
    else:
        yield from map(one, busy)
    yield from map(one, quiet)
