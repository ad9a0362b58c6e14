"""Blocks of windows: counts that add up, and what they are to be compared with.

Without a season that is the reference's own histogram. With one, what a block should look like depends on
the part of the day it comes from: its reference is the mixture of the slots' shares, in the proportions in
which its items fell into the slots.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from domain.errors import InvalidField

Counts = tuple[int, ...]
Items = tuple[tuple[int, int], ...]
"""(season slot, items of it), slots ascending."""


@dataclass(frozen=True, slots=True)
class Tally:
    """One feature in one block; `items` per season slot, empty without a season."""

    counts: Counts
    items: Items = ()


Block = Mapping[str, Tally]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seasonal:
    """The season slot of a window, and the counts per slot of every feature that has them."""

    slot: int
    references: Mapping[str, Sequence[Sequence[int]]] = field(default_factory=dict)
    """By feature: counts over its cells for each slot of the season."""

    def __post_init__(self) -> None:
        if self.slot < 0:
            raise InvalidField("Seasonal", "slot", ">= 0", self.slot)

    def tally(self, name: str, counts: Counts) -> Tally | None:
        """The window's counts with their slot; None where the reference saw nothing."""
        slots = self.references.get(name)
        if slots is None:
            return Tally(counts)
        return Tally(counts, ((self.slot, sum(counts)),)) if sum(slots[self.slot]) else None


def add(left: Block, right: Block) -> Block:
    """The sum of two blocks; a feature of one of them only stays as it is."""
    total = dict(left)
    for name, tally in right.items():
        total[name] = _sum(left[name], tally) if name in left else tally
    return total


def _sum(left: Tally, right: Tally) -> Tally:
    counts = tuple(a + b for a, b in zip(left.counts, right.counts, strict=True))
    if not (left.items or right.items):
        return Tally(counts)
    items = dict(left.items)
    for slot, n in right.items:
        items[slot] = items.get(slot, 0) + n
    return Tally(counts, tuple(sorted(items.items())))


def mixture(slots: Sequence[Sequence[int]], items: Items) -> tuple[float, ...]:
    """The reference histogram of a block with `items` per slot; of each slot there must be a reference.

    Shares are those of the slots weighted by items. Its total is n^2 / sum(n_s^2 / m_s), the sample size that
    gives a mixture of independent samples of m_s items this variance: one slot alone gives its own counts.
    """
    parts = [(slots[slot], sum(slots[slot]), n) for slot, n in items if n]
    if len(parts) == 1:
        return tuple(float(count) for count in parts[0][0])
    total = sum(n for _, _, n in parts)
    if not total:
        return (0.0,) * len(slots[0])
    effective = total * total / math.fsum(n * n / m for _, m, n in parts)
    return tuple(
        effective * math.fsum(n / total * (cells[cell] / m) for cells, m, n in parts)
        for cell in range(len(slots[0]))
    )
