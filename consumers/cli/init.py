"""`lifecycle init`: make a deployment."""

import asyncio
import shlex
from pathlib import Path

import click

from consumers.bootstrap import WORKERS, open_system
from consumers.cli.options import home_option
from consumers.logger import LoggerService
from consumers.settings import load_settings


@click.command("init", short_help="Make a deployment: folder, store schema, topics.")
@home_option
def command(home: Path | None) -> None:
    """Make a deployment in --home: the store's schema and the topics.

    Again is harmless, and upgrades the schema to this release's.

    \b
    Example:
      lifecycle init --home /var/lib/lifecycle
    """
    settings = load_settings(home)
    LoggerService.for_orders(settings.log_level)

    async def make() -> None:
        system = await open_system(settings, create=True)
        await system.close()

    asyncio.run(make())
    length_s = settings.windows.length_s
    click.echo(f"{settings.home} is ready: {settings.partitions} partitions, windows of {length_s:g} s")
    where = "" if home is None else f" --home {shlex.quote(str(home))}"
    if settings.on_kafka:
        click.echo(f"topics {settings.topic_prefix}* are on {settings.kafka.bootstrap}")
        click.echo("next, each as a process of its own, as many as you like:")
        for worker in WORKERS:
            click.echo(f"  lifecycle run {worker}{where}")
    else:
        click.echo(f"next: lifecycle run all{where}")
    click.echo(f"then: lifecycle status{where}")
