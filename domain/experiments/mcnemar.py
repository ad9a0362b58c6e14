"""Sequential McNemar test for two models that answer the same events right or wrong."""

import math

from scipy.special import betainc, betaln


def log_e(b: int, c: int, prior: float = 1.0) -> float:
    """Evidence that the challenger is right more often than the champion; exact for independent events.

    `b` counts events that only the challenger got right, `c` those that only the champion got right. Under
    the null each of the b + c is a coin toss; the alternative is Beta(prior, prior) on p > 1/2. A `prior` of
    25 is quicker for small effects. Swap b and c for evidence of harm.

    >>> round(math.exp(log_e(3, 0)), 12)
    3.75
    """
    # 1 - I_{1/2}(x, y) = I_{1/2}(y, x) keeps the relative accuracy when the left side is close to zero
    upper = float(betainc(prior + c, prior + b, 0.5))
    mixture = float(betaln(prior + b, prior + c) - betaln(prior, prior)) + (b + c) * math.log(2)
    return mixture + math.log(max(2 * upper, 1e-300))
