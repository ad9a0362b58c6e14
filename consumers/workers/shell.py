"""The loop around any worker: step while there is work, wait while there is none, outlive what is broken."""

import asyncio
import gc
from typing import Protocol

from consumers.logger import get_logger
from consumers.store.errors import StoreConflict, StoreUnavailable
from schemas.errors import LogUnavailable, UnreadableBatch

_log = get_logger("shell")
FIRST_WAIT_S = 0.2
_CONFLICT_S = 0.02
LONGEST_WAIT_S = 30.0
DRAIN_S = 3.0
"""How long a step may still take when the process is asked to end; orchestrators kill after ten seconds."""
GIVE_UP_S = 1.0
"""How long a cancelled step may take to end."""
CLOSE_S = 4.0
"""How long a worker may take to let go of what it holds: of the group, a lock, connections."""


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


class Observer(Protocol):
    """Whoever answers for the process's health."""

    def stepped(self, worker: str, worked: bool) -> None:
        """A step has ended well."""
        ...

    def waiting(self, worker: str, reason: str, seconds: float) -> None:
        """The worker waits for what `reason` names."""
        ...

    def drained(self, worker: str) -> None:
        """The worker has ended as it was asked to."""
        ...


async def run(
    worker: Worker, name: str, *, poll_s: float, stop: asyncio.Event, observer: Observer | None = None
) -> None:
    """Step `worker` until `stop` is set, then close it.

    A store or log that is away, or a batch of the log that cannot be decoded, is waited for with backoff
    (doubling from 0.2 s to 30 s); a worker's step is safe to repeat, and safe to cut short: one that has not
    ended `DRAIN_S` after `stop` is cancelled. Every other error ends the process: it is a defect or a wrong
    configuration.
    """
    wait_s = FIRST_WAIT_S
    stopping = asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            try:
                worked = await _step(worker, name, stopping)
            except StoreConflict as error:
                # two transactions got in each other's way: the other one is through
                _log.info("worker.repeats", worker=name, message=str(error))
                await pause(stop, _CONFLICT_S)
                continue
            except (StoreUnavailable, LogUnavailable, UnreadableBatch) as error:
                _log.warning("worker.waiting", worker=name, seconds=wait_s, message=str(error))
                if observer is not None:
                    observer.waiting(name, str(error), wait_s)
                await pause(stop, wait_s)
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)
                continue
            wait_s = FIRST_WAIT_S
            if observer is not None:
                observer.stepped(name, bool(worked))
            if not worked:
                await pause(stop, poll_s)
    finally:
        stopping.cancel()
        await close(worker)
    if observer is not None:
        observer.drained(name)
    _log.info("worker.drained", worker=name)


async def close(worker: Worker) -> None:
    """Have `worker` let go of what it holds, if it holds anything: group membership, a lock, connections."""
    closing = getattr(worker, "close", None)
    if closing is None:
        return
    task = asyncio.ensure_future(closing())
    await asyncio.wait({task}, timeout=CLOSE_S)
    if task.done():
        await task
        return
    # whoever is left without goodbye finds out by itself: sessions end
    _log.warning("worker.left", seconds=CLOSE_S)
    task.cancel()
    await asyncio.wait({task}, timeout=GIVE_UP_S)


async def _step(worker: Worker, name: str, stopping: asyncio.Task[bool]) -> int | bool:
    step = asyncio.ensure_future(worker.step())
    try:
        await asyncio.wait({step, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not step.done():
            await asyncio.wait({step}, timeout=DRAIN_S)
        if not step.done():
            _log.warning("worker.cut_short", worker=name, seconds=DRAIN_S)
            return False
        return await step
    finally:
        if not step.done():
            step.cancel()
            # what it was doing may not take note: it must not keep the process
            await asyncio.wait({step}, timeout=GIVE_UP_S)


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


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until `stop` is set."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
