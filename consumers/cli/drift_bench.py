"""`lifecycle drift bench`: how often drift detectors alarm for nothing, and how soon for something."""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from consumers.cli.faults import USAGE, WRONG, Refused
from consumers.cli.options import json_option
from consumers.cli.output import print_json, print_table

_TABLES = ("false-alarms", "delays", "cost", "series")


@click.command("bench", short_help="False alarms, delay and cost of every detector.")
@click.option(
    "--table", "tables", type=click.Choice(_TABLES), multiple=True, help="Only this table. Again for more."
)
@click.option("--stream", "streams", metavar="NAME", multiple=True, help="Only this stream. Again for more.")
@click.option(
    "--detector", "detectors", metavar="NAME", multiple=True, help="Only this detector. Again for more."
)
@click.option("--quick", is_flag=True, help="A twentieth of the windows; bounds are wide then.")
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed, the same figures."
)
@click.option("--jobs", type=click.IntRange(1), help="Processes to measure in.  [default: one per core]")
@click.option(
    "--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the tables as Markdown."
)
@click.option(
    "--page", type=click.Path(dir_okay=False, path_type=Path), help="Draw delay against false alarms (HTML)."
)
@json_option
def command(
    tables: Sequence[str],
    streams: Sequence[str],
    detectors: Sequence[str],
    quick: bool,
    seed: int,
    jobs: int | None,
    write: Path | None,
    page: Path | None,
    as_json: bool,
) -> int:
    """Every drift detector on streams of windows that are made up, and on series that people marked.

    Ours are the product's own steps; river's detectors stand beside them, on window means and on items, and
    the fixed thresholds of other tools as a control. Exit code 1 says that a detector surely (95 %) alarms
    more often than it declares; ar1-no-phi, which shows why phi is measured, does not count.

    \b
    Examples:
      lifecycle drift bench --quick
      lifecycle drift bench --stream normal --stream mean+0.25 --detector roll-up --json
      lifecycle drift bench --write docs/drift.md --page drift.html
    """
    from consumers.driftbench.document import document, markdown
    from consumers.driftbench.run import measured
    from consumers.driftbench.tables import FULL, QUICK, TABLES, cells

    _known(streams, detectors)
    asked = [name for name in TABLES if not tables or name.replace(" ", "-") in tables]
    chosen = cells(asked, streams, detectors)
    if not chosen:
        raise Refused("no detector that was named watches any stream that was named", USAGE)
    found = measured(chosen, QUICK if quick else FULL, seed, jobs or os.cpu_count() or 1)
    bar: Any = nullcontext(found)
    if sys.stderr.isatty():
        bar = click.progressbar(found, length=len(chosen), label="cells", file=sys.stderr)
    with bar as each:
        told = document(list(each), seed)
    words = _words(tables, streams, detectors, quick, seed)
    from consumers.report.page import write_whole

    if write is not None:
        write_whole(write, markdown(told, words))
    if page is not None:
        from consumers.driftbench.page import render

        write_whole(page, render(told, words))
    if as_json:
        print_json(told)
    else:
        _print(told)
    return WRONG if told["broken"] else 0


def _known(streams: Sequence[str], detectors: Sequence[str]) -> None:
    """Raises Refused for a name that there is not."""
    from consumers.driftbench.detectors import says
    from consumers.driftbench.series import DETECTS
    from consumers.driftbench.situations import STREAMS

    every: tuple[tuple[str, Sequence[str], Sequence[str]], ...] = (
        ("--stream", streams, (*STREAMS, "annotated")),
        ("--detector", detectors, tuple(dict.fromkeys((*says(), *DETECTS)))),
    )
    for option, names, known in every:
        for name in names:
            if name not in known:
                raise Refused(f"{option} {name!r} is none of {', '.join(known)}", USAGE)


def _words(
    tables: Sequence[str], streams: Sequence[str], detectors: Sequence[str], quick: bool, seed: int
) -> str:
    """The command line that gives these figures."""
    parts = ["lifecycle drift bench"]
    for option, names in (("--table", tables), ("--stream", streams), ("--detector", detectors)):
        parts += [f"{option} {name}" for name in names]
    return " ".join([*parts, *(["--quick"] if quick else []), f"--seed {seed}"])


def _print(told: Mapping[str, Any]) -> None:
    shown = [
        {**each, "at_most": each["upper_95"], "budget": each["budget_per_10000"]}
        for each in told["false_alarms"]
    ]
    if shown:
        rates = ("stream", "detector", "per_10000", "at_most", "budget", "verdict")
        print_table("false alarms per 10,000 windows", shown, rates, "")
    if told["delays"]:
        waits = ("stream", "detector", "median", "missed", "early")
        print_table("windows until a change is found", told["delays"], waits, "")
    if told["cost"]:
        print_table("CPU per window", told["cost"], ("stream", "detector", "microseconds"), "")
    if told["series"]:
        rows = [{**each, "alarms": len(each["alarms"])} for each in told["series"]]
        fits = ("series", "detector", "marks", "alarms", "precision", "recall", "f1", "covering")
        print_table("alarms against what people marked", rows, fits, "")
