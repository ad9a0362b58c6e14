"""The input row of one (model, version, variant, experiment, epoch) in one window."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from domain.windows.calibration import Calibration
from domain.windows.cells import Cell
from domain.windows.columns import as_floats
from domain.windows.histogram import FeatureBins, count_values
from domain.windows.metrics import POSITIVE
from domain.windows.moments import LARGEST, Floats, of
from domain.windows.profile import ReferenceProfile
from domain.windows.units import bucket


def input_body(
    cells: Sequence[Cell], profile: ReferenceProfile | None, bins: FeatureBins | None
) -> dict[str, Any]:
    """Body of the row over `cells` that differ in horizon only; `profile` and `bins` are those in force."""
    predictions = [prediction for cell in cells for prediction in cell.predictions]
    body: dict[str, Any] = {
        "n": len(predictions),
        "served": sum(sum(cell.served) for cell in cells),
        "duplicates": sum(cell.duplicates for cell in cells),
    }
    numbers, labels = as_floats(predictions), {}
    if numbers is None:
        numbers = np.array([p for p in predictions if not isinstance(p, str)], np.float64)
        labels = dict(Counter(p for p in predictions if isinstance(p, str)))
    optional: dict[str, Any] = {
        "prediction": _number_moments(numbers),
        "labels": labels,
        "features": bins.count_tables([cell.features for cell in cells]) if bins is not None else None,
        "units": _unit_counts(cells),
    }
    if profile is not None and profile.prediction is not None:
        optional["prediction_bins"] = count_values(profile.prediction, predictions)
    if profile is not None and profile.calibration is not None:
        optional["estimate"] = _estimate(numbers, profile.calibration)
    return body | {name: value for name, value in optional.items() if value}


def _number_moments(numbers: Floats) -> dict[str, float]:
    measured = numbers[np.abs(numbers) <= LARGEST]
    return of(measured).to_json() if len(measured) else {}


def _estimate(numbers: Floats, calibration: Calibration) -> dict[str, float]:
    """What confidence-based performance estimation sums: how many are predicted positive and negative, and
    how many of either the calibrated probabilities expect to be positive. Nothing but probabilities counts.
    """
    p = numbers[(numbers >= 0) & (numbers <= 1)]
    if not len(p):
        return {}
    calibrated, positive = calibration.map(p), p >= POSITIVE
    ones, zeros = calibrated[positive], calibrated[~positive]
    return {
        "n1": len(ones),
        "s1": math.fsum(ones.tolist()) + 0.0,
        "n0": len(zeros),
        "s0": math.fsum(zeros.tolist()) + 0.0,
    }


def _unit_counts(cells: Sequence[Cell]) -> dict[str, int]:
    experiment = cells[0].key.experiment
    if experiment is None:
        return {}
    counts = Counter(bucket(experiment, unit) for cell in cells for unit in cell.units if unit is not None)
    return {str(number): n for number, n in counts.items()}
