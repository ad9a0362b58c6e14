"""Many features are tested at once; these rules keep the false alarms of all together in the budget."""

from collections.abc import Sequence


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
