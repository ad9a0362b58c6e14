"""`lifecycle drift acknowledge`: somebody knows of an episode."""

import click

from consumers.bootstrap import System
from consumers.cli.drift_mute import reason_option
from consumers.cli.faults import Refused
from consumers.cli.options import actor_option, json_option, with_system
from consumers.cli.output import print_json, when
from consumers.services.registry import MAX_REASON
from consumers.store.errors import NotFound
from consumers.store.repositories.episodes import Acknowledgement, EpisodeRepository
from schemas.clock import to_ms


@click.command("acknowledge", short_help="Say that somebody knows of an episode.")
@click.argument("drift_id")
@actor_option
@reason_option
@json_option
@with_system
async def acknowledge(system: System, drift_id: str, actor: str, reason: str, as_json: bool) -> None:
    """Keep that you know of DRIFT_ID: the alert on unacknowledged episodes leaves it out.

    Nothing else changes. Who was first stays.

    \b
    Example:
      lifecycle drift acknowledge ID --actor ada --reason "known: the feed moved" --home DIR
    """
    wanted = Acknowledgement(
        episode_id=drift_id,
        actor=actor,
        reason=reason[:MAX_REASON],
        acknowledged_at=system.context("cli").now(),
    )
    async with system.store.write() as session:
        try:
            kept = await EpisodeRepository(session).acknowledge(wanted)
        except NotFound as error:
            raise Refused(f"{error}: lifecycle drift list shows them") from error
    at = when(to_ms(kept.acknowledged_at))
    if as_json:
        print_json({"drift_id": drift_id, "actor": kept.actor, "reason": kept.reason, "at": at})
    else:
        click.echo(f"{drift_id} is acknowledged by {kept.actor} since {at}: {kept.reason}")
