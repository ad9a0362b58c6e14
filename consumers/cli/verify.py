"""`lifecycle verify`: recompute one decision from the log."""

import click
import orjson

from consumers.bootstrap import System
from consumers.cli.faults import WRONG, Refused
from consumers.cli.options import json_option, with_system
from consumers.cli.output import print_json
from consumers.store.repositories.decisions import DecisionRepository


@click.command("verify", short_help="Recompute one decision from the log.")
@click.argument("decision")
@json_option
@with_system
async def command(system: System, decision: str, as_json: bool) -> int:
    """Recompute DECISION (an id of `lifecycle decision list`) from the log and compare it byte for byte.

    \b
    Example:
      lifecycle verify 0b5c7c0e-3c0f-5f0e-9b0a-2f0d8b0e4a11 --home DIR
    """
    async with system.store.read() as session:
        stored = await DecisionRepository(session).get(decision)
    if stored is None:
        raise Refused(f"there is no decision {decision}: lifecycle decision list shows them")
    again = await system.replaying.verify(stored)
    equal = again is not None and again.body == stored.body
    if as_json:
        print_json(
            {
                "decision_id": stored.decision_id,
                "equal": equal,
                "digest": stored.digest,
                "code_version": stored.code_version,
                "stored": orjson.loads(stored.body),
                "recomputed": None if again is None else orjson.loads(again.body),
            }
        )
    elif equal:
        click.echo(
            f"{stored.decision_id} holds: recomputed from the log to the byte "
            f"(sha256 {stored.digest}, decided by code version {stored.code_version})"
        )
        click.echo(orjson.dumps(orjson.loads(stored.body), option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo(f"{stored.decision_id} does NOT hold (decided by code version {stored.code_version})")
        click.echo(f"  stored     {stored.body.decode()}")
        click.echo(
            f"  recomputed {'nothing: the log does not lead to it' if again is None else again.body.decode()}"
        )
    return 0 if equal else WRONG
