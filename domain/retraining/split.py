"""History in, train and holdout out: by time alone, so that the same history always splits the same way."""

from collections.abc import Sequence
from dataclasses import dataclass

from domain.errors import DomainError
from domain.retraining.history import LabelledRow


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPolicy:
    history_ms: int
    """How far back of `as_of` a prediction may lie."""
    holdout_rows: int
    """The newest rows, never trained on."""
    min_rows: int
    """Fewest rows to train on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    train: tuple[LabelledRow, ...]
    holdout: tuple[LabelledRow, ...]
    purged: int
    """Rows left out because their outcome was not due before the first holdout prediction."""


class TooLittleHistory(DomainError):
    """There are too few joined rows to train and to hold out."""

    def __init__(self, found: int, needed: int) -> None:
        super().__init__(f"{found} joined rows, {needed} needed to train and hold out")
        self.found = found
        self.needed = needed


def split(rows: Sequence[LabelledRow], policy: SplitPolicy, as_of_ms: int) -> Split:
    """The newest `holdout_rows` of the history before `as_of_ms` are held out, the rest is trained on.

    A row whose outcome was due only after the first holdout prediction is purged: a model in use at that
    moment could not have learned from it (Lopez de Prado, "Advances in Financial Machine Learning", 2018,
    chapter 7).
    Raises TooLittleHistory when either part would be too small.
    """
    start = as_of_ms - policy.history_ms
    recent = sorted(
        (row for row in rows if start <= row.occurred_at_ms < as_of_ms),
        key=lambda row: (row.occurred_at_ms, row.prediction_id),
    )
    needed = policy.min_rows + policy.holdout_rows
    if len(recent) < needed:
        raise TooLittleHistory(len(recent), needed)
    before, holdout = recent[: -policy.holdout_rows], recent[-policy.holdout_rows :]
    known_by = holdout[0].occurred_at_ms
    train = [row for row in before if row.occurred_at_ms + row.horizon_s * 1000 <= known_by]
    if len(train) < policy.min_rows:
        raise TooLittleHistory(len(train) + len(holdout), needed)
    return Split(train=tuple(train), holdout=tuple(holdout), purged=len(before) - len(train))
