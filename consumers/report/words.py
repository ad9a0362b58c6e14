"""Numbers and times as people read them; the command line and the pages say the same."""

import math

_LARGEST = 1e6
_SMALLEST = 1e-6


def e_value(log_e: float) -> str:
    """The e-value of a natural logarithm, three digits."""
    if log_e >= math.log(_LARGEST):
        return "over 1,000,000"
    if log_e < math.log(_SMALLEST):
        return "under 0.000001"
    return f"{math.exp(log_e):.3g}"
