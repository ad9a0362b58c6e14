"""How far a partition is, and from where its state can be rebuilt."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """Low water and closed rectangle of one partition, all from one moment of one fold.

    Fold again from `predictions_offset` and `outcomes_offset`, with `newest` as it stood just before them,
    and the state is back. Written are: every input row of a window that ends at or before
    `inputs_through_ms`; every score row of such a window whose cutoff is at or before `outcomes_through_ms`;
    every arrival row of a window that ends at or before its side's `*_arrivals_through_ms`.
    """

    partition: int
    predictions_offset: int
    predictions_newest_ms: int
    outcomes_offset: int
    outcomes_newest_ms: int
    inputs_through_ms: int
    outcomes_through_ms: int
    prediction_arrivals_through_ms: int
    outcome_arrivals_through_ms: int

    @classmethod
    def start(cls, partition: int) -> "Progress":
        """Nothing read yet. Time begins at the epoch: no valid record has a negative timestamp."""
        return cls(partition, 0, 0, 0, 0, 0, 0, 0, 0)


def dominates(new: Progress, old: Progress) -> bool:
    """Whether `new` may replace `old`: its rectangle covers the old one on both sides.

    Two independent maxima would claim windows that nobody closed. The arrivals follow from the rectangle but
    for the first moments after the epoch, when both rectangles are empty.
    """
    return (
        new.inputs_through_ms >= old.inputs_through_ms
        and new.outcomes_through_ms >= old.outcomes_through_ms
        and new.prediction_arrivals_through_ms >= old.prediction_arrivals_through_ms
        and new.outcome_arrivals_through_ms >= old.outcome_arrivals_through_ms
    )
