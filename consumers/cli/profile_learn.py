"""`lifecycle profile learn`: a reference profile from a stretch of the log."""

from typing import cast

import click

from consumers.bootstrap import System
from consumers.cli.faults import UNAVAILABLE, USAGE, WRONG, Refused
from consumers.cli.options import json_option, moment, with_system
from consumers.cli.output import print_json, when
from consumers.cli.profile_tables import print_profile
from consumers.cli.reference import bins_option, categories_option, season_of, season_option, slots_option
from consumers.report.words import plural
from consumers.services.history import HistoryNotClosed
from consumers.services.learning import LEAST_WINDOWS, Lesson, Stretch, last_windows, whole_windows
from consumers.services.learning import learn as learned_from
from consumers.services.registry import ProfileExists
from consumers.store.repositories.models import ModelRepository
from consumers.store.repositories.profiles import ProfileRepository
from domain.windows.profile import Task
from domain.windows.profile_error import ProfileError


@click.command("learn", short_help="A profile from what a version served.")
@click.argument("model")
@click.argument("version")
@click.option("--windows", type=click.IntRange(min=1), help="The last so many closed windows it served in.")
@click.option("--from", "since", help="Event time, such as 2026-03-31 or 2026-03-31T12:00:00Z.")
@click.option("--to", "until", help="Event time at which the stretch ends.")
@season_option
@slots_option
@bins_option
@categories_option
@click.option(
    "--few-windows",
    is_flag=True,
    help=f"Take fewer than {LEAST_WINDOWS} windows, from which phi is a guess: false alarms may be many.",
)
@click.option("--dry-run", is_flag=True, help="Show the profile and attach nothing.")
@json_option
@with_system
async def learn(
    system: System,
    model: str,
    version: str,
    windows: int | None,
    since: str | None,
    until: str | None,
    season: str | None,
    slots: int | None,
    bins: int,
    categories: int,
    few_windows: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Learn the profile of VERSION of MODEL, which has none, from sound windows that it served in.

    Read from the log: the features and predictions it served and the outcomes that are complete. The profile
    counts for windows that no partition has closed yet, and is final. What was already wrong in the stretch
    is taken for normal from then on.

    \b
    Examples:
      lifecycle profile learn brent-move 3 --windows 500 --home DIR
      lifecycle profile learn brent-move 3 --from 2026-03-01 --to 2026-03-29 --season week --home DIR
    """
    if (windows is None) == (since is None) or (since is None) != (until is None):
        raise Refused("say which stretch: --windows N, or --from TIME and --to TIME", USAGE)
    if windows is not None and windows < LEAST_WINDOWS and not few_windows:
        raise Refused(_too_few(windows), WRONG)
    cut = season_of(season, slots)
    async with system.store.read() as session:
        known = await ModelRepository(session).get_model(model)
        if known is None or await ModelRepository(session).get_version(model, version) is None:
            raise Refused(f"the registry has no version {version} of {model}: lifecycle registry list")
        if await ProfileRepository(session).get_many([(model, version)]):
            raise ProfileExists(model, version)
        if windows is not None:
            stretch = await last_windows(session, model, version, windows, system.windows)
        else:
            stretch = _between(system, str(since), str(until))
    lesson = Lesson(
        model=model,
        version=version,
        task=cast(Task, known.task),
        stretch=stretch,
        season=cut,
        bins=bins,
        categories=categories,
        least_windows=1 if few_windows else LEAST_WINDOWS,
    )
    try:
        learned = await learned_from(system.history, lesson)
    except HistoryNotClosed as error:
        raise Refused(f"the stretch is not over yet: {error}", UNAVAILABLE) from error
    except ProfileError as error:
        raise Refused(f"{model} {version}: {error}") from error
    profile = learned.profile
    if not dry_run:
        async with system.store.write() as session:
            profile = await system.registry().attach_profile(session, model, version, profile)
    facts = {
        "windows": learned.windows,
        "rows": learned.rows,
        "outcomes": learned.outcomes,
        "from": when(stretch.from_ms),
        "to": when(stretch.to_ms),
        "effective_from": None if dry_run else when(profile.effective_from_ms),
    }
    if as_json:
        print_json({"model": model, "version": version, **facts, "profile": profile.to_json()})
        return
    print_profile(f"profile of {model} {version}", profile)
    click.echo(
        f"{plural(learned.rows, 'prediction')} in {plural(learned.windows, 'window')}, "
        f"{learned.outcomes:,} with an outcome; {facts['from']} to {facts['to']}"
    )
    click.echo("nothing is attached" if dry_run else f"counts for windows from {facts['effective_from']} on")


def _between(system: System, since: str, until: str) -> Stretch:
    from_ms, to_ms = moment(since, "--from"), moment(until, "--to")
    if from_ms >= to_ms:
        raise Refused("--from must be before --to", USAGE)
    return whole_windows(from_ms, to_ms, system.windows)


def _too_few(found: int) -> str:
    return (
        f"{plural(found, 'window')} are too few: phi, by which alarms are kept rare, needs {LEAST_WINDOWS}; "
        "--few-windows takes them all the same"
    )
