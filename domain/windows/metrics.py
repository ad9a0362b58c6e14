"""What a matched prediction scores, by task. IEEE basic operations only: the same bits on every machine."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from domain.windows.logarithm import natural_log
from domain.windows.moments import LARGEST, Floats
from domain.windows.profile import ReferenceProfile
from domain.windows.records import OutcomeRecord

HIT_METRICS = ("hit", "sign_hit")
"""Metrics of 0 and 1; paired contrasts of them are counted as discordant hits as well."""
PROBABILITY_CLIP = 1e-15
"""Probabilities are kept this far from 0 and 1 in log_loss (scikit-learn's long-standing default)."""

Answer = float | str


@dataclass(frozen=True, slots=True)
class Sample:
    """One metric of one cell: `values[k]` belongs to the cell's record number `rows[k]`."""

    rows: Sequence[int]
    values: Floats


@dataclass(frozen=True, slots=True)
class Scores:
    """Metrics of one cell. An unscorable record is matched but its outcome does not fit its prediction."""

    matched: Sequence[int]
    unscorable: int
    samples: dict[str, Sample] = field(default_factory=dict)
    """Metrics that follow from prediction and actual."""
    values: dict[str, Sample] = field(default_factory=dict)
    """Extra metrics the outcomes brought, of served predictions only."""


def score(
    predictions: Sequence[Answer],
    served: Sequence[bool],
    outcomes: Sequence[OutcomeRecord | None],
    profile: ReferenceProfile | None,
) -> Scores:
    """Score the records of a cell; the columns are parallel, an outcome of None is missing."""
    matched = [row for row, outcome in enumerate(outcomes) if outcome is not None]
    found = [outcome for outcome in outcomes if outcome is not None]
    actuals: list[Answer] = [outcome.actual for outcome in found]
    answers: list[Answer] = (
        [predictions[row] for row in matched] if len(matched) < len(predictions) else [*predictions]
    )
    numbers = [
        k for k in range(len(matched)) if not isinstance(answers[k], str) and not isinstance(actuals[k], str)
    ]
    labels = [k for k in range(len(matched)) if isinstance(answers[k], str) and isinstance(actuals[k], str)]
    samples: dict[str, Sample] = {}
    scored = 0
    if numbers:
        p = np.array([answers[k] for k in numbers], np.float64)
        y = np.array([actuals[k] for k in numbers], np.float64)
        rows = [matched[k] for k in numbers]
        samples, scored = (
            _probability(rows, p, y)
            if profile and profile.task == "probability"
            else _real(rows, p, y, profile)
        )
    if labels:
        hits = np.array([answers[k] == actuals[k] for k in labels], np.float64)
        samples["hit"] = _joined(samples.get("hit"), Sample([matched[k] for k in labels], hits))
        scored += len(labels)
    return Scores(matched, len(matched) - scored, samples, _values(matched, served, found))


def _real(
    rows: list[int], p: Floats, y: Floats, profile: ReferenceProfile | None
) -> tuple[dict[str, Sample], int]:
    with np.errstate(over="ignore"):
        error = p - y
        squared = error * error
    fits = (squared <= LARGEST) & (np.abs(y) <= LARGEST)
    if not fits.all():
        rows = [row for row, fit in zip(rows, fits.tolist(), strict=True) if fit]
        p, y, error, squared = p[fits], y[fits], error[fits], squared[fits]
    if not rows:
        return {}, 0
    absolute = np.abs(error)
    sign = np.sign(p)
    metrics = {
        "abs_error": absolute,
        "squared_error": squared,
        "sign_hit": (sign == np.sign(y)).astype(np.float64),
        "directional_return": sign * y,
    }
    if profile is not None and profile.error_clip is not None:
        metrics["abs_error_clipped"] = np.minimum(absolute, profile.error_clip)
    return {name: Sample(rows, values) for name, values in metrics.items()}, len(rows)


def _probability(rows: list[int], p: Floats, y: Floats) -> tuple[dict[str, Sample], int]:
    fits = (p >= 0) & (p <= 1) & ((y == 0) | (y == 1))
    if not fits.all():
        rows = [row for row, fit in zip(rows, fits.tolist(), strict=True) if fit]
        p, y = p[fits], y[fits]
    if not rows:
        return {}, 0
    kept = np.minimum(np.maximum(p, PROBABILITY_CLIP), 1.0 - PROBABILITY_CLIP)
    error = p - y
    metrics = {
        "log_loss": -natural_log(np.where(y == 1, kept, 1.0 - kept)),
        "brier": error * error,
        "hit": ((p >= 0.5) == (y == 1)).astype(np.float64),
    }
    return {name: Sample(rows, values) for name, values in metrics.items()}, len(rows)


def _joined(first: Sample | None, second: Sample) -> Sample:
    if first is None:
        return second
    return Sample([*first.rows, *second.rows], np.concatenate([first.values, second.values]))


def _values(
    matched: Sequence[int], served: Sequence[bool], found: Sequence[OutcomeRecord]
) -> dict[str, Sample]:
    columns: dict[str, tuple[list[int], list[float]]] = {}
    for row, outcome in zip(matched, found, strict=True):
        if outcome.values and served[row]:
            for name, value in outcome.values.items():
                if abs(value) <= LARGEST:
                    rows, values = columns.setdefault(f"value.{name}", ([], []))
                    rows.append(row)
                    values.append(value)
    return {name: Sample(rows, np.array(values, np.float64)) for name, (rows, values) in columns.items()}
