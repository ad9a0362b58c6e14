"""`lifecycle drift`: episodes, and what people say of them."""

import click

from consumers.bootstrap import System
from consumers.cli.drift_acknowledge import acknowledge
from consumers.cli.drift_bench import command as bench
from consumers.cli.drift_budget import budget
from consumers.cli.drift_estimate import command as estimate
from consumers.cli.drift_mute import mute, mutes, unmute
from consumers.cli.drift_show import show
from consumers.cli.drift_tune import command as tune
from consumers.cli.options import json_option, moment, with_system
from consumers.cli.output import print_json, print_table, when
from consumers.services.episode_stories import ListedEpisode, listed
from consumers.store.repositories.episodes import EpisodeRepository
from schemas.events import DriftType


@click.group("drift", short_help="Drift episodes.")
def command() -> None:
    """Drift episodes: one per model, version and drift type from alarm to recovery."""


@command.command("list")
@click.option("--model", help="Only this model's.")
@click.option("--open", "only_open", is_flag=True, help="Only those that are open.")
@click.option(
    "--type", "drift_type", type=click.Choice([kind.value for kind in DriftType]), help="Only this kind."
)
@click.option("--since", help="Only those that were open at this event time or later, such as 2026-11-01.")
@json_option
@with_system
async def list_episodes(
    system: System,
    model: str | None,
    only_open: bool,
    drift_type: str | None,
    since: str | None,
    as_json: bool,
) -> None:
    """Episodes in the order in which they opened; who knows of them, and whether they are muted.

    \b
    Example:
      lifecycle drift list --open --home DIR
    """
    since_ms = None if since is None else moment(since, "--since")
    async with system.store.read() as session:
        episodes = await EpisodeRepository(session).list(
            model,
            drift_type=None if drift_type is None else DriftType(drift_type),
            since_ms=since_ms,
            only_open=only_open,
        )
        records = [_record(each) for each in await listed(session, episodes)]
    if as_json:
        print_json(records)
        return
    columns = (
        "opened",
        "closed",
        "model",
        "version",
        "drift_type",
        "severity",
        "acknowledged",
        "muted",
        "drift_id",
    )
    print_table("drift episodes", records, columns, "no drift episodes")


def _record(each: ListedEpisode) -> dict[str, str | None]:
    episode, known = each.episode, each.acknowledgement
    at_opening = "at opening" if each.opened_muted else None
    return {
        "opened": when(episode.opened_at_ms),
        "closed": when(episode.closed_at_ms),
        "model": episode.model,
        "version": episode.version,
        "drift_type": episode.drift_type.value,
        "severity": episode.severity,
        "acknowledged": None if known is None else known.actor,
        "muted": "now" if each.muted_now else at_opening,
        "drift_id": episode.episode_id,
    }


for verb in (show, acknowledge, mute, unmute, mutes, budget):
    command.add_command(verb)
command.add_command(tune)
command.add_command(estimate)
command.add_command(bench)
