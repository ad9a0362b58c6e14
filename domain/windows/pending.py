"""What a fold has read and not emitted yet, for the conservation law and for metrics."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pending:
    """Records read since the arrival rows that were emitted end. Emitted rows + pending = everything read.

    `predictions` has the names of a prediction arrival row. `outcomes` has read, open (fate not decided),
    late, invalid and heartbeat. `open_predictions` counts tallied predictions whose input row is not emitted.
    """

    predictions: Mapping[str, int]
    outcomes: Mapping[str, int]
    open_predictions: int


@dataclass(frozen=True, slots=True)
class OpenState:
    """Sizes of what a fold holds in memory."""

    open_windows: int
    open_predictions: int
    closed_windows: int
    outcomes: int
