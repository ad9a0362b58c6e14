"""`lifecycle registry`: models, versions, stages, and who was PRODUCTION when."""

from typing import Any

import click

from consumers.bootstrap import System, now_ms
from consumers.cli.faults import Refused
from consumers.cli.options import actor_option, json_option, with_system
from consumers.cli.options import moment as event_time
from consumers.cli.output import print_fields, print_json, print_table, when
from consumers.cli.register import command as register
from consumers.store.repositories.models import ModelRepository, VersionRecord
from consumers.store.session import ReadSession

EXPECT = "PRODUCTION version that you mean to replace; refused if it is another.  [default: there is none]"
reason_option = click.option("--reason", required=True, help="Why; kept in the history.")


@click.group("registry", short_help="Models, versions, stages; who was PRODUCTION when.")
def command() -> None:
    """Models, their versions and stages, and who was PRODUCTION when."""


command.add_command(register)


@command.command("list")
@click.argument("model", required=False)
@json_option
@with_system
async def list_versions(system: System, model: str | None, as_json: bool) -> None:
    """All versions, or those of MODEL.

    \b
    Example:
      lifecycle registry list brent-move --home DIR
    """
    async with system.store.read() as session:
        models = ModelRepository(session)
        known = await models.list_models()
        names = [m.name for m in known if model in (None, m.name)]
        versions = [version for name in names for version in await models.versions(name)]
    if model is not None and not names:
        raise Refused(f"the registry has no model {model}: lifecycle registry list shows them")
    records = [_version(version) for version in versions]
    if as_json:
        print_json(records)
        return
    shortened = [{**record, "artifact": record["artifact_sha256"][:12]} for record in records]
    columns = ("model", "version", "stage", "status", "registered", "artifact")
    print_table("versions", shortened, columns, "the registry is empty")


@command.command("at")
@click.argument("model")
@click.option(
    "--time", "moment", required=True, help="Event time, such as 2001-09-11 or 2001-09-11T12:00:00Z."
)
@json_option
@with_system
async def at(system: System, model: str, moment: str, as_json: bool) -> None:
    """Which version of MODEL was PRODUCTION at an event time.

    \b
    Example:
      lifecycle registry at brent-move --time 2001-09-11 --home DIR
    """
    at_ms = event_time(moment)
    async with system.store.read() as session:
        await _known(session, model)
        version = await system.registry().at(session, model, at_ms)
    record = {"model": model, "time": when(at_ms), "version": None if version is None else version.version}
    if as_json:
        print_json(record)
    elif version is None:
        click.echo(f"nothing was PRODUCTION for {model} at {record['time']}")
    else:
        click.echo(f"version {version.version} of {model} was PRODUCTION at {record['time']}")


@command.command("history")
@click.argument("model")
@json_option
@with_system
async def history(system: System, model: str, as_json: bool) -> None:
    """Every move of every version of MODEL, with who, why and on which decision.

    \b
    Example:
      lifecycle registry history brent-move --home DIR
    """
    async with system.store.read() as session:
        await _known(session, model)
        moves = await ModelRepository(session).transitions(model)
    records = [
        {
            "at": when(move.at_ms),
            "version": move.version,
            "from": None if move.from_stage is None else move.from_stage.value,
            "to": move.to_stage.value,
            "epoch": move.epoch,
            "actor": move.actor,
            "reason": move.reason,
            "decision_id": move.decision_id,
        }
        for move in moves
    ]
    if as_json:
        print_json(records)
        return
    columns = ("at", "version", "from", "to", "epoch", "actor", "reason")
    print_table(f"history of {model}", records, columns, f"the registry has no history of {model}")


@command.command("show")
@click.argument("model")
@click.argument("version")
@json_option
@with_system
async def show(system: System, model: str, version: str, as_json: bool) -> None:
    """One VERSION of MODEL with its artifact, lineage and metrics.

    \b
    Example:
      lifecycle registry show brent-move 1 --home DIR
    """
    async with system.store.read() as session:
        found = await ModelRepository(session).get_version(model, version)
    if found is None:
        raise Refused(f"the registry has no version {version} of {model}")
    record = {
        **_version(found),
        "artifact_uri": found.artifact_uri,
        "files": found.manifest,
        "metadata": found.metadata,
        "lineage": found.lineage,
        "job_id": found.job_id,
    }
    if as_json:
        print_json(record)
    else:
        print_fields(f"{model} {version}", record)


@command.command("promote")
@click.argument("model")
@click.argument("version")
@click.option("--expect", help=EXPECT)
@actor_option
@reason_option
@json_option
@with_system
async def promote(
    system: System, model: str, version: str, expect: str | None, actor: str, reason: str, as_json: bool
) -> None:
    """Make VERSION of MODEL PRODUCTION, in the name of a person.

    \b
    Example:
      lifecycle registry promote brent-move 3 --expect 1 --actor ada --reason "reviewed" --home DIR
    """
    async with system.store.write() as session:
        epoch = await system.registry().promote(
            session, model, version, expected_production=expect, actor=actor, reason=reason, at_ms=now_ms()
        )
    if as_json:
        print_json({"model": model, "version": version, "epoch": epoch})
    else:
        click.echo(f"version {version} of {model} is PRODUCTION (epoch {epoch})")


@command.command("restore")
@click.argument("model")
@click.argument("version")
@click.option("--expect", help=EXPECT)
@actor_option
@reason_option
@with_system
async def restore(
    system: System, model: str, version: str, expect: str | None, actor: str, reason: str
) -> None:
    """Roll back: make an archived VERSION of MODEL PRODUCTION again.

    \b
    Example:
      lifecycle registry restore brent-move 1 --expect 3 --actor ada --reason "pnl" --home DIR
    """
    async with system.store.write() as session:
        epoch = await system.registry().restore(
            session, model, version, expected_production=expect, actor=actor, reason=reason, at_ms=now_ms()
        )
    click.echo(f"version {version} of {model} is PRODUCTION again (epoch {epoch})")


@command.command("freeze")
@click.argument("model")
@click.option("--off", is_flag=True, help="Let automation act again.")
@with_system
async def freeze(system: System, model: str, off: bool) -> None:
    """Freeze MODEL: automation only records until it is unfrozen with --off.

    \b
    Example:
      lifecycle registry freeze brent-move --home DIR
    """
    async with system.store.write() as session:
        if off:
            await system.registry().unfreeze(session, model)
        else:
            await system.registry().freeze(session, model)
    click.echo(f"{model} is {'free: automation acts again' if off else 'frozen: automation only records'}")


async def _known(session: ReadSession, model: str) -> None:
    if await ModelRepository(session).get_model(model) is None:
        raise Refused(f"the registry has no model {model}: lifecycle registry list shows them")


def _version(version: VersionRecord) -> dict[str, Any]:
    return {
        "model": version.model,
        "version": version.version,
        "stage": version.stage.value,
        "status": version.status,
        "registered": when(version.registered_at_ms),
        "artifact_sha256": version.artifact_sha256,
    }
