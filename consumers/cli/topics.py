"""`lifecycle topics`: make the topics of a deployment, and see what differs from them."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from consumers.bootstrap import System, open_log
from consumers.cli.faults import USAGE, WRONG, Refused
from consumers.cli.options import home_option, json_option, with_system
from consumers.cli.output import print_json, print_table
from consumers.log.differences import TopicDifference
from consumers.logger import LoggerService
from consumers.services.topics import check_topics, wanted_topics
from consumers.settings import ConfigManager, load_settings
from consumers.store.repositories.skipped import SkippedRepository


@click.group("topics", short_help="Make the topics, see what differs, skip what is damaged.")
def command() -> None:
    """The topics of the deployment. Making and checking them needs no database."""


@command.command("create")
@home_option
def create(home: Path | None) -> int:
    """Make the topics that are missing, and set what differs in the configuration of the others.

    Partitions and replicas of a topic that exists are never changed; exits 1 while such a difference is left.

    \b
    Example:
      lifecycle topics create --home DIR
    """
    settings = load_settings(home)
    LoggerService.for_orders(settings.log_level)
    if settings.embedded:
        settings.home.mkdir(parents=True, exist_ok=True)
    before, left = asyncio.run(_created(settings))
    _print_done([spec.name for spec in wanted_topics(settings)], before, left)
    if left:
        _print(left)
    return WRONG if left else 0


@command.command("check")
@home_option
@json_option
def check(home: Path | None, as_json: bool) -> int:
    """Print every difference between the topics and what the settings need. Exits 1 if there is one.

    With a `needed` one the workers do not start, since results would be wrong. Predictions and outcomes must
    be kept for the longest horizon, grace, slack and a day of outage.

    \b
    Example:
      lifecycle topics check --home DIR
    """
    settings = load_settings(home)
    LoggerService.for_orders(settings.log_level)
    if settings.embedded and not settings.home.is_dir():
        raise Refused(f"{settings.home} is no deployment: lifecycle init --home DIR makes one", USAGE)
    found = asyncio.run(_differences(settings))
    if as_json:
        print_json({"equal": not found, "differences": [asdict(difference) for difference in found]})
    else:
        _print(found)
    return WRONG if found else 0


@command.command("skip")
@click.argument("topic")
@click.option("--partition", type=click.IntRange(0), required=True, help="The partition's number.")
@click.option("--from", "first", type=click.IntRange(0), required=True, help="Its first damaged offset.")
@click.option("--to", "following", type=click.IntRange(1), required=True, help="The offset after it.")
@click.option("--actor", required=True, help="Who orders this; kept in the history.")
@click.option("--reason", required=True, help="Why; kept in the history.")
@with_system
async def skip(
    system: System, topic: str, partition: int, first: int, following: int, actor: str, reason: str
) -> None:
    """Have every reader pass over a batch of TOPIC that cannot be decoded; its records are lost.

    A worker that met it says which offsets. Refused unless they are damaged, and exactly these, and while
    tally workers run. The bytes go to the dead-letter topic. It cannot be taken back: windows that are open
    are closed without these records.

    \b
    Example:
      lifecycle topics skip lifecycle.predictions --partition 3 --from 120 --to 180 \\
        --actor ada --reason "disk of broker 2" --home DIR
    """
    where = f"{topic}[{partition}]: offsets {first} to {following - 1}"
    done = await system.skipping.skip(topic, partition, first, following, actor=actor, reason=reason)
    click.echo(f"{where} are skipped" if done else f"{where} were skipped already")
    if done is not None and done.tallied:
        click.echo(
            f"{done.tallied} of them had been read before: rows that are closed keep them, and lifecycle "
            "replay, which cannot read them any more, will find such rows different"
        )


@command.command("skipped")
@json_option
@with_system
async def skipped(system: System, as_json: bool) -> None:
    """What readers pass over, who said so and why.

    \b
    Example:
      lifecycle topics skipped --home DIR
    """
    async with system.store.read() as session:
        records = [asdict(each) for each in await SkippedRepository(session).all()]
    if as_json:
        print_json(records)
        return
    columns = ("topic", "partition", "first_offset", "next_offset", "actor", "reason", "recorded_at")
    print_table("skipped ranges", records, columns, "nothing is skipped")


async def _differences(settings: ConfigManager) -> list[TopicDifference]:
    log = await open_log(settings)
    try:
        return await check_topics(log, settings)
    finally:
        await log.close()


async def _created(settings: ConfigManager) -> tuple[list[TopicDifference], list[TopicDifference]]:
    """What differed before, and what still does."""
    log = await open_log(settings)
    try:
        before = await check_topics(log, settings)
        await log.create_topics(wanted_topics(settings))
        return before, await check_topics(log, settings)
    finally:
        await log.close()


def _print_done(
    names: Sequence[str], before: Sequence[TopicDifference], left: Sequence[TopicDifference]
) -> None:
    """A line for what was made, what was changed, and what was there and is as it was."""
    still = {(each.topic, each.setting) for each in left}
    made = {each.topic for each in before if each.found is None} - {
        each.topic for each in left if each.found is None
    }
    changes: defaultdict[str, list[str]] = defaultdict(list)
    for each in before:
        if each.found is not None and (each.topic, each.setting) not in still:
            changes[f"{each.setting} from {each.found} to {each.expected}"].append(each.topic)
    changed = {topic for topics in changes.values() for topic in topics}
    same = [name for name in names if name not in made | changed]
    if made:
        click.echo(f"made: {', '.join(name for name in names if name in made)}")
    for change, topics in changes.items():
        click.echo(f"changed {change}: {', '.join(topics)}")
    if same and (made or changed):
        click.echo(f"there already: {', '.join(same)}")
    elif not made and not changed and not left:
        click.echo(f"nothing to do, the topics are as they should be: {', '.join(names)}")


def _print(found: Sequence[TopicDifference]) -> None:
    """A row for each kind of difference: what is wrong with one topic is usually wrong with all."""
    topics: defaultdict[tuple[str, str, str | None, bool], list[str]] = defaultdict(list)
    for each in found:
        topics[each.setting, each.expected, each.found, each.needed].append(each.topic)
    rows = [
        {"setting": setting, "expected": expected, "found": actual, "needed": needed, "topics": names}
        for (setting, expected, actual, needed), names in sorted(topics.items(), key=lambda item: item[1])
    ]
    columns = ("setting", "expected", "found", "needed", "topics")
    print_table("differences", rows, columns, "the topics are as they should be")
    if any(difference.found is None for difference in found):
        click.echo("lifecycle topics create makes what is missing")
