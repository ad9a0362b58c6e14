"""`lifecycle drift` mute, unmute, mutes: what is not to be announced, and until when."""

import click

from consumers.bootstrap import System
from consumers.cli.drift_show import mute_record
from consumers.cli.faults import Refused
from consumers.cli.options import actor_option, json_option, moment, with_system
from consumers.cli.output import print_json, print_table, when
from consumers.services import muting
from consumers.services.drift_budget import UnknownModel, fleet_models
from consumers.services.muting import MuteOrder
from consumers.store.errors import NotFound
from consumers.store.repositories.judgements import JudgementRepository
from consumers.store.repositories.mutes import MuteRepository
from schemas.events import DriftType

reason_option = click.option("--reason", required=True, help="Why; kept with it.")


@click.command("mute", short_help="Announce no drift of a model, for a while.")
@click.argument("model")
@click.option(
    "--type",
    "drift_type",
    type=click.Choice([kind.value for kind in DriftType]),
    help="Only this kind of drift.  [default: all]",
)
@click.option("--until", help="Event time at which it ends, such as 2026-12-01.  [default: `drift unmute`]")
@actor_option
@reason_option
@json_option
@with_system
async def mute(
    system: System,
    model: str,
    drift_type: str | None,
    until: str | None,
    actor: str,
    reason: str,
    as_json: bool,
) -> None:
    """Announce no drift of MODEL and ask for no retraining, for all that is not judged yet.

    Episodes go on: they are decided, listed and recover. One that is still open when the mute ends is not
    announced then, unless it escalates; it counts as unacknowledged, and may ask for retraining.

    \b
    Example:
      lifecycle drift mute brent-move --until 2026-12-01 --actor ada --reason "feed moves" --home DIR
    """
    order = MuteOrder(
        model=model,
        drift_type=None if drift_type is None else DriftType(drift_type),
        until_ms=None if until is None else moment(until, "--until"),
        actor=actor,
        reason=reason,
    )
    async with system.store.write() as session:
        if model not in await fleet_models(session):
            raise UnknownModel(model)
        made = await muting.mute(session, order, system.context("cli").now())
    if as_json:
        print_json(mute_record(made))
        return
    what = "all drift" if made.drift_type is None else made.drift_type.value
    start = when(made.effective_from_ms) if made.effective_from_ms else "the beginning"
    end = when(made.until_ms) or "somebody ends it"
    click.echo(f"{what} of {model} is muted from {start} until {end}: mute {made.mute_id}")


@click.command("unmute", short_help="End a mute early.")
@click.argument("mute_id")
@actor_option
@reason_option
@json_option
@with_system
async def unmute(system: System, mute_id: str, actor: str, reason: str, as_json: bool) -> None:
    """End MUTE_ID for all that is not judged yet. What was muted until now stays muted in the evidence.

    \b
    Example:
      lifecycle drift unmute ID --actor ada --reason "feed is back" --home DIR
    """
    async with system.store.write() as session:
        try:
            ended = await muting.unmute(session, mute_id, actor=actor, reason=reason)
        except NotFound as error:
            raise Refused(f"{error}: lifecycle drift mutes shows them") from error
    if as_json:
        print_json(mute_record(ended))
    elif ended.ended_ms is None:
        click.echo(f"mute {mute_id} was over already: it lasted until {when(ended.until_ms)}")
    else:
        click.echo(f"mute {mute_id} ends at {when(ended.ended_ms) or 'the beginning'}, by {ended.ended_by}")


@click.command("mutes", short_help="What is muted.")
@click.option("--model", help="Only this model's.")
@click.option("--all", "every", is_flag=True, help="Those that are over too.")
@json_option
@with_system
async def mutes(system: System, model: str | None, every: bool, as_json: bool) -> None:
    """The mutes that govern what is judged next, or all that there ever were.

    \b
    Example:
      lifecycle drift mutes --home DIR
    """
    async with system.store.read() as session:
        judged = {each.model: each.judged_through_ms for each in await JudgementRepository(session).all()}
        found = await MuteRepository(session).all(model)
    shown = [
        mute_record(each)
        for each in found
        if every or not muting.is_over(each, judged.get(each.model, each.effective_from_ms - 1) + 1)
    ]
    if as_json:
        print_json(shown)
        return
    columns = ("from", "until", "model", "drift_type", "actor", "reason", "ended_by", "mute_id")
    print_table("mutes", shown, columns if every else columns[:6] + columns[7:], "nothing is muted")
