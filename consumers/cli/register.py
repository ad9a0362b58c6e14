"""`lifecycle registry register`: bring in a version that was made elsewhere."""

import asyncio
from pathlib import Path

import click

from consumers.bootstrap import System, now_ms
from consumers.cli.faults import USAGE, Refused
from consumers.cli.options import actor_option, json_option, with_system
from consumers.cli.output import print_json
from consumers.cli.reference import reference_options
from consumers.services.importing import prepare, register
from consumers.services.profiles import read_profile
from consumers.services.reference_error import ReferenceUnusable
from consumers.services.reference_files import Shape, profile_from
from domain.windows.profile import ReferenceProfile
from schemas.events import ModelStage

_LONGEST_NAME = 128


@click.command("register", short_help="Bring in a version that was made elsewhere.")
@click.argument("model")
@click.option(
    "--artifact",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the model's files.",
)
@click.option(
    "--reference",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV or Parquet of training data: features, and prediction and actual if you have them.",
)
@click.option(
    "--profile",
    "profile_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Reference profile that `lifecycle profile build` wrote, instead of --reference.",
)
@reference_options
@actor_option
@click.option("--reason", required=True, help="Why; kept in the history.")
@json_option
@with_system
async def command(
    system: System,
    model: str,
    artifact: Path,
    reference: Path | None,
    profile_file: Path | None,
    shape: Shape,
    actor: str,
    reason: str,
    as_json: bool,
) -> None:
    """Register the next version of MODEL, in STAGING.

    Without --reference or --profile its features are not tested for drift. Rows of the reference are in time
    order, or --time names the column to sort them by.

    \b
    Example:
      lifecycle registry register brent-move --artifact model/ --reference train.parquet \\
        --actor ada --reason "first version" --home DIR
    """
    _check_name(model)
    if reference is not None and profile_file is not None:
        raise Refused("--reference and --profile are two ways to say the same: give one of them", USAGE)
    try:
        profile = await asyncio.to_thread(_profile, reference, profile_file, shape)
        brought = await prepare(system.artifacts, model, artifact, profile, shape.task)
    except ReferenceUnusable as error:
        raise Refused(str(error), USAGE) from error
    async with system.store.write() as session:
        version = await register(
            system.registry(), session, brought, actor=actor, reason=reason, at_ms=now_ms()
        )
    if as_json:
        print_json({"model": model, "version": version.version, "stage": ModelStage.STAGING.value})
        return
    tested = "features are tested for drift" if brought.profile else "no reference: features are not tested"
    click.echo(f"version {version.version} of {model} is in STAGING; {tested}")


def _profile(reference: Path | None, file: Path | None, shape: Shape) -> ReferenceProfile | None:
    if reference is not None:
        return profile_from(reference, shape).profile
    if file is None:
        return None
    profile = read_profile(file)
    if profile.task != shape.task:
        raise Refused(f"{file} is of a model of task {profile.task}, not {shape.task}: --task", USAGE)
    return profile


def _check_name(model: str) -> None:
    """Events carry the name, and it is a folder of the artifact store."""
    fine = 0 < len(model) <= _LONGEST_NAME and model.isprintable() and model not in (".", "..")
    if not fine or "/" in model or "\\" in model:
        shown = model if len(model) <= _LONGEST_NAME else f"{model[:20]}..."
        raise Refused(
            f"model name {shown!r} must be 1 to {_LONGEST_NAME} printable characters without a slash, "
            "and neither . nor ..",
            USAGE,
        )
