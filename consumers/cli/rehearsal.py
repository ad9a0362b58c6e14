"""What `experiment plan` and `experiment calibrate` share: their plan, the past, and how they talk."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import click

from consumers.bootstrap import System
from consumers.cli.documents import document_in
from consumers.cli.faults import USAGE, Refused
from consumers.cli.output import when
from consumers.rehearsal.past import DAY_MS, block_ms
from consumers.rehearsal.play import Ended
from consumers.rehearsal.rates import Rate, Spread, Summary
from consumers.services.history import HistoryNotClosed
from consumers.services.judging import NEVER_MS, judged_clock
from consumers.services.pasts import Known, Span, known_by_log, known_by_rows
from consumers.services.plans import plan_of_document
from consumers.store.repositories.models import ModelRepository
from domain.errors import DomainError, InvalidField
from domain.experiments.plan import ExperimentPlan

T = TypeVar("T")
ROWS, LOG, AUTO = "rows", "log", "auto"
PAST = {
    "rows": "window rows of version {}",
    "pairs": "pairs of version {} in earlier shadow experiments",
    "log": "records of version {} in the log",
}

Decorator = Callable[[Callable[..., T]], Callable[..., T]]


def runs_option(default: int, words: str) -> Decorator[Any]:
    """How many."""
    return click.option(
        "--runs", type=click.IntRange(1, 100_000), help=words, show_default=True, default=default
    )


seed_option = click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed, the same answer."
)
days_option = click.option(
    "--days", type=click.IntRange(1), help="Only so many last days of the past.  [default: all of it]"
)


def source_option(words: str) -> Decorator[Any]:
    """Which past."""
    return click.option(
        "--from",
        "source",
        type=click.Choice((AUTO, ROWS, LOG)),
        default=AUTO,
        show_default=True,
        help=f"The past: window rows in the store, or single records in the log. {words}",
    )


file_argument = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


class LogTooShort(DomainError):
    """Rows are there whose records are not: the log was made anew, or its retention deleted all of them."""

    def __init__(self, model: str, why: str) -> None:
        super().__init__(f"the log does not hold the past of {model}: {why}")


async def plan_of(system: System, model: str, file: Path) -> ExperimentPlan:
    """The plan in `file`. Raises Refused, naming the file, and DomainError."""
    document = await document_in(file)
    async with system.store.read() as session:
        if await ModelRepository(session).get_model(model) is None:
            raise Refused(f"there is no model {model}: lifecycle registry list shows them")
        try:
            return await plan_of_document(session, model, document)
        except InvalidField as error:
            raise Refused(f"{file}: {error}", USAGE) from error


async def past_of(system: System, plan: ExperimentPlan, source: str, days: int | None) -> Known:
    """From the store's rows or the log. Raises Refused and DomainError if there is not enough of it."""
    async with system.store.read() as session:
        through_ms = await judged_clock(session)
        if through_ms is None:
            raise Refused("no window is closed in all partitions yet: a rehearsal needs a past")
        after_ms = NEVER_MS if days is None else through_ms - days * DAY_MS
        span = Span(length_ms=system.windows.length_ms, after_ms=after_ms, through_ms=through_ms)
        if source == LOG:
            try:
                return await known_by_log(session, system.history, plan, span)
            except HistoryNotClosed as error:
                raise LogTooShort(plan.model, str(error)) from error
        return await known_by_rows(session, plan, span)


def counted(label: str, runs: int, ended: Iterable[T]) -> list[T]:
    """All of `ended`, with a bar on stderr for a person who waits there."""
    seen = sys.stderr.isatty()
    bar: Any = (
        click.progressbar(ended, length=runs, label=label, file=sys.stderr) if seen else nullcontext(ended)
    )
    with bar as each:
        return list(each)


def past_document(known: Known, plan: ExperimentPlan) -> dict[str, Any]:
    past = known.past
    return {
        "from": known.source,
        "version": plan.champion.version,
        "first": when(past.start_ms),
        "last": when(past.start_ms + past.length_ms),
        "outcomes": past.count(plan.primary.metric),
        "arrived_share": past.arrived_share,
        "variance": known.variance(plan, plan.primary.metric),
        "block_ms": block_ms(past, plan),
    }


def past_words(known: Known, plan: ExperimentPlan) -> str:
    where, past = PAST[known.source].format(plan.champion.version), past_document(known, plan)
    return f"{past['outcomes']:,} outcomes, {past['first']} to {past['last']}, by {where}"


def reservations(known: Known, plan: ExperimentPlan) -> list[str]:
    """Sentences: what the past cannot tell of this plan, and if too few outcomes arrive for any promotion."""
    said = []
    if plan.more_primaries:
        said.append(
            f"Gains are on {plan.primary.key}; on the plan's further primaries "
            f"({', '.join(goal.key for goal in plan.more_primaries)}) no challenger is better here."
        )
    if plan.segments:
        said.append("Records do not say which segment they are of: all units took part.")
    if plan.strategy == "SWITCHBACK":
        said.append("What a switch leaves behind for the next period is not in the past, and not in this.")
    arrived, wanted = known.past.arrived_share, plan.minimums.arrived_share
    if arrived < wanted:
        said.append(
            f"Of the past's outcomes {percent(arrived)} arrived in time, and the plan promotes nothing under "
            f"{percent(wanted)} (minimums.arrived_share)."
        )
    return said


def rate_document(rate: Rate) -> dict[str, Any]:
    return {"count": rate.count, "share": rate.share, "lower": rate.lower, "upper": rate.upper}


def spread_document(spread: Spread) -> dict[str, float]:
    return {"mean": spread.mean, "lower": spread.lower, "median": spread.median, "upper": spread.upper}


def summary_document(summary: Summary) -> dict[str, Any]:
    rates = ("promoted", "rolled_back", "inconclusive", "undecided", "invalid")
    return {
        "runs": summary.runs,
        **{name: rate_document(getattr(summary, name)) for name in rates},
        "lasted_ms": spread_document(summary.lasted_ms),
        "outcomes": spread_document(summary.outcomes),
    }


def percent(share: float) -> str:
    """Three digits."""
    return f"{100 * share:.3g} %"


_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))


def duration(lasted_ms: float) -> str:
    """In the largest unit that it has, three digits."""
    size, unit = _unit(lasted_ms)
    return f"{_three(lasted_ms / size)} {unit}"


def quartiles(spread: Spread) -> str:
    """The middle half, as times in one unit."""
    size, unit = _unit(spread.upper)
    return f"{_three(spread.lower / size)} to {_three(spread.upper / size)} {unit}"


def _unit(lasted_ms: float) -> tuple[int, str]:
    return next((unit for unit in _UNITS if lasted_ms >= unit[0]), (1, "ms"))


def _three(value: float) -> str:
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.3g}"


def wrapped(sentences: Sequence[str]) -> Iterator[str]:
    """Lines for a terminal."""
    for sentence in sentences:
        yield click.wrap_text(sentence, 78, subsequent_indent="  ")


def summary_of(label: str, runs: int, ended: Iterable[Ended]) -> Summary:
    return Summary.of(counted(label, runs, ended))
