"""`lifecycle profile build`: a reference profile from a CSV or Parquet file."""

from pathlib import Path

import click
import orjson

from consumers.cli.faults import USAGE, Refused
from consumers.cli.output import print_json, when
from consumers.cli.profile_tables import print_profile
from consumers.cli.reference import reference_options
from consumers.report.page import write_whole
from consumers.report.words import plural
from consumers.services.profiles import profile_document
from consumers.services.reference_error import ReferenceUnusable
from consumers.services.reference_files import Built, Shape, profile_from


@click.command("build", short_help="A profile from a CSV or Parquet file.")
@click.option(
    "--from",
    "source",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV (.csv, .csv.gz) or Parquet: a column per feature, and prediction and actual if you have them.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write the profile to, as JSON; an older one is replaced.",
)
@reference_options
@click.option("--json", "as_json", is_flag=True, help="Print the profile as JSON instead of a table.")
def build(source: Path, out: Path | None, shape: Shape, as_json: bool) -> None:
    """Build the reference profile of a version from its training data. Needs no deployment.

    Rows are in time order, or --time names the column to sort them by. With prediction and actual the profile
    holds the errors that the version promises; for task probability also its calibration. One column is in
    memory at a time.

    \b
    Examples:
      lifecycle profile build --from train.csv --time at --season day --out profile.json
      lifecycle registry register brent-move --artifact model/ --profile profile.json \\
        --actor ada --reason "first version" --home DIR
    """
    try:
        built = profile_from(source, shape)
    except ReferenceUnusable as error:
        raise Refused(str(error), USAGE) from error
    if out is not None:
        write_whole(out, profile_document(built.profile))
    if as_json:
        print_json(orjson.loads(profile_document(built.profile)))
        return
    print_profile(f"profile of {source.name}", built.profile)
    click.echo(_source(built))
    if out is not None:
        click.echo(f"{out}: attach it with lifecycle registry register --profile, or profile attach")


def _source(built: Built) -> str:
    said = plural(built.rows, "row")
    if built.outcomes:
        said += f", {built.outcomes:,} with an outcome"
    if built.first_ms is not None:
        said += f"\n{when(built.first_ms)} to {when(built.last_ms)}"
    season = built.profile.season
    if season is not None and built.first_ms is not None and built.last_ms is not None:
        said += f", {(built.last_ms - built.first_ms) / season.period_ms:.1f} seasons"
    return said
