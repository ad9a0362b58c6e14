"""`lifecycle experiment report`: one experiment as a page, or as JSON with the same numbers."""

import asyncio
from pathlib import Path
from typing import Any

import click

from consumers.bootstrap import System
from consumers.cli.faults import USAGE, WRONG, Refused
from consumers.cli.options import json_option, with_system
from consumers.cli.output import print_json, when
from consumers.report import words
from consumers.report.experiment import render
from consumers.report.page import write_whole
from consumers.services.trial_paths import TrialPath, trial_path


@click.command("report", short_help="EXPERIMENT as one HTML file: its way, arms, verdict.")
@click.argument("experiment")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="HTML file to write; an older one is replaced.",
)
@json_option
@with_system
async def report(system: System, experiment: str, out: Path | None, as_json: bool) -> int:
    """How EXPERIMENT came to its verdict, look by look, recomputed from the window rows in the store.

    The page needs nothing else: no script, no network. Exit code 1 says that what is recomputed does not end
    at the numbers that are stored.

    \b
    Examples:
      lifecycle experiment report brent-move-3-v-1 --out report.html --home DIR
      lifecycle experiment report brent-move-3-v-1 --json --home DIR
    """
    if out is None and not as_json:
        raise Refused("--out FILE.html says where the page goes; --json prints its numbers", USAGE)
    async with system.store.read() as session:
        told = await trial_path(session, experiment, system.windows.length_ms)
    if told is None:
        raise Refused(f"there is no experiment {experiment}: lifecycle experiment list shows them")
    if out is not None:
        await asyncio.to_thread(write_whole, out, render(told))
    if as_json:
        print_json(_document(told))
    else:
        click.echo(f"{out}: {words.headline(told)}, {words.plural(len(told.path), 'look')}")
        if told.agrees is False:
            click.echo("the recomputed path does NOT end at the stored numbers: lifecycle replay", err=True)
    return WRONG if told.agrees is False else 0


def _document(told: TrialPath) -> dict[str, Any]:
    record, account = told.record, told.account
    return {
        "experiment": record.experiment_id,
        "model": record.model,
        "status": record.status.value,
        "started": when(record.started_at_ms),
        "ended": when(record.closed_at_ms),
        "decision_id": None if told.verdict is None else told.verdict.decision_id,
        "config_hash": record.config_hash,
        "plan": record.config,
        "headline": words.headline(told),
        "verdict": words.verdict(told),
        "numbers": told.last,
        "alpha": None
        if account is None
        else {"quarter": str(account.quarter), "budget": account.budget, "spent": account.spent},
        "rows": told.rows,
        "rows_pruned": told.pruned,
        "recomputed_agrees": told.agrees,
        "looks": [
            {"at_ms": look.at_ms, "epoch": look.epoch, "verdict": look.verdict, **look.numbers}
            for look in told.path
        ],
        "epochs": [
            {
                "epoch": each.epoch,
                "first_look_ms": each.first_ms,
                "last_look_ms": each.last_ms,
                "looks": each.looks,
                "arms": {name: arm.to_json() for name, arm in each.arms.items()},
                "ratio_log_e": each.ratio_log_e,
                "arrival_log_e": each.arrival_log_e,
            }
            for each in told.allocations
        ],
    }
