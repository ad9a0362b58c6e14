"""`lifecycle status`: what serves, what is open, what is wrong."""

from typing import Any

import click

from consumers.bootstrap import System
from consumers.cli.faults import WRONG
from consumers.cli.options import json_option, with_system
from consumers.cli.output import print_json, print_table, when
from consumers.services.status import status


@click.command("status", short_help="What serves, what is open, what is wrong.")
@json_option
@with_system
async def command(system: System, as_json: bool) -> int:
    """Models, partitions and health of a deployment. Exits 1 if a row ever diverged.

    \b
    Example:
      lifecycle status --home DIR
    """
    document = await status(system.store, system.log, system.topics)
    if as_json:
        print_json(document)
    else:
        _print(document)
    return WRONG if document["divergences"] else 0


def _print(document: dict[str, Any]) -> None:
    models = [{**m, "judged_through": when(m["judged_through_ms"])} for m in document["models"]]
    columns: tuple[str, ...] = (
        "model",
        "production",
        "epoch",
        "frozen",
        "features_tested",
        "judged_through",
        "open_episodes",
        "experiment",
        "job",
    )
    print_table("models", models, columns, "no models are registered yet")
    silent = [{"model": m["model"], **each} for m in document["models"] for each in m["silent_detectors"]]
    if silent:
        print_table("detectors that are on and silent", silent, ("model", "detector", "why"), "")
    partitions = [
        {
            **p,
            "inputs_through": when(p["inputs_through_ms"]),
            "outcomes_through": when(p["outcomes_through_ms"]),
        }
        for p in document["partitions"]
    ]
    columns = ("partition", "predictions", "outcomes", "inputs_through", "outcomes_through")
    print_table(
        "partitions (records in the log, windows closed through)", partitions, columns, "no topics yet"
    )
    rows = document["rows"]
    click.echo(f"window rows: {rows['input']} input, {rows['score']} score")
    for side, fates in document["records"].items():
        told = ", ".join(f"{number} {fate.replace('_', ' ')}" for fate, number in fates.items() if number)
        click.echo(f"{side} of closed windows: {told or 'none'}")
    click.echo(
        f"divergences: {document['divergences']}   dead letters: {document['dead_letters']}   "
        f"events waiting for the relay: {document['outbox_waiting']}"
    )
    unknown = [
        {
            **u,
            "first_window": when(u["first_window_ms"]),
            "last_window": when(u["last_window_ms"]),
        }
        for u in document["unknown_versions"]
    ]
    if unknown:
        title = "unknown to the registry: tallied without features"
        print_table(title, unknown, ("model", "version", "first_window", "last_window"), "")
