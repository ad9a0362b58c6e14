"""`lifecycle run`: the workers, one kind or all of them in one process."""

import asyncio
import signal
from pathlib import Path

import click

from consumers.bootstrap import WORKERS, open_system
from consumers.cli.options import home_option
from consumers.health import Health
from consumers.logger import LoggerService, get_logger
from consumers.settings import ConfigManager, load_settings
from consumers.workers import shell

_log = get_logger("run")


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
    # on the service engine migrations and topics are an operator's: `lifecycle init`, before all workers
    system = await open_system(settings, create=settings.embedded)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, stop, number)
    try:
        workers = {name: await system.worker(name, partitions) for name in names}
        health = Health()
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


def _stop(stop: asyncio.Event, number: signal.Signals) -> None:
    if stop.is_set():
        # every effect is idempotent: ending in the middle repeats work, it loses none
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    stop.set()
