"""`lifecycle decision`: what was decided, and on what evidence."""

import click
import orjson

from consumers.bootstrap import System
from consumers.cli.faults import Refused
from consumers.cli.options import always_json_option, json_option, with_system
from consumers.cli.output import print_json, print_table, when
from consumers.store.repositories.decisions import DecisionRepository
from domain.judgement.decision import DecisionKind


@click.group("decision", short_help="List and show decisions with their evidence.")
def command() -> None:
    """What was decided, when, and on what evidence."""


@command.command("list")
@click.option("--model", help="Only this model's.")
@click.option("--kind", type=click.Choice([each.value for each in DecisionKind]), help="Only this kind.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="The newest so many.")
@json_option
@with_system
async def list_decisions(
    system: System, model: str | None, kind: str | None, limit: int, as_json: bool
) -> None:
    """The newest decisions, oldest first.

    \b
    Example:
      lifecycle decision list --kind verdict --home DIR
    """
    async with system.store.read() as session:
        found = await DecisionRepository(session).latest(model=model, kind=kind, limit=limit)
    records = [
        {
            "at": when(d.at_ms),
            "kind": d.kind,
            "model": d.model,
            "subject": d.subject,
            "decision_id": d.decision_id,
        }
        for d in found
    ]
    if as_json:
        print_json(records)
    else:
        print_table("decisions", records, ("at", "kind", "model", "subject", "decision_id"), "no decisions")


@command.command("show")
@click.argument("decision")
@always_json_option
@with_system
async def show(system: System, decision: str) -> None:
    """The canonical evidence of DECISION, as JSON.

    \b
    Example:
      lifecycle decision show ID --home DIR
    """
    async with system.store.read() as session:
        found = await DecisionRepository(session).get(decision)
    if found is None:
        raise Refused(f"there is no decision {decision}: lifecycle decision list shows them")
    about = {"decision_id": found.decision_id, "digest": found.digest, "code_version": found.code_version}
    print_json({**about, **orjson.loads(found.body)})
