"""Sequential McNemar test for two models that answer the same events right or wrong."""

import math

from scipy.special import betainc, betaln

TINY = 1e-250


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
    if upper < TINY:
        return _hopeless(b, c, prior)
    mixture = float(betaln(prior + b, prior + c) - betaln(prior, prior)) + (b + c) * math.log(2)
    return mixture + math.log(2 * upper)


def _hopeless(b: int, c: int, prior: float) -> float:
    """The same where c is so much larger that the tail is no float any more.

    A floor under the tail would not do: the mixture grows like 2^(b + c), and the champion's landslide would
    pass for the challenger's. With I_x(p, q) = x^p (1-x)^q / (p B(p, q)) * 2F1(p+q, 1; p+1; x), DLMF 8.17.8,
    the powers cancel, and the series falls fast because c is much larger than b.
    """
    p, q = prior + c, prior + b
    series, term, k = 0.0, 1.0, 0
    while term > series * 1e-17:
        series += term
        term *= (p + q + k) / (p + 1 + k) / 2
        k += 1
    return (1 - 2 * prior) * math.log(2) - float(betaln(prior, prior)) - math.log(p) + math.log(series)
