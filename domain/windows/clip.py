"""Where errors with heavy tails are cut off."""

import math
from typing import Final

import numpy as np

from domain.windows.moments import Floats

CLIP_QUANTILE: Final = 0.99
"""Of the absolute errors: beyond it an error counts as this large in `abs_error_clipped`."""


def error_clip(predictions: Floats, actuals: Floats) -> float | None:
    """The 99 % quantile of the absolute errors, NaN being no error; None when there is none to speak of."""
    with np.errstate(over="ignore"):
        errors = np.abs(predictions - actuals)
    known = errors[~np.isnan(errors)]
    clip = float(np.quantile(known, CLIP_QUANTILE)) if len(known) else 0.0
    return clip if math.isfinite(clip) and clip > 0 else None
