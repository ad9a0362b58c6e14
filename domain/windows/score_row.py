"""Score rows of one window and horizon."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from domain.windows.cells import ClosedCell
from domain.windows.metrics import HIT_METRICS, Sample, Scores
from domain.windows.moments import of
from domain.windows.units import bucket, grouped


@dataclass(frozen=True, slots=True)
class ScoredCell:
    """A cell with what its records scored."""

    cell: ClosedCell
    scores: Scores


def score_bodies(scored: Sequence[ScoredCell]) -> list[dict[str, Any]]:
    """Bodies of all rows of one window and horizon, in the order of `scored`."""
    served = _served_answers(scored)
    return [_body(item) | _paired(item, served) for item in scored]


def _body(item: ScoredCell) -> dict[str, Any]:
    cell, scores = item.cell, item.scores
    samples = scores.samples | scores.values
    body: dict[str, Any] = {
        "n": len(cell.ids),
        "matched": len(scores.matched),
        "missing": len(cell.ids) - len(scores.matched),
        "served": sum(cell.served),
        "unscorable": scores.unscorable,
    }
    adjusted = bool(cell.covariates) and all(cell.covariates[row] is not None for row in scores.matched)
    metrics = {
        name: _moments(sample, cell.covariates if adjusted else None) for name, sample in samples.items()
    }
    units = _unit_sums(cell, samples)
    return body | ({"metrics": metrics} if metrics else {}) | ({"units": units} if units else {})


def _moments(sample: Sample, covariates: Sequence[float | None] | None) -> dict[str, float]:
    if covariates is None:
        return of(sample.values).to_json()
    return of(sample.values, np.array([covariates[row] for row in sample.rows], np.float64)).to_json()


def _unit_sums(cell: ClosedCell, samples: Mapping[str, Sample]) -> dict[str, dict[str, list[float]]]:
    experiment = cell.key.experiment
    if experiment is None or not cell.units:
        return {}
    buckets = [bucket(experiment, unit) if unit is not None else -1 for unit in cell.units]
    sums: dict[str, dict[str, list[float]]] = {}
    for name, sample in samples.items():
        pairs = zip((buckets[row] for row in sample.rows), sample.values.tolist(), strict=True)
        groups = grouped(pair for pair in pairs if pair[0] >= 0)
        if groups:
            sums[name] = {str(b): [len(values), math.fsum(values) + 0.0] for b, values in groups.items()}
    return sums


ServedAnswers = dict[tuple[str, str, int], dict[str, dict[str, float]]]
"""(model, experiment, epoch) -> metric -> prediction_id -> what the served answer scored."""


def _served_answers(scored: Sequence[ScoredCell]) -> ServedAnswers:
    """What the served answers scored, for the experiments in which a shadow answer may be paired with them.

    Should two served answers of one experiment carry one id, the first in order of (variant, version) counts.
    """
    shadowed = {_contest(item.cell) for item in scored if not all(item.cell.served)}
    answers: ServedAnswers = {}
    for item in sorted(scored, key=lambda item: (item.cell.key.variant or "", item.cell.key.version)):
        contest, cell = _contest(item.cell), item.cell
        if contest is None or contest not in shadowed:
            continue
        by_metric = answers.setdefault(contest, {})
        for name, sample in item.scores.samples.items():
            by_id = by_metric.setdefault(name, {})
            for row, value in zip(sample.rows, sample.values.tolist(), strict=True):
                if cell.served[row]:
                    by_id.setdefault(cell.ids[row], value)
    return answers


def _contest(cell: ClosedCell) -> tuple[str, str, int] | None:
    key = cell.key
    return (key.model, key.experiment, key.epoch) if key.experiment is not None else None


def _paired(item: ScoredCell, answers: ServedAnswers) -> dict[str, Any]:
    """Differences shadow minus served on requests that both answered, and discordant hits."""
    cell, contest = item.cell, _contest(item.cell)
    paired: dict[str, Any] = {}
    hits: dict[str, Any] = {}
    if contest is None or contest not in answers:
        return {}
    by_metric = answers[contest]
    for name, sample in item.scores.samples.items():
        by_id = by_metric.get(name, {})
        pairs = [
            (value, by_id[cell.ids[row]])
            for row, value in zip(sample.rows, sample.values.tolist(), strict=True)
            if not cell.served[row] and cell.ids[row] in by_id
        ]
        if pairs:
            paired[name] = of([ours - theirs for ours, theirs in pairs]).to_json()
            if name in HIT_METRICS:
                won = sum(ours > theirs for ours, theirs in pairs)
                lost = sum(ours < theirs for ours, theirs in pairs)
                hits[name] = {"n": len(pairs), "b": won, "c": lost}
    return ({"paired": paired} if paired else {}) | ({"paired_hits": hits} if hits else {})
