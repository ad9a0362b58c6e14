"""`lifecycle profile attach`: give a version without a profile one from a file."""

from pathlib import Path

import click

from consumers.bootstrap import System
from consumers.cli.faults import USAGE, Refused
from consumers.cli.options import json_option, with_system
from consumers.cli.output import print_json, when
from consumers.services.profiles import read_profile
from consumers.services.reference_error import ReferenceUnusable


@click.command("attach", short_help="Give a version without a profile one from a file.")
@click.argument("model")
@click.argument("version")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@with_system
async def attach(system: System, model: str, version: str, file: Path, as_json: bool) -> None:
    """Attach the profile in FILE to VERSION of MODEL, which has none yet.

    It counts for windows that no partition has closed, so no decision that is made changes. It is final: a
    version's profile is never replaced.

    \b
    Example:
      lifecycle profile attach brent-move 3 profile.json --home DIR
    """
    try:
        profile = read_profile(file)
    except ReferenceUnusable as error:
        raise Refused(str(error), USAGE) from error
    async with system.store.write() as session:
        dated = await system.registry().attach_profile(session, model, version, profile)
    if as_json:
        print_json({"model": model, "version": version, "effective_from_ms": dated.effective_from_ms})
    else:
        click.echo(f"version {version} of {model} has a profile from {when(dated.effective_from_ms)} on")
