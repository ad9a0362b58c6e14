"""`lifecycle bench`: what the hot path costs on this machine."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from consumers.bench.stream import StreamPlan
from consumers.bench.tally import measure
from consumers.cli.options import json_option
from consumers.cli.output import print_fields, print_json
from consumers.logger import LoggerService
from consumers.workers.shell import collect_seldom


@click.group("bench", short_help="What the hot path costs on this machine.")
def command() -> None:
    """What the hot path costs on this machine, as CPU per record and beside a floor."""


@command.command("tally")
@click.option(
    "--predictions",
    type=click.IntRange(1_000, 50_000_000),
    default=200_000,
    show_default=True,
    help="How many; the outcomes come on top.",
)
@click.option(
    "--features",
    type=click.IntRange(0, 512),
    default=12,
    show_default=True,
    help="Features of each prediction.",
)
@click.option(
    "--models",
    type=click.IntRange(1, 1_000),
    default=8,
    show_default=True,
    help="Models that the predictions are of.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1, 100),
    default=3,
    show_default=True,
    help="Measure so often; the median counts.",
)
@json_option
def tally(predictions: int, features: int, models: int, repeats: int, as_json: bool) -> None:
    """CPU per record of the tally worker on the embedded log, beside reading and decoding alone.

    Made-up records in a temporary folder: predictions, 95 % of their outcomes, 1 % duplicates.

    \b
    Example:
      lifecycle bench tally --json
    """
    LoggerService("WARNING")
    # as `lifecycle run` does
    collect_seldom()
    plan = StreamPlan(predictions=predictions, features=features, models=models)
    with TemporaryDirectory(prefix="lifecycle-bench-") as folder:
        cost = asyncio.run(measure(Path(folder), plan, repeats))
    if as_json:
        print_json(cost.to_json())
    else:
        print_fields("tally worker, embedded log", cost.to_json())
