"""Natural logarithm by IEEE basic operations only, so that every CPU and every C library gives the same bits.

numpy picks vector instructions by CPU and libm picks fused ones, and their last bits differ: two workers on
different machines would write different bytes. Reduction and series of the textbooks: x = m 2^e with m in
[sqrt(1/2), sqrt(2)), s = (m - 1)/(m + 1), ln x = e ln 2 + 2 s (1 + s^2/3 + s^4/5 + ...), |s| < 0.172.
"""

from typing import Final

import numpy as np

from domain.windows.moments import Floats

LN2: Final = 0.6931471805599453
SQRT_HALF: Final = 0.7071067811865476
TERMS: Final = 12  # 0.172^24 / 25 is below 2^-53 of the sum


def natural_log(x: Floats) -> Floats:
    """ln of positive normal numbers, within a few units in the last place."""
    m, e = np.frexp(x)
    low = m < SQRT_HALF
    m = np.where(low, m * 2.0, m)
    e = e - low
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    series = np.zeros_like(s)
    for k in range(TERMS, 0, -1):
        series = (series + 1.0 / (2 * k + 1)) * z
    result: Floats = e * LN2 + (s + s * series) * 2.0
    return result
