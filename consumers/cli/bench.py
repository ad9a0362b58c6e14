"""`lifecycle bench`: what the hot path costs on this machine."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from consumers.bench.cost import pinned
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
@click.option("--kafka", metavar="HOST:PORT", help="Measure on these brokers instead of the embedded log.")
@click.option(
    "--database",
    metavar="URL",
    help="With --kafka: a PostgreSQL server whose role may create databases.  [default: SQLite]",
)
@json_option
def tally(
    predictions: int,
    features: int,
    models: int,
    repeats: int,
    kafka: str | None,
    database: str | None,
    as_json: bool,
) -> None:
    """CPU per record of the tally worker, beside reading and decoding alone, on one core.

    Made-up records: predictions, 95 % of their outcomes, 1 % duplicates. They lie in a temporary folder; on
    Kafka in topics of their own, which are deleted afterwards, and filling them is not measured.

    \b
    Examples:
      lifecycle bench tally --json
      lifecycle bench tally --kafka localhost:9092 --json
    """
    if database is not None and kafka is None:
        raise click.UsageError("--database goes with --kafka: the embedded log's store is SQLite")
    if database is not None and not database.startswith(
        ("postgres://", "postgresql://", "postgresql+asyncpg://")
    ):
        raise click.BadParameter("must be a URL such as postgresql://HOST/NAME", param_hint="--database")
    LoggerService("WARNING")
    # as `lifecycle run` does
    collect_seldom()
    plan = StreamPlan(predictions=predictions, features=features, models=models)
    with pinned() as core, TemporaryDirectory(prefix="lifecycle-bench-") as folder:
        if kafka is None:
            cost = asyncio.run(measure(Path(folder), plan, repeats, core))
        else:
            from consumers.bench import kafka as on_kafka

            cost = asyncio.run(
                on_kafka.measure(
                    Path(folder), plan, repeats, bootstrap=kafka, database_url=database, core=core
                )
            )
    if as_json:
        print_json(cost.to_json())
    else:
        print_fields(f"tally worker, {cost.log} log", cost.to_json())
