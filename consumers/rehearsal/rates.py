"""What many rehearsals say: rates with exact bounds, and how long a verdict takes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import betaincinv

from consumers.rehearsal.play import UNDECIDED, Ended

CONFIDENCE = 0.95
"""Of each bound alone."""


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` of `runs`, with a lower and an upper bound (Clopper & Pearson 1934), each at level 95 %.

    >>> rate = Rate(0, 60)
    >>> rate.lower, round(rate.upper, 5)
    (0.0, 0.0487)
    """

    count: int
    runs: int

    @property
    def share(self) -> float:
        return self.count / self.runs

    @property
    def lower(self) -> float:
        k, n = self.count, self.runs
        return float(betaincinv(k, n - k + 1, 1 - CONFIDENCE)) if k else 0.0

    @property
    def upper(self) -> float:
        k, n = self.count, self.runs
        return float(betaincinv(k + 1, n - k, CONFIDENCE)) if k < n else 1.0


def runs_needed(alpha: float) -> int:
    """With fewer runs not even none at all would show that a rate is at most `alpha`.

    >>> runs_needed(0.05)
    59
    """
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(1 - alpha))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Mean and quartiles."""

    mean: float
    lower: float
    median: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        """None of no values."""
        if not values:
            return None
        ordered = sorted(values)

        def at(part: float) -> float:
            place = part * (len(ordered) - 1)
            low = math.floor(place)
            high = min(low + 1, len(ordered) - 1)
            return ordered[low] + (place - low) * (ordered[high] - ordered[low])

        return cls(mean=math.fsum(ordered) / len(ordered), lower=at(0.25), median=at(0.5), upper=at(0.75))


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Of all runs under one effect. Times are of all runs; those that had no verdict count as long as they
    were rehearsed, so the mean is then too short."""

    runs: int
    promoted: Rate
    rolled_back: Rate
    inconclusive: Rate
    undecided: Rate
    invalid: Rate
    """Runs in which a ratio check raised an alarm."""
    lasted_ms: Spread
    outcomes: Spread

    @classmethod
    def of(cls, ended: Sequence[Ended]) -> "Summary":
        """Of at least one."""
        kinds = [each.kind for each in ended]
        lasted = Spread.of([float(each.lasted_ms) for each in ended])
        outcomes = Spread.of([float(each.outcomes) for each in ended])
        if lasted is None or outcomes is None:
            raise ValueError("nothing was rehearsed")
        runs = len(ended)
        return cls(
            runs=runs,
            promoted=Rate(kinds.count("PROMOTE"), runs),
            rolled_back=Rate(kinds.count("ROLL_BACK"), runs),
            inconclusive=Rate(kinds.count("INCONCLUSIVE"), runs),
            undecided=Rate(kinds.count(UNDECIDED), runs),
            invalid=Rate(sum(each.invalid for each in ended), runs),
            lasted_ms=lasted,
            outcomes=outcomes,
        )
