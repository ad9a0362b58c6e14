"""`lifecycle prune`: delete from the store what nothing needs any more."""

from dataclasses import asdict

import click

from consumers.bootstrap import System, now
from consumers.cli.options import json_option, with_system
from consumers.cli.output import print_fields, print_json, when
from consumers.services.pruning import Ages, Pruning

_KEEP, _LOG = "keep", "log"
_SPARE_DAYS = 7


class Days(click.ParamType):
    """A number of days, or one of some words."""

    name = "days"

    def __init__(self, *words: str) -> None:
        self.words = words

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        text = str(value)
        if text in self.words:
            return text
        if not text.isdecimal() or not 1 <= int(text) <= 100_000:
            words = " or ".join(self.words)
            self.fail(f"{text!r} is neither a number of days, at least 1, nor {words}", param, ctx)
        return int(text)


@click.command("prune", short_help="Delete from the store what nothing needs any more.")
@click.option(
    "--outbox-older-than",
    "outbox",
    type=Days(_KEEP),
    default=30,
    show_default=True,
    help="Events that were sent so many days ago.",
)
@click.option(
    "--inbox-older-than",
    "inbox",
    type=Days(_KEEP, _LOG),
    default=_LOG,
    show_default=True,
    help="Notes that an event was handled so many days ago. Not fewer than the log keeps events: one "
    f"that is read again would be obeyed again. `{_LOG}` is {_SPARE_DAYS} days more than that, and "
    f"`{_KEEP}` where it keeps them for ever.",
)
@click.option(
    "--tallies-older-than",
    "tallies",
    type=Days(_KEEP),
    default=90,
    show_default=True,
    help="Window and arrival rows that fell due so many days of event time before what is judged.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@json_option
@with_system
async def command(
    system: System, outbox: int | str, inbox: int | str, tallies: int | str, dry_run: bool, as_json: bool
) -> None:
    """Delete old rows of the store that no worker, no replay and no sum needs any more.

    Ages are days, or `keep`. Nothing goes that is not sent, not judged or still open. Decisions, transitions,
    experiments, jobs and everything else of the registry stay for ever. Workers may run meanwhile.

    \b
    Examples:
      lifecycle prune --home DIR --dry-run
      lifecycle prune --home DIR --outbox-older-than 7 --tallies-older-than keep
    """
    pruning = Pruning(store=system.store, log=system.log, topics=system.topics, now=now)
    if inbox == _LOG:
        needed = await pruning.shortest_inbox()
        inbox = _KEEP if needed is None else needed + _SPARE_DAYS
    ages = Ages(outbox=_age(outbox), inbox=_age(inbox), tallies=_age(tallies))
    reclaimed = asdict(await pruning.prune(ages, dry_run=dry_run))
    if as_json:
        print_json({"dry_run": dry_run, **reclaimed, "older_than_days": asdict(ages)})
        return
    reclaimed["tallies_through"] = when(reclaimed.pop("tallies_through_ms"))
    print_fields("would be deleted" if dry_run else "deleted", reclaimed)


def _age(days: int | str) -> int | None:
    return days if isinstance(days, int) else None
