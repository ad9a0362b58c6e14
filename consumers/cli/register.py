"""`lifecycle registry register`: bring in a version that was made elsewhere."""

from pathlib import Path

import click

from consumers.bootstrap import System, now_ms
from consumers.cli.faults import Refused
from consumers.cli.options import with_system
from consumers.services.importing import prepare, register
from domain.windows.profile import Task

_TASKS = click.Choice(["regression", "probability", "label"])


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
    help="Parquet of training data in time order: features, and prediction and actual if you have them.",
)
@click.option("--task", type=_TASKS, default="regression", show_default=True, help="What is predicted.")
@click.option("--actor", required=True, help="Who orders this; kept in the history.")
@click.option("--reason", required=True, help="Why; kept in the history.")
@with_system
async def command(
    system: System,
    model: str,
    artifact: Path,
    reference: Path | None,
    task: Task,
    actor: str,
    reason: str,
) -> None:
    """Register the next version of MODEL, in STAGING.

    Without --reference its features are not tested for drift.

    \b
    Example:
      lifecycle registry register brent-move --artifact model/ --reference train.parquet \\
        --actor ada --reason "first version" --home DIR
    """
    if "/" in model:
        raise Refused(f"model name {model!r} holds a slash: it names a folder of the artifact store")
    brought = await prepare(system.artifacts, model, artifact, reference, task)
    async with system.store.write() as session:
        version = await register(
            system.registry(), session, brought, actor=actor, reason=reason, at_ms=now_ms()
        )
    tested = "features are tested for drift" if brought.profile else "no reference: features are not tested"
    click.echo(f"version {version.version} of {model} is in STAGING; {tested}")
