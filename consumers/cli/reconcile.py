"""`lifecycle reconcile`: the conservation law."""

from typing import Any

import click

from consumers.bootstrap import System
from consumers.cli.faults import WRONG
from consumers.cli.options import json_option, with_system
from consumers.cli.output import fits, print_json, print_table

_BESIDE = 5
"""Partitions in a row where each is a column."""
_FATES = {
    "predictions": ("tallied", "duplicate", "late", "invalid", "heartbeat"),
    "outcomes": (
        "matched",
        "superseded",
        "late",
        "late_correction",
        "orphan",
        "invalid",
        "open",
        "heartbeat",
    ),
}


@click.command("reconcile", short_help="Account for every record of the log.")
@json_option
@with_system
async def command(system: System, as_json: bool) -> int:
    """Check that every record of both hot topics is accounted for exactly once. Exits 1 if one is not.

    \b
    Example:
      lifecycle reconcile --home DIR
    """
    accounts = await system.reconciling.accounts()
    balanced = all(account.balanced for account in accounts)
    records: list[dict[str, Any]] = [
        {
            "topic": account.side,
            "partition": account.partition,
            "records": account.records,
            **{fate: account.fates.get(fate, 0) for fate in _FATES[account.side]},
            "skipped": account.fates.get("skipped", 0),
            "unaccounted": account.unaccounted,
            "in_rows": account.in_rows,
            "balanced": account.balanced,
        }
        for account in accounts
    ]
    if as_json:
        print_json({"balanced": balanced, "accounts": records})
        return 0 if balanced else WRONG
    for side, fates in _FATES.items():
        rows = [record for record in records if record["topic"] == side]
        damaged = ("skipped",) if any(record["skipped"] for record in rows) else ()
        columns = ("partition", "records", *fates, *damaged, "unaccounted", "balanced")
        if fits(rows, columns):
            print_table(side, rows, columns, f"no {side} yet")
        else:
            _print_turned(side, rows, columns[1:])
    if any(record.get("open") for record in records):
        click.echo("open: their window is not decided yet")
    click.echo("every record is accounted for" if balanced else "NOT every record is accounted for")
    return 0 if balanced else WRONG


def _print_turned(side: str, rows: list[dict[str, Any]], terms: tuple[str, ...]) -> None:
    """A line for each term: narrow enough for any terminal, which a line for each partition is not."""
    for start in range(0, len(rows), _BESIDE):
        shown = rows[start : start + _BESIDE]
        names = [str(row["partition"]) for row in shown]
        lines = [
            {"partition": term.replace("_", " "), **{str(row["partition"]): row[term] for row in shown}}
            for term in terms
        ]
        print_table(side, lines, ("partition", *names), "")
