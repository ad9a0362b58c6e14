"""`lifecycle profile show`: one reference profile as a table, as JSON or as a page."""

import asyncio
from pathlib import Path

import click

from consumers.bootstrap import System
from consumers.cli.options import json_option, with_system
from consumers.cli.output import print_json, when
from consumers.cli.profile_tables import print_profile
from consumers.report.page import write_whole
from consumers.report.profile import render
from consumers.services.profiles import profile_of, stored_profile


@click.command("show", short_help="A profile as a table, or as one HTML file with histograms.")
@click.argument("model")
@click.argument("version")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="HTML file to write, with a histogram of every feature; an older one is replaced.",
)
@json_option
@with_system
async def show(system: System, model: str, version: str, out: Path | None, as_json: bool) -> None:
    """The reference profile of VERSION of MODEL.

    \b
    Examples:
      lifecycle profile show brent-move 3 --home DIR
      lifecycle profile show brent-move 3 --out profile.html --home DIR
    """
    async with system.store.read() as session:
        stored = await stored_profile(session, model, version)
    profile = profile_of(stored)
    if out is not None:
        await asyncio.to_thread(write_whole, out, render(profile, stored.digest))
    if as_json:
        print_json(profile.to_json() | {"digest": stored.digest})
        return
    print_profile(f"profile of {model} {version}", profile)
    click.echo(f"counts for windows from {when(profile.effective_from_ms)} on; SHA-256 {stored.digest[:12]}")
    if out is not None:
        click.echo(f"{out}: histograms")
