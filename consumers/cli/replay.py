"""`lifecycle replay`: recompute every decision from the log."""

import click

from consumers.bootstrap import System
from consumers.cli.faults import WRONG
from consumers.cli.options import json_option, with_system
from consumers.cli.output import print_json, when
from consumers.services.replaying import Difference, ReplayReport
from consumers.store.repositories.skipped import SkippedRepository
from domain.windows.rows import RowKey


@click.command("replay", short_help="Recompute every decision from the log, compare byte for byte.")
@json_option
@with_system
async def command(system: System, as_json: bool) -> int:
    """Fold the whole log again, judge it again, and compare every row and decision with the store.

    The comparison is byte for byte. Exits 1 at the first difference and names it.

    \b
    Example:
      lifecycle replay --home DIR
    """
    report = await system.replaying.replay()
    if as_json:
        print_json(document(report))
    else:
        click.echo(words(report))
        if not report.equal and await _anything_skipped(system):
            click.echo(
                "lifecycle topics skipped lists records that rows may be made of and that are read no more"
            )
    return 0 if report.equal else WRONG


async def _anything_skipped(system: System) -> bool:
    async with system.store.read() as session:
        return bool(await SkippedRepository(session).all())


def document(report: ReplayReport) -> dict[str, object]:
    """The report as JSON values."""
    difference = report.first_difference
    return {
        "equal": report.equal,
        "decisions_recomputed": report.decisions,
        "rows_compared": report.rows,
        "row_differences": report.row_differences,
        "first_row": None if report.first_row is None else _row(report.first_row),
        "first_difference": None
        if difference is None
        else {
            "decision_id": difference.decision.decision_id,
            "kind": difference.decision.kind,
            "model": difference.decision.model,
            "subject": difference.decision.subject,
            "at": when(difference.decision.at_ms),
            "stored": _body(difference.stored),
            "recomputed": _body(difference.recomputed),
        },
    }


def words(report: ReplayReport) -> str:
    """The report for people: what was compared, and the first row and decision that differ."""
    recomputed = f"{report.decisions} decisions recomputed from the log, {report.rows} window rows compared"
    if report.equal:
        return f"{recomputed}: all equal, byte for byte"
    lines = [f"{recomputed}: NOT equal"]
    if report.first_difference is not None:
        lines.append(_first(report.first_difference))
        if report.first_difference.recomputed is None and report.row_differences:
            lines.append("  with the changed rows the rule that fired does not fire")
    if report.first_row is not None:
        differ = "window row differs" if report.row_differences == 1 else "window rows differ"
        lines.append(f"{report.row_differences} {differ}; the first is the {_row_words(report.first_row)}")
    if report.first_difference is None:
        lines.append("no decision depends on them")
    return "\n".join(lines)


def _row(key: RowKey) -> dict[str, object]:
    return {
        "kind": key.kind,
        "window_start": when(key.window_start_ms),
        "partition": key.partition,
        "model": key.model,
        "version": key.version,
        "variant": key.variant or None,
        "experiment": key.experiment or None,
        "horizon_s": key.horizon_s or None,
    }


def _row_words(key: RowKey) -> str:
    """`score row of window 2001-05-04, partition 1, brent-move 1, variant challenger of exp-1`."""
    what = f"{key.kind} row of window {when(key.window_start_ms)}, partition {key.partition}"
    arm = f", variant {key.variant} of {key.experiment}" if key.experiment else ""
    return f"{what}, {key.model} {key.version}{arm}"


def _first(difference: Difference) -> str:
    decision = difference.decision
    what = f"{decision.kind} {decision.subject} of {decision.model} at {when(decision.at_ms)}"
    name = f"{what} ({decision.decision_id})"
    if difference.recomputed is None:
        return f"first decision that differs: {name}: the log does not lead to it"
    if difference.stored is None:
        return f"first decision that differs: {name}: the log leads to it, the store does not have it"
    stored, recomputed = _body(difference.stored), _body(difference.recomputed)
    return f"first decision that differs: {name}\n  stored     {stored}\n  recomputed {recomputed}"


def _body(decision: object) -> str | None:
    body = getattr(decision, "body", None)
    return None if body is None else body.decode()
