"""`lifecycle profile compare`: a profile beside another one, or beside closed windows."""

import asyncio
from pathlib import Path
from typing import Any

import click

from consumers.bootstrap import System
from consumers.cli.faults import USAGE, Refused
from consumers.cli.options import json_option, moment, with_system
from consumers.cli.output import fits, print_json, print_table
from consumers.report.page import write_whole
from consumers.report.profile import render_comparison
from consumers.services.comparing import Compared, Comparison, compare_profiles, compare_windows
from consumers.services.learning import whole_windows
from consumers.services.profiles import profile_of, stored_profile
from domain.drift.rollup import RollUpPolicy

_WARN = RollUpPolicy().tolerance_warn


@click.command("compare", short_help="A profile beside another, or beside closed windows.")
@click.argument("model")
@click.argument("version")
@click.argument("other_version", required=False)
@click.option(
    "--windows",
    "times",
    nargs=2,
    metavar="FROM TO",
    help="Compare with what the version met in closed windows between these event times.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=_WARN,
    show_default=True,
    help="PSI that counts as no difference, for p-values.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="HTML file to write, with histograms over each other; an older one is replaced.",
)
@json_option
@with_system
async def compare(
    system: System,
    model: str,
    version: str,
    other_version: str | None,
    times: tuple[str, str] | None,
    tolerance: float,
    out: Path | None,
    as_json: bool,
) -> None:
    """The profile of VERSION of MODEL beside that of OTHER_VERSION, or beside closed windows.

    Distances by feature, furthest apart first. p is of one feature alone; alarms are decided over all of a
    model's features and windows, by lifecycle drift.

    \b
    Examples:
      lifecycle profile compare brent-move 3 2 --home DIR
      lifecycle profile compare brent-move 3 --windows 2026-03-30 2026-03-31 --out now.html --home DIR
    """
    if (other_version is None) == (times is None):
        raise Refused("say what with: OTHER_VERSION, or --windows FROM TO", USAGE)
    async with system.store.read() as session:
        if times is not None:
            from_ms, to_ms = (moment(each, "--windows") for each in times)
            if from_ms >= to_ms:
                raise Refused("--windows FROM TO: FROM must be before TO", USAGE)
            stretch = whole_windows(from_ms, to_ms, system.windows)
            found = await compare_windows(
                session, model, version, stretch, system.windows.length_ms, tolerance
            )
        else:
            ours = profile_of(await stored_profile(session, model, version))
            theirs = profile_of(await stored_profile(session, model, str(other_version)))
            found = compare_profiles(ours, theirs, tolerance)
    if out is not None:
        await asyncio.to_thread(write_whole, out, render_comparison(found))
    if as_json:
        print_json(found.to_json())
        return
    columns = ("feature", "psi", "adjusted", "js", "ks", "w/sd", "p", "moved_most")
    records = [_row(each) for each in found.compared]
    title = f"{model} {version} beside {found.other}"
    print_table(title, records, columns if fits(records, columns) else columns[:-1], "nothing to compare")
    _notes(found, out)


def _row(each: Compared) -> dict[str, Any]:
    sizes, bins = each.metrics.effect_sizes, each.metrics.bins
    return {
        "feature": each.name,
        "psi": _short(sizes["psi"]),
        "adjusted": _short(sizes["psi_adj"]),
        "js": _short(sizes["js"]),
        "ks": _short(sizes.get("ks")),
        "w/sd": _short(sizes.get("wasserstein_per_sd")),
        "p": float(f"{each.metrics.p_value:.1e}"),
        "moved_most": f"{bins[0].bin}: {bins[0].reference_share:.0%} > {bins[0].share:.0%}" if bins else "-",
    }


def _short(size: float | None) -> float | None:
    """Three decimals: a person reads these; --json has them all."""
    return None if size is None else round(size, 3) + 0.0


def _notes(found: Comparison, out: Path | None) -> None:
    if found.apart:
        click.echo(f"only on one side: {', '.join(found.apart)}")
    if any(each.estimated for each in found.compared):
        click.echo("bins differ: the shares of the other profile are estimated")
    if out is not None:
        click.echo(f"{out}: histograms")
