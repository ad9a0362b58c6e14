"""The loop around any worker: step while there is work, wait while there is none, outlive what is broken."""

import asyncio
import gc
from typing import Protocol

from consumers.logger import get_logger
from consumers.store.errors import StoreUnavailable
from schemas.errors import LogUnavailable

_log = get_logger("shell")
FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 30.0


class Worker(Protocol):
    """Anything that works in steps."""

    async def step(self) -> int | bool:
        """Do what there is to do now; something false when there was nothing."""
        ...


def collect_seldom() -> None:
    """Have the garbage collector look less often, for processes that fold.

    A batch makes tens of thousands of objects that die together and hold no cycles; by default the collector
    walks them, and the open windows, every 700: a tenth of the tally worker's CPU (`lifecycle bench tally`).
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


async def run(worker: Worker, name: str, *, poll_s: float, stop: asyncio.Event) -> None:
    """Step `worker` until `stop` is set.

    A store or log that is away is waited for with backoff (doubling from 0.2 s to 30 s); a worker's step is
    safe to repeat. Every other error ends the process: it is a defect or a wrong configuration.
    """
    wait_s = FIRST_WAIT_S
    while not stop.is_set():
        try:
            worked = await worker.step()
        except (StoreUnavailable, LogUnavailable) as error:
            _log.warning("worker.waiting", worker=name, seconds=wait_s, message=str(error))
            await _pause(stop, wait_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)
            continue
        wait_s = FIRST_WAIT_S
        if not worked:
            await _pause(stop, poll_s)
    _log.info("worker.drained", worker=name)


async def settle(workers: dict[str, Worker]) -> None:
    """Step all `workers` in turn until a whole round finds nothing to do: the system is idle then.

    For whoever drives event time (the demo, tests): what happens next does not depend on anybody's speed.
    """
    busy = True
    while busy:
        busy = False
        for worker in workers.values():
            while await worker.step():
                busy = True


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
