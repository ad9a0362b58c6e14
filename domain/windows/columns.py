"""From Python values to arrays, quickly when all are numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from domain.windows.moments import Floats


def as_floats(values: Sequence[Any]) -> Floats | None:
    """`values` as an array, or None if there is anything but numbers and booleans among them."""
    try:
        # only a check: numpy would take the text "1.5" for a number, and None for NaN; a sum refuses both
        sum(values)
    except TypeError:
        return None
    return np.fromiter(values, np.float64, len(values))
