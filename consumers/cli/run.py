"""`lifecycle run`: the workers, one kind or all of them in one process."""

import asyncio
import os
import signal
import threading
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import click
from prometheus_client import CollectorRegistry

from consumers.bootstrap import WORKERS, System, open_system
from consumers.cli.options import home_option
from consumers.health import Health, serve
from consumers.logger import LoggerService, get_logger
from consumers.settings import ConfigManager, load_settings
from consumers.store.errors import StoreUnavailable
from consumers.workers import shell
from consumers.workers.shell import Worker
from schemas.errors import LogUnavailable

_log = get_logger("run")
T = TypeVar("T")
DRAINED_WITHIN_S = 9.0
"""Orchestrators kill after ten."""


@click.command("run", short_help="Run workers until SIGTERM or Ctrl-C.")
@click.argument("worker", type=click.Choice(["all", *WORKERS]))
@home_option
@click.option("--partitions", help="Only these, such as 0,2 (tally). Two workers on one are harmless.")
def command(worker: str, home: Path | None, partitions: str | None) -> None:
    """Run WORKER until SIGTERM or Ctrl-C, which drain it; a second signal ends it at once, which is safe too.

    \b
    Examples:
      lifecycle run all --home DIR
      lifecycle run tally --home DIR --partitions 0,1
    """
    if partitions is not None and worker not in ("all", "tally"):
        raise click.UsageError(f"--partitions is for the tally worker; {worker} has none")
    settings = load_settings(home)
    if partitions is not None and settings.on_kafka:
        raise click.UsageError(
            "--partitions is for the embedded log; on Kafka the consumer group shares them"
        )
    chosen = None if partitions is None else _partitions(partitions, settings.partitions)
    LoggerService(settings.log_level)
    shell.collect_seldom()
    asyncio.run(_run(settings, WORKERS if worker == "all" else (worker,), chosen))


def _partitions(text: str, count: int) -> tuple[int, ...]:
    try:
        chosen = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise click.UsageError(f"--partitions {text!r} is not a list of numbers such as 0,2") from None
    if chosen[0] < 0 or chosen[-1] >= count:
        raise click.UsageError(f"--partitions {text!r}: partitions are 0 to {count - 1}")
    return chosen


async def _run(settings: ConfigManager, names: tuple[str, ...], partitions: tuple[int, ...] | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, stop, number)
    health = Health()
    begun = await _begun(settings, names, partitions, stop, health)
    if begun is None:
        return
    system, workers = begun
    try:
        _log.info("run.started", workers=list(workers), home=str(settings.home))
        async with system.observed(workers, health), asyncio.TaskGroup() as group:
            for name, worker in workers.items():
                running = shell.run(worker, name, poll_s=settings.poll_interval_s, stop=stop, observer=health)
                group.create_task(running)
    except ExceptionGroup as failures:
        # one worker failed and the others were cancelled: its error is the one to show
        raise failures.exceptions[0] from None
    finally:
        await system.close()


async def _begun(
    settings: ConfigManager,
    names: tuple[str, ...],
    partitions: tuple[int, ...] | None,
    stop: asyncio.Event,
    health: Health,
) -> tuple[System, dict[str, Worker]] | None:
    """The system and its workers, as soon as store and log can be used; None if asked to end before that."""
    problem: StoreUnavailable | LogUnavailable
    try:
        return await _until(stop, _begin(settings, names, partitions))
    except (StoreUnavailable, LogUnavailable) as error:
        if settings.embedded:
            raise  # files that cannot be used do not come back by themselves, as servers do
        problem = error
    # not ready, and well: whoever watches shall see what is waited for, and not start another process
    async with AsyncExitStack() as answering:
        if settings.metrics_port is not None:
            health.expect(*names)
            await answering.enter_async_context(
                serve(health, CollectorRegistry(), settings.metrics_host, settings.metrics_port)
            )
        wait_s = shell.FIRST_WAIT_S
        while True:
            _log.warning("run.waiting", seconds=wait_s, message=str(problem))
            for name in names:
                health.waiting(name, str(problem), wait_s)
            await shell.pause(stop, wait_s)
            wait_s = min(wait_s * 2, shell.LONGEST_WAIT_S)
            try:
                return await _until(stop, _begin(settings, names, partitions))
            except (StoreUnavailable, LogUnavailable) as error:
                problem = error


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What `work` returns; None, and it is cancelled, if `stop` is set before."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return await working if working.done() else None
    finally:
        stopping.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait({working}, timeout=shell.CLOSE_S)


async def _begin(
    settings: ConfigManager, names: tuple[str, ...], partitions: tuple[int, ...] | None
) -> tuple[System, dict[str, Worker]]:
    # on the service engine migrations and topics are an operator's: `lifecycle init`, before all workers
    system = await open_system(settings, create=settings.embedded)
    workers: dict[str, Worker] = {}
    try:
        for name in names:
            workers[name] = await system.worker(name, partitions)
    except BaseException:
        for worker in workers.values():
            await shell.close(worker)
        await system.close()
        raise
    return system, workers


def _stop(stop: asyncio.Event, number: signal.Signals) -> None:
    if stop.is_set():
        # every effect is idempotent: ending in the middle repeats work, it loses none
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    stop.set()
    # every phase of draining has its own limit; this one is for what takes no notice of being cancelled
    deadline = threading.Timer(DRAINED_WITHIN_S, _end)
    deadline.daemon = True
    deadline.start()


def _end() -> None:
    _log.warning("run.cut_short", seconds=DRAINED_WITHIN_S)
    os._exit(0)
