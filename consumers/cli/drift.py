"""`lifecycle drift`: episodes."""

import click

from consumers.bootstrap import System
from consumers.cli.drift_tune import command as tune
from consumers.cli.options import json_option, with_system
from consumers.cli.output import print_json, print_table, when
from consumers.store.repositories.episodes import EpisodeRepository


@click.group("drift", short_help="Drift episodes.")
def command() -> None:
    """Drift episodes: one per model, version and drift type from alarm to recovery."""


@command.command("list")
@click.option("--model", help="Only this model's.")
@click.option("--open", "only_open", is_flag=True, help="Only those that are open.")
@json_option
@with_system
async def list_episodes(system: System, model: str | None, only_open: bool, as_json: bool) -> None:
    """Episodes in the order in which they opened.

    \b
    Example:
      lifecycle drift list --open --home DIR
    """
    async with system.store.read() as session:
        episodes = await EpisodeRepository(session).list(model)
    records = [
        {
            "opened": when(episode.opened_at_ms),
            "closed": when(episode.closed_at_ms),
            "model": episode.model,
            "version": episode.version,
            "drift_type": episode.drift_type.value,
            "severity": episode.severity,
            "drift_id": episode.episode_id,
        }
        for episode in episodes
        if not only_open or episode.closed_at_ms is None
    ]
    if as_json:
        print_json(records)
        return
    columns = ("opened", "closed", "model", "version", "drift_type", "severity", "drift_id")
    print_table("drift episodes", records, columns, "no drift episodes")


command.add_command(tune)
