"""What a version promised: its errors on reference rows with outcomes, and its calibration."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from domain.windows.binning import Ints, numbers_of, plain
from domain.windows.calibration import Calibration, calibrate
from domain.windows.layout import Layout, consecutive
from domain.windows.metrics import Answer, Scores, score
from domain.windows.moments import Floats, of
from domain.windows.overdispersion import of_means
from domain.windows.profile import MetricReference, ReferenceProfile, Task
from domain.windows.profile_error import ProfileError

CHUNK = 65_536
"""Records scored at once; what they score does not depend on it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the scoring of a window reads of an outcome."""

    prediction_id: str
    actual: Answer
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Judged:
    """Predictions in time order and what really happened, parallel; None or NaN is missing."""

    predictions: Sequence[Any] | npt.NDArray[Any]
    actuals: Sequence[Any] | npt.NDArray[Any]
    values: Sequence[Mapping[str, float]] = ()
    """Extra metrics that the outcomes brought, of every record; empty when there are none."""
    layout: Layout | None = None
    """The windows they were in; None: consecutive ones."""

    def __post_init__(self) -> None:
        if len(self.predictions) != len(self.actuals):
            raise ProfileError(
                f"actuals must be as many as predictions: {len(self.predictions)}, not {len(self.actuals)}"
            )

    @property
    def outcomes(self) -> int:
        """How many records have both."""
        pairs = zip(plain(self.predictions), plain(self.actuals), strict=True)
        return sum(answer is not None and actual is not None for answer, actual in pairs)


def error_references(
    judged: Judged, profile: ReferenceProfile, window_records: int
) -> dict[str, MetricReference]:
    """Per metric of the profile's task: its moments, and phi of its window means.

    Scored as windows score; a record whose outcome does not fit its prediction is left out.
    """
    layout = judged.layout or consecutive(len(judged.predictions), window_records)
    found: dict[str, tuple[list[Ints], list[Floats]]] = {}
    for start, scores in _scored(judged, profile):
        for name, sample in (scores.samples | scores.values).items():
            rows, values = found.setdefault(name, ([], []))
            rows.append(np.array(sample.rows, np.int64) + start)
            values.append(sample.values)
    return {
        name: _reference(layout.windows[np.concatenate(rows)], np.concatenate(values))
        for name, (rows, values) in sorted(found.items())
    }


def fitted_calibration(judged: Judged, task: Task) -> Calibration | None:
    """The isotonic calibration of probabilities with labels 0 or 1; None for other tasks, or without any."""
    p, y = numbers_of(judged.predictions), numbers_of(judged.actuals)
    if task != "probability" or p is None or y is None:
        return None
    fits = (p >= 0) & (p <= 1) & ((y == 0) | (y == 1))
    return calibrate(p[fits], y[fits]) if fits.any() else None


def _scored(judged: Judged, profile: ReferenceProfile) -> Iterator[tuple[int, Scores]]:
    for start in range(0, len(judged.predictions), CHUNK):
        chunk = slice(start, start + CHUNK)
        predictions, actuals = plain(judged.predictions[chunk]), plain(judged.actuals[chunk])
        values = judged.values[chunk] if judged.values else [{}] * len(actuals)
        outcomes = [
            Outcome("", actual, value) if answer is not None and actual is not None else None
            for answer, actual, value in zip(predictions, actuals, values, strict=True)
        ]
        yield start, score(predictions, [True] * len(predictions), outcomes, profile)


def _reference(windows: Ints, values: Floats) -> MetricReference:
    moments = of(values)
    n = np.bincount(windows[windows >= 0])
    sums = np.bincount(windows[windows >= 0], weights=values[windows >= 0])
    filled = n > 0
    return MetricReference(
        n=moments.n,
        mean=moments.mean,
        M2=moments.M2,
        phi=of_means(n[filled].astype(np.float64), sums[filled] / n[filled], moments.M2 / moments.n),
    )
