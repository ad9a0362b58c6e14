"""How profile commands print a profile."""

from typing import Any

import click

from consumers.cli.output import print_table
from consumers.report.profile import season_words
from domain.windows.profile import FeatureReference, ReferenceProfile


def print_profile(title: str, profile: ReferenceProfile) -> None:
    """A table of the features, and below it what else the profile holds."""
    features = [_row(name, reference) for name, reference in sorted(profile.features.items())]
    if profile.prediction is not None:
        features.append(_row("(prediction)", profile.prediction))
    columns = ("feature", "kind", "bins", "rows", "missing", "phi", "season")
    print_table(title, features, columns, f"{title}: no features")
    if profile.errors:
        errors = [
            {"metric": name, "outcomes": each.n, "mean": each.mean, "phi": each.phi}
            for name, each in sorted(profile.errors.items())
        ]
        print_table("promised", errors, ("metric", "outcomes", "mean", "phi"), "")
    if profile.calibration is not None:
        click.echo(f"calibrated with {len(profile.calibration.x)} thresholds: windows estimate performance")
    if profile.season is not None:
        click.echo(f"season: {season_words(profile.season)}")


def _row(name: str, reference: FeatureReference) -> dict[str, Any]:
    rows = sum(reference.counts)
    return {
        "feature": name,
        "kind": reference.kind,
        "bins": reference.bins,
        "rows": rows,
        "missing": f"{reference.counts[-2] / rows:.1%}" if rows else "-",
        "phi": reference.phi,
        "season": f"{len(reference.seasonal)} slots" if reference.seasonal else "-",
    }
