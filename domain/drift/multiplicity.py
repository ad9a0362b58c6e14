"""Many features are tested at once; these rules keep the false alarms of all together in the budget."""

import math
from collections.abc import Sequence

from domain.errors import InvalidField


def bh(p_values: Sequence[float], level: float) -> tuple[bool, ...]:
    """Benjamini-Hochberg (1995): which hypotheses are rejected at false discovery rate `level`.

    When no feature has drifted, the chance of any rejection is at most `level`.

    >>> bh([0.001, 0.8, 0.012, 0.03], 0.05)
    (True, False, True, True)
    """
    order = sorted(range(len(p_values)), key=lambda i: (p_values[i], i))
    rejected = 0
    for rank, index in enumerate(order, start=1):
        if p_values[index] <= level * rank / len(p_values):
            rejected = rank
    chosen = set(order[:rejected])
    return tuple(index in chosen for index in range(len(p_values)))


def by(p_values: Sequence[float]) -> tuple[float, ...]:
    """Benjamini-Yekutieli (2001): per hypothesis the smallest false discovery rate at which it is rejected.

    Of the hypotheses whose value is at most q, a share of at most q is expected to be false discoveries,
    however the p-values depend on each other: models that trade one market do. The price against
    Benjamini-Hochberg is the factor 1 + 1/2 + ... + 1/K, 5.2 for a hundred. Raises InvalidField for a p-value
    outside [0, 1].

    >>> [round(value, 4) for value in by([0.001, 0.8, 0.012])]
    [0.0055, 1.0, 0.033]
    """
    for p_value in p_values:
        if not 0 <= p_value <= 1:
            raise InvalidField("by", "p_values", "0 to 1", p_value)
    count = len(p_values)
    harmonic = math.fsum(1 / rank for rank in range(1, count + 1))
    order = sorted(range(count), key=lambda i: (p_values[i], i))
    smallest, found = 1.0, [1.0] * count
    for rank in range(count, 0, -1):
        index = order[rank - 1]
        smallest = min(smallest, p_values[index] * harmonic * count / rank)
        found[index] = smallest
    return tuple(found)
