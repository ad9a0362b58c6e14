"""e-BH: which of many experiments' promotions still stand when they are judged together.

One experiment that promotes at an e-value of 1/alpha is wrong with a chance of at most alpha; of a hundred
such experiments without any effect some promote. e-BH (Wang & Ramdas, J. R. Stat. Soc. B 84, 2022,
arXiv:2009.02824) rejects the hypotheses whose e-value reaches K / (q k) for the largest k of which k do. The
expected share of false ones among them, the false discovery rate, is at most q under any dependence: models
that trade the same market need no correction for it.

The e-values must be those at which the experiments stopped, or any others with expectation at most one under
the null hypothesis; the running maximum of an e-process is none. The guarantee is for experiments that ended;
for those that run it says what it would be if they stopped now.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from domain.errors import InvalidField

_ROUNDING = 1e-12
"""An e-value of exactly K / (q k) is enough; logarithms must not lose it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discoveries:
    """What e-BH says of K hypotheses, in their order."""

    q: float
    rejected: tuple[bool, ...]
    threshold: float
    """Log e-value that was enough: log(K / (q k)) with k rejections; without any, what the first needs."""
    q_values: tuple[float, ...]
    """Per hypothesis, the smallest q at which it is rejected, at most 1."""

    @property
    def count(self) -> int:
        return sum(self.rejected)


def joint_log_e(log_es: Sequence[float | None]) -> float:
    """Log e-value that a challenger is better on any of its primaries: that of the mean of their e-values, an
    e-value however they depend on each other. None is no bet yet, an e-value of one.

    >>> round(math.exp(joint_log_e([math.log(30), math.log(10)])))
    20
    """
    known = [0.0 if log_e is None else log_e for log_e in log_es]
    largest = max(known)
    if len(known) == 1 or math.isinf(largest):
        return largest
    return largest + math.log(math.fsum(math.exp(log_e - largest) for log_e in known) / len(known))


def ebh(log_es: Sequence[float], q: float) -> Discoveries:
    """Reject at false discovery rate `q`; `log_es` are natural logarithms, minus infinity that of zero.

    Ties are rejected together, and the order of the hypotheses does not matter. Raises InvalidField for a `q`
    outside (0, 1) and for an e-value that is not a number.

    >>> found = ebh([math.log(100), math.log(30), math.log(2)], 0.05)
    >>> found.rejected, round(math.exp(found.threshold))
    ((True, True, False), 30)
    """
    if not 0 < q < 1:
        raise InvalidField("ebh", "q", "above 0 and below 1", q)
    for log_e in log_es:
        if math.isnan(log_e):
            raise InvalidField("ebh", "log_es", "numbers", log_e)
    count = len(log_es)
    if not count:
        return Discoveries(q=q, rejected=(), threshold=math.log(1 / q), q_values=())
    order = sorted(range(count), key=lambda index: -log_es[index])
    # log of K / k / e: the q at which the k largest would all be rejected
    needed = [math.log(count / rank) - log_es[index] for rank, index in enumerate(order, start=1)]
    smallest, q_values = math.inf, [1.0] * count
    for rank in range(count, 0, -1):
        smallest = min(smallest, needed[rank - 1])
        q_values[order[rank - 1]] = math.exp(min(0.0, smallest))
    reached = [rank for rank in range(1, count + 1) if needed[rank - 1] <= math.log(q) + _ROUNDING]
    kept = max(reached, default=0)
    rejected = [False] * count
    for index in order[:kept]:
        rejected[index] = True
    return Discoveries(
        q=q,
        rejected=tuple(rejected),
        threshold=math.log(count / (q * max(kept, 1))),
        q_values=tuple(q_values),
    )
