"""`lifecycle dead-letter`: records that could not be used."""

from typing import Any

import click

from consumers.bootstrap import System
from consumers.cli.faults import Refused
from consumers.cli.options import always_json_option, json_option, with_system
from consumers.cli.output import print_json, print_table
from consumers.log.port import LogRecord

_SHOWN = 2_000


@click.group("dead-letter", short_help="Records that could not be used, and why.")
def command() -> None:
    """Records that could not be used, with where they came from and why."""


@command.command("list")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="The newest so many.")
@json_option
@with_system
async def list_letters(system: System, limit: int, as_json: bool) -> None:
    """The newest dead letters, oldest first.

    \b
    Example:
      lifecycle dead-letter list --home DIR
    """
    records = []
    for partition in range((await system.log.topics())[system.topics.dead_letter].partitions):
        end = await system.log.end(system.topics.dead_letter, partition)
        begin = max(await system.log.begin(system.topics.dead_letter, partition), end - limit)
        while begin < end:
            batch = await system.log.read(system.topics.dead_letter, partition, begin, limit)
            if not batch:  # skipped to the end
                break
            records += [_letter(record) for record in batch]
            begin = batch[-1].offset + 1
    if as_json:
        print_json(records)
        return
    rows = [{**each, "record": f"{each['topic']}[{each['partition']}]:{each['offset']}"} for each in records]
    print_table(
        "dead letters (topic[partition]:offset)", rows, ("number", "record", "reason"), "no dead letters"
    )


@command.command("show")
@click.argument("number", type=click.IntRange(0))
@always_json_option
@with_system
async def show(system: System, number: int) -> None:
    """The dead letter NUMBER of `lifecycle dead-letter list`, with the first 2,000 characters of its value.

    \b
    Example:
      lifecycle dead-letter show 0 --home DIR
    """
    if number >= await system.log.end(system.topics.dead_letter, 0):
        raise Refused(f"there is no dead letter {number}: lifecycle dead-letter list shows them")
    found = await system.log.read(system.topics.dead_letter, 0, number, 1)
    if not found or found[0].offset != number:
        raise Refused(f"dead letter {number} cannot be read any more")
    (record,) = found
    value = (record.value or b"").decode(errors="backslashreplace")
    print_json({**_letter(record), "value": value[:_SHOWN]})


def _letter(record: LogRecord) -> dict[str, Any]:
    headers = {name: value.decode(errors="replace") for name, value in record.headers}
    return {
        "number": record.offset,
        "topic": headers.get("topic"),
        "partition": int(headers.get("partition", -1)),
        "offset": int(headers.get("offset", -1)),
        "bytes": len(record.value or b""),
        "reason": headers.get("reason"),
    }
