"""Options of the commands that build a reference profile from a file, or cut one into seasons."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

import click

from consumers.cli.faults import USAGE, Refused
from consumers.services.reference_files import Shape
from domain.windows.build import BINS, CATEGORIES, WINDOW_RECORDS
from domain.windows.profile_error import ProfileError
from domain.windows.season import DAY_MS, WEEK_MS, Season

R = TypeVar("R")
TASKS: Final = click.Choice(["regression", "probability", "label"])
_PERIODS: Final = {"day": (DAY_MS, 24), "week": (WEEK_MS, 7)}
"""Length, and the slots it is cut into unless one says otherwise."""

season_option = click.option(
    "--season",
    metavar="day|week|MS",
    help="Keep a histogram for each part of a day, a week or a period of MS milliseconds (UTC).",
)
slots_option = click.option(
    "--slots", type=int, help="Parts of the season, 2 to 168.  [default: 24 of a day, 7 of a week]"
)
bins_option = click.option(
    "--bins", type=click.IntRange(2, 100), default=BINS, show_default=True, help="Bins of a numeric feature."
)
categories_option = click.option(
    "--categories",
    type=click.IntRange(1, 1_000),
    default=CATEGORIES,
    show_default=True,
    help="Most frequent categories kept of a feature; the rest is unseen.",
)
_OPTIONS = (
    click.option("--time", metavar="COLUMN", help="Column of event times; rows are sorted by it."),
    click.option("--utc", is_flag=True, help="Times without a zone are UTC; otherwise they are refused."),
    season_option,
    slots_option,
    click.option(
        "--window-records",
        type=click.IntRange(min=1),
        default=WINDOW_RECORDS,
        show_default=True,
        help="Rows of a reference window: what a window of the log usually holds.",
    ),
    bins_option,
    categories_option,
    click.option("--text", multiple=True, metavar="COLUMN", help="Text, even where it looks like numbers."),
    click.option("--skip", multiple=True, metavar="COLUMN", help="Leave this column out."),
)


def reference_options(command: Callable[..., R]) -> Callable[..., R]:
    """Options that say how a file is to be taken; the command gets them as `shape`, beside `task`."""

    @wraps(command)
    def run(
        *args: Any,
        task: Any,
        time: str | None,
        utc: bool,
        season: str | None,
        slots: int | None,
        window_records: int,
        bins: int,
        categories: int,
        text: tuple[str, ...],
        skip: tuple[str, ...],
        **kwargs: Any,
    ) -> R:
        cut = season_of(season, slots)
        if cut is not None and time is None:
            raise Refused("--season needs --time, the column of event times", USAGE)
        shape = Shape(
            task=task,
            time=time,
            season=cut,
            utc=utc,
            window_records=window_records,
            bins=bins,
            categories=categories,
            text=text,
            skip=skip,
        )
        return command(*args, shape=shape, **kwargs)

    for option in reversed(_OPTIONS):
        run = option(run)
    return click.option(
        "--task", type=TASKS, default="regression", show_default=True, help="What is predicted."
    )(run)


def season_of(season: str | None, slots: int | None) -> Season | None:
    """The season of `--season` and `--slots`. Raises Refused."""
    if season is None:
        if slots is not None:
            raise Refused("--slots cuts a season: --season day, week or its length in milliseconds", USAGE)
        return None
    if season in _PERIODS:
        period_ms, usual = _PERIODS[season]
    elif season.isdecimal():
        period_ms, usual = int(season), 0
    else:
        raise Refused(f"--season {season!r} is not day, week or a number of milliseconds", USAGE)
    if slots is None and not usual:
        raise Refused("--season in milliseconds needs --slots", USAGE)
    try:
        return Season(period_ms=period_ms, slots=usual if slots is None else slots)
    except ProfileError as error:
        raise Refused(f"--season: {error}", USAGE) from error
