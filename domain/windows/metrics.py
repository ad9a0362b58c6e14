"""What a matched prediction scores, by task. IEEE basic operations only: the same bits on every machine."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from domain.windows.columns import as_floats
from domain.windows.logarithm import natural_log
from domain.windows.moments import LARGEST, Floats
from domain.windows.profile import ReferenceProfile
from domain.windows.records import OutcomeRecord

HIT_METRICS = ("hit", "sign_hit")
"""Metrics of 0 and 1; paired contrasts of them are counted as discordant hits as well."""
METRICS = (
    "abs_error",
    "abs_error_clipped",
    "brier",
    "directional_return",
    "hit",
    "log_loss",
    "sign_hit",
    "squared_error",
)
"""All that follow from prediction and actual, of whatever task. Outcomes bring others, under VALUE_PREFIX."""
VALUE_PREFIX = "value."
PROBABILITY_CLIP = 1e-15
"""Probabilities are kept this far from 0 and 1 in log_loss (scikit-learn's long-standing default)."""
POSITIVE = 0.5
"""A probability of at least this predicts the label 1."""

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
    answers = [predictions[row] for row in matched]
    actuals = [outcome.actual for outcome in found]
    p, y = as_floats(answers), as_floats(actuals)
    if p is not None and y is not None:
        samples, scored = _numbers(matched, p, y, profile)
    else:
        samples, scored = _mixed(matched, answers, actuals, profile)
    return Scores(matched, len(matched) - scored, samples, _values(matched, served, found))


def _mixed(
    matched: list[int], answers: Sequence[Answer], actuals: Sequence[Answer], profile: ReferenceProfile | None
) -> tuple[dict[str, Sample], int]:
    """Numbers against numbers, labels against labels, and nothing for the rest."""
    texts = [
        isinstance(answer, str) + isinstance(actual, str)
        for answer, actual in zip(answers, actuals, strict=True)
    ]
    numbers, labels = ([k for k, text in enumerate(texts) if text == kind] for kind in (0, 2))
    p = np.array([answers[k] for k in numbers], np.float64)
    y = np.array([actuals[k] for k in numbers], np.float64)
    samples, scored = _numbers([matched[k] for k in numbers], p, y, profile)
    if labels:
        hits = np.array([answers[k] == actuals[k] for k in labels], np.float64)
        samples["hit"] = _joined(samples.get("hit"), Sample([matched[k] for k in labels], hits))
    return samples, scored + len(labels)


def _numbers(
    rows: list[int], p: Floats, y: Floats, profile: ReferenceProfile | None
) -> tuple[dict[str, Sample], int]:
    """Samples of the numbers that can be scored, and how many these are."""
    if profile is not None and profile.task == "probability":
        return _probability(rows, p, y)
    return _real(rows, p, y, profile)


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
        "hit": ((p >= POSITIVE) == (y == 1)).astype(np.float64),
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
                    rows, values = columns.setdefault(f"{VALUE_PREFIX}{name}", ([], []))
                    rows.append(row)
                    values.append(value)
    return {name: Sample(rows, np.array(values, np.float64)) for name, (rows, values) in columns.items()}
