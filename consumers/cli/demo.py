"""`lifecycle demo`: the whole loop on real prices."""

import asyncio
import os
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from consumers.cli.faults import USAGE, WRONG, Refused
from consumers.cli.options import json_option
from consumers.cli.output import print_json
from consumers.demo.driver import Demo, DemoUnavailable
from consumers.demo.plan import TOPIC_PREFIX
from consumers.demo.story import DemoStory
from consumers.demo.timeline import print_story
from consumers.logger import LoggerService
from consumers.settings import ENV_PREFIX

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@click.command("demo", short_help="The whole loop on 24 years of oil prices.")
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-home"),
    show_default=True,
    help="Folder of the demo; a run that was killed goes on where it was.",
)
@click.option("--weeks", type=click.IntRange(1), help="Stop after so many weeks.  [default: all, 1,267]")
@click.option(
    "--examples",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=EXAMPLES,
    help="Folder of the example PredictionService and trainer.  [default: the clone's]",
)
@click.option("--kafka", help="Brokers to play on, such as 127.0.0.1:9092: every worker is a process then.")
@click.option(
    "--topic-prefix", default=TOPIC_PREFIX, show_default=True, help="Of the demo's topics on Kafka."
)
@click.option("--database", help="URL of the store, such as postgresql://…  [default: a file in --home]")
@json_option
def command(
    home: Path,
    weeks: int | None,
    examples: Path,
    kafka: str | None,
    topic_prefix: str,
    database: str | None,
    as_json: bool,
) -> int:
    """Replay 24 years of Brent crude: predictions in, drift found, better models trained, tried and promoted.

    An example PredictionService forecasts tomorrow's absolute move in dollars; its outcomes arrive a trading
    day later. Prints a timeline and a summary, and writes one HTML report into --home.

    \b
    Examples:
      lifecycle demo --home demo-home
      lifecycle demo --home demo-home --json
      lifecycle demo --home kafka-home --kafka 127.0.0.1:9092 --database postgresql://me@127.0.0.1/demo
    """
    LoggerService("WARNING")
    _forget_settings()
    demo = Demo(
        home=home.absolute(),
        examples=examples.absolute(),
        weeks=weeks,
        kafka=kafka,
        topic_prefix=topic_prefix,
        database=database,
    )
    try:
        story = asyncio.run(_played(demo))
    except DemoUnavailable as error:
        raise Refused(str(error), USAGE) from error
    if as_json:
        print_json(story.to_json())
    else:
        print_story(story, Console())
    return 0 if story.conservation_ok and not story.divergences else WRONG


def _forget_settings() -> None:
    """The demo is a deployment of its own: what the shell says of a real one must reach neither."""
    names = [name for name in os.environ if name.upper().startswith(ENV_PREFIX)]
    for name in names:
        del os.environ[name]
    if names:
        click.echo(f"lifecycle: the demo takes no notice of {', '.join(sorted(names))}", err=True)


async def _played(demo: Demo) -> DemoStory:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("weeks"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("replaying Brent crude", total=None)
        return await demo.run(lambda done, weeks: bar.update(task, completed=done, total=weeks))
