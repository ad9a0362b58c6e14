"""`lifecycle drift estimate`: performance expected before outcomes arrive, beside what happened."""

import asyncio
from pathlib import Path
from typing import Any

import click

from consumers.bootstrap import System
from consumers.cli.options import json_option, with_system
from consumers.cli.output import print_json, print_table, when
from consumers.cli.rehearsal import wrapped
from consumers.report.estimate import ONLY_ESTIMATED, render, sentences
from consumers.report.page import write_whole
from consumers.report.words import moment, percent
from consumers.services.estimating import STRETCHES, Estimation, Stretch, estimate

_COLUMNS = ("from", "accuracy", "realised", "arrived", "se", "precision", "recall", "f1")


@click.command("estimate", short_help="Performance expected before outcomes arrive.")
@click.argument("model")
@click.argument("version", required=False)
@click.option(
    "--windows",
    type=click.IntRange(min=1),
    help=f"Closed windows in a stretch.  [default: so many that there are at most {STRETCHES} stretches]",
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="HTML file; an older one is replaced."
)
@json_option
@with_system
async def command(
    system: System, model: str, version: str | None, windows: int | None, out: Path | None, as_json: bool
) -> None:
    """How good VERSION of MODEL is expected to be, beside how good it turned out to be.

    By default the version that served last. Accuracy, precision, recall and F1 are estimates from calibrated
    probabilities (CBPE), made without any outcome; realised is the accuracy of the outcomes that arrived, and
    se how many standard errors it is from the estimate.

    \b
    Examples:
      lifecycle drift estimate fraud --home DIR
      lifecycle drift estimate fraud 3 --windows 24 --out estimate.html --home DIR
    """
    async with system.store.read() as session:
        told = await estimate(session, model, version, system.windows.length_ms, windows)
    if out is not None:
        await asyncio.to_thread(write_whole, out, render(told))
    if as_json:
        print_json(_document(told))
        return
    title = f"expected performance of version {told.version} of {told.model}, an estimate"
    print_table(title, [_shown(stretch) for stretch in told.stretches], _COLUMNS, "")
    for line in wrapped(list(sentences(told))):
        click.echo(line)
    if out is not None:
        click.echo(f"{out}: the same as a page")


def _shown(stretch: Stretch) -> dict[str, Any]:
    expected, errors, arrived = stretch.expected, stretch.standard_errors, stretch.arrived
    return {
        "from": moment(stretch.first_ms),
        "accuracy": _figure(expected.accuracy),
        "realised": _figure(stretch.realised_accuracy),
        "arrived": None if arrived is None else percent(round(arrived, 3)),
        "se": None if errors is None else f"{errors:+.1f}",
        "precision": _figure(expected.precision),
        "recall": _figure(expected.recall),
        "f1": _figure(expected.f1),
    }


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def _document(told: Estimation) -> dict[str, Any]:
    return {
        "model": told.model,
        "version": told.version,
        "served": told.served,
        "estimate": True,
        "said": ONLY_ESTIMATED,
        "promised_accuracy": told.promised_accuracy,
        "whole": _stretch(told.whole),
        "stretches": [_stretch(stretch) for stretch in told.stretches],
    }


def _stretch(stretch: Stretch) -> dict[str, Any]:
    expected = stretch.expected
    return {
        "from": when(stretch.first_ms),
        "to": when(stretch.last_ms),
        "windows": stretch.windows,
        "estimated": {
            "answers": expected.n,
            "sums": expected.to_json(),
            "accuracy_of_windows_with_outcomes": stretch.judged.accuracy,
            "accuracy": expected.accuracy,
            "precision": expected.precision,
            "recall": expected.recall,
            "f1": expected.f1,
        },
        "realised": {
            "answers": stretch.answers,
            "outcomes": stretch.outcomes,
            "accuracy": stretch.realised_accuracy,
        },
        "gap": stretch.gap,
        "standard_errors": stretch.standard_errors,
        "unexplained": stretch.unexplained,
    }
