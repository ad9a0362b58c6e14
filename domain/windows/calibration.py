"""From a predicted probability to the share of positives that the reference saw at it."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from domain.windows.moments import Floats
from domain.windows.profile_error import ProfileError, reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """An isotonic map: `y` at the thresholds `x`, linear between them, flat beyond the ends.

    `x` ascends strictly and `y` does not descend; both lie in 0..1.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.x or len(self.x) != len(self.y):
            raise ProfileError("x and y must be equally many thresholds, at least one")
        if not all(0 <= value <= 1 for value in (*self.x, *self.y)):
            raise ProfileError("x and y must lie between 0 and 1")
        if any(a >= b for a, b in pairwise(self.x)):
            raise ProfileError("x must ascend strictly")
        if any(a > b for a, b in pairwise(self.y)):
            raise ProfileError("y must not descend")

    def map(self, p: Floats) -> Floats:
        """Calibrated probabilities of `p`. Basic operations one by one: no CPU fuses a product and a sum."""
        x, y = np.array(self.x), np.array(self.y)
        if len(x) == 1:
            return np.full(len(p), y[0])
        kept = np.minimum(np.maximum(p, x[0]), x[-1])
        left = np.minimum(x.searchsorted(kept, side="right") - 1, len(x) - 2)
        with np.errstate(over="ignore", invalid="ignore"):  # thresholds may be as close as numbers get
            slope = (y[left + 1] - y[left]) / (x[left + 1] - x[left])
            rise = slope * (kept - x[left])
        result: Floats = np.where(kept == x[left], y[left], np.minimum(rise + y[left], y[left + 1]))
        return np.where(kept == x[-1], y[-1], result)

    def to_json(self) -> dict[str, list[float]]:
        return {"x": list(self.x), "y": list(self.y)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Calibration":
        """Inverse of `to_json`; raises ProfileError."""
        with reading():
            return cls(x=tuple(float(x) for x in value["x"]), y=tuple(float(y) for y in value["y"]))


def calibrate(p: Floats, labels: Floats) -> Calibration:
    """Isotonic (pool adjacent violators) calibration of probabilities in 0..1 against labels 0 or 1.

    Equal probabilities are one point that weighs as much as they are; thresholds inside a flat stretch are
    dropped, as they change nothing. Raises ProfileError for no probabilities.
    """
    if not len(p):
        raise ProfileError("calibration needs at least one probability with a label")
    x, which, weights = np.unique(p, return_inverse=True, return_counts=True)
    shares = np.bincount(which, weights=labels, minlength=len(x)) / weights
    y = np.clip(isotonic_regression(shares, weights=weights).x, 0.0, 1.0)
    # a mean of a pooled block may fall a bit below its neighbour's
    y = np.maximum.accumulate(y)
    bends = np.ones(len(y), np.bool_)
    bends[1:-1] = (y[1:-1] != y[:-2]) | (y[1:-1] != y[2:])
    return Calibration(x=tuple((x[bends] + 0.0).tolist()), y=tuple((y[bends] + 0.0).tolist()))
