"""The input row of one (model, version, variant, experiment, epoch) in one window."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from domain.windows.cells import Cell
from domain.windows.histogram import FeatureBins, count_values
from domain.windows.moments import LARGEST, of
from domain.windows.profile import ReferenceProfile
from domain.windows.records import PredictionRecord
from domain.windows.units import bucket


def input_body(
    cells: Sequence[Cell], profile: ReferenceProfile | None, bins: FeatureBins | None
) -> dict[str, Any]:
    """Body of the row over `cells` that differ in horizon only; `profile` and `bins` are those in force."""
    records = [record for cell in cells for record in cell.records]
    body: dict[str, Any] = {
        "n": len(records),
        "served": sum(record.served for record in records),
        "duplicates": sum(cell.duplicates for cell in cells),
    }
    predictions = [record.prediction for record in records]
    numbers = [p for p in predictions if not isinstance(p, str) and abs(p) <= LARGEST]
    labels = Counter(p for p in predictions if isinstance(p, str))
    optional: dict[str, Any] = {
        "prediction": of(numbers).to_json() if numbers else None,
        "labels": dict(labels),
        "features": bins.count([record.features for record in records]) if bins is not None else None,
        "units": _unit_counts(cells[0].key.experiment, records),
    }
    if profile is not None and profile.prediction is not None:
        optional["prediction_bins"] = count_values(profile.prediction, predictions)
    return body | {name: value for name, value in optional.items() if value}


def _unit_counts(experiment: str | None, records: Sequence[PredictionRecord]) -> dict[str, int]:
    if experiment is None:
        return {}
    counts = Counter(bucket(experiment, record.unit) for record in records if record.unit is not None)
    return {str(number): n for number, n in counts.items()}
