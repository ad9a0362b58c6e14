"""Building a reference profile from training data, or from a stretch of the log."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from domain.windows.baseline import Judged, error_references, fitted_calibration
from domain.windows.binning import Binned, Column, binned
from domain.windows.layout import Layout, consecutive
from domain.windows.moments import Floats
from domain.windows.overdispersion import Scored, overdispersion, standardised_scores
from domain.windows.profile import FeatureReference, ReferenceProfile, Task
from domain.windows.profile_error import ProfileError, reading

BINS: Final = 20
CATEGORIES: Final = 50
WINDOW_RECORDS: Final = 100


def build_profile(
    *,
    model: str,
    version: str,
    task: Task,
    features: Mapping[str, Column],
    predictions: Column | None = None,
    judged: Judged | None = None,
    effective_from_ms: int = 0,
    error_clip: float | None = None,
    window_records: int = WINDOW_RECORDS,
    layout: Layout | None = None,
    bins: int = BINS,
    categories: int = CATEGORIES,
) -> ReferenceProfile:
    """Profile of columns in time order (lists, numpy arrays or coded text).

    Numbers get quantile bins, text the most frequent categories. `window_records` is the length of the
    consecutive reference windows over which phi, the overdispersion, is measured: take what a window of the
    log usually holds. A `layout` says instead which window, and which slot of a season, each record belongs
    to: all columns are then as long as it. `features` is read one column at a time.

    From `judged`, predictions with their outcomes, come the errors that the version promises and, for task
    probability, the calibration. Raises ProfileError, naming the column, and for a season the slot that has
    too few records.
    """
    shape = (window_records, bins, categories, layout)
    references = {}
    for name in features:
        with reading(f"features.{name}"):
            references[name] = feature_reference(features[name], *shape)
    prediction = None
    if predictions is not None:
        with reading("prediction"):
            prediction = feature_reference(predictions, *shape)
    bare = ReferenceProfile(model=model, version=version, task=task, error_clip=error_clip)
    return ReferenceProfile(
        model=model,
        version=version,
        task=task,
        effective_from_ms=effective_from_ms,
        features=references,
        prediction=prediction,
        error_clip=error_clip,
        season=layout.season if layout is not None else None,
        calibration=fitted_calibration(judged, task) if judged is not None else None,
        errors=error_references(judged, bare, window_records) if judged is not None else {},
    )


def feature_reference(
    column: Column,
    window_records: int = WINDOW_RECORDS,
    bins: int = BINS,
    categories: int = CATEGORIES,
    layout: Layout | None = None,
) -> FeatureReference:
    """Bins, reference counts and phi of one column. A column with any text in it is categorical."""
    if window_records < 1 or bins < 2 or categories < 1:
        raise ValueError("window_records and categories must be at least 1, bins at least 2")
    found = binned(column, bins, categories)
    if layout is None:
        layout = consecutive(len(found.cells), window_records)
    elif len(layout.windows) != len(found.cells):
        raise ProfileError(f"must have a value for each of {len(layout.windows)} records")
    reference = found.reference
    return FeatureReference(
        kind=reference.kind,
        edges=reference.edges,
        categories=reference.categories,
        counts=reference.counts,
        phi=_phi(found, layout),
        means=reference.means,
        sd=reference.sd,
        seasonal=_by_slot(found, layout),
    )


def _by_slot(found: Binned, layout: Layout) -> tuple[tuple[int, ...], ...]:
    if layout.season is None:
        return ()
    width = len(found.reference.counts)
    table = np.bincount(layout.slots * width + found.cells, minlength=layout.season.slots * width)
    return tuple(tuple(row) for row in table.reshape(-1, width).tolist())


def _phi(found: Binned, layout: Layout) -> float:
    """Over whole windows, each against the windows of its slot, what is missing left out."""
    reference = found.reference
    use = (layout.windows >= 0) & (found.cells < reference.bins)
    if not use.any():
        return 1.0
    slots = layout.window_slots()
    places = layout.windows[use] * reference.bins + found.cells[use]
    table = np.bincount(places, minlength=len(slots) * reference.bins).reshape(-1, reference.bins)
    windows: Floats = table.astype(np.float64)
    parts = [windows[slots == slot] for slot in np.unique(slots).tolist()]
    return overdispersion(
        [Scored(part, standardised_scores(reference.kind, part.sum(axis=0))) for part in parts if part.any()]
    )
