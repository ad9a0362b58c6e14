"""Options that many commands share, and the running of async commands."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import click

from consumers.bootstrap import System, open_system
from consumers.cli.faults import USAGE, Refused
from consumers.logger import LoggerService
from consumers.services.skipping import MOST_ACTOR
from consumers.settings import load_settings
from schemas.clock import to_ms

P = ParamSpec("P")
R = TypeVar("R")

home_option = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="Folder of the embedded engine and of lifecycle.toml.  [default: $LIFECYCLE_HOME or lifecycle-home]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
always_json_option = click.option(
    "--json", is_flag=True, expose_value=False, help="The output is JSON with or without this."
)


def _named(context: click.Context, parameter: click.Parameter, actor: str | None) -> str | None:
    """Who orders is kept in columns and events, which have a limit."""
    if actor is not None and (not 0 < len(actor) <= MOST_ACTOR or "\0" in actor):
        raise click.BadParameter(f"must have 1 to {MOST_ACTOR} characters and no NUL")
    return actor


actor_option = click.option(
    "--actor", required=True, callback=_named, help="Who orders this; kept in the history."
)
allowed_actor_option = click.option("--actor", callback=_named, help="With --apply: who orders this; kept.")


def moment(text: str, option: str = "--time") -> int:
    """Event time from an option. Raises UsageError, which names it."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"{option} {text!r} is not an ISO 8601 date or time") from None
    # a date alone is that day's midnight, UTC
    return to_ms(parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC))


def with_system(command: Callable[Concatenate[System, P], Awaitable[R]]) -> Callable[..., R]:
    """Give an async command the system of `--home`, which must exist (`lifecycle init` makes one)."""

    @home_option
    @wraps(command)
    def run(home: Path | None, *args: P.args, **kwargs: P.kwargs) -> R:
        settings = load_settings(home)
        if settings.embedded and not settings.home.is_dir():
            raise Refused(f"{settings.home} is no deployment: lifecycle init --home DIR makes one", USAGE)
        LoggerService.for_orders(settings.log_level)

        async def inside() -> R:
            system = await open_system(settings)
            try:
                return await command(system, *args, **kwargs)
            finally:
                await system.close()

        return asyncio.run(inside())

    return run
