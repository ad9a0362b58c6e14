"""Are the errors worse than the inputs explain? Then it is the relation that changed, not the inputs alone.

CBPE's expected error rate of a window moves with the inputs and not with P(y | x). Beside it, once the
outcomes are there, stands the rate that was realised over the same windows; what it has in excess, beyond
chance, the inputs do not explain.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from domain.plain import Json

MOST_WAITING = 2_048
"""Windows whose outcomes may be due at one time; with more, the oldest are compared with nothing."""
MOST_PAIRS = 64
"""Windows that a comparison looks back on at most."""
LEVEL = 0.001
"""Chance of calling a relation changed that did not, at one comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationState:
    """Expected error rates that wait for outcomes, and the latest windows that have both."""

    waiting: tuple[tuple[int, float], ...] = ()
    """(window start, expected error rate), in the order of the windows."""
    pairs: tuple[tuple[int, float, float], ...] = ()
    """(outcomes, errors among them, errors expected among them), oldest first."""
    horizon_s: int = 0
    """Longest horizon seen: estimates are kept until its outcomes are in."""

    def to_json(self) -> Json:
        return {
            "waiting": [list(one) for one in self.waiting],
            "pairs": [list(pair) for pair in self.pairs],
            "horizon_s": self.horizon_s,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "RelationState":
        return cls(
            waiting=tuple((start, rate) for start, rate in data["waiting"]),
            pairs=tuple((n, wrong, expected) for n, wrong, expected in data["pairs"]),
            horizon_s=data["horizon_s"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """Realised against expected errors over the same windows."""

    windows: int
    outcomes: int
    realised: float
    """Share of wrong answers."""
    explained: float
    """Share that the inputs explain, by CBPE."""
    p_value: float
    """One-sided: of an excess like this if they explained it all."""

    @property
    def changed(self) -> bool:
        return self.p_value < LEVEL

    def to_json(self) -> Json:
        return {
            "windows": self.windows,
            "outcomes": self.outcomes,
            "realised": self.realised,
            "explained": self.explained,
            "p_value": self.p_value,
            "changed": self.changed,
        }


def expect(state: RelationState, window_start_ms: int, error_rate: float) -> RelationState:
    """Note the expected error rate of a window whose outcomes are to come."""
    waiting = (*state.waiting, (window_start_ms, error_rate))[-MOST_WAITING:]
    return RelationState(waiting=waiting, pairs=state.pairs, horizon_s=state.horizon_s)


def realise(
    state: RelationState, window_start_ms: int, horizon_s: int, outcomes: int, error_rate: float
) -> RelationState:
    """Pair a window's realised error rate with the expected one; without that one nothing is paired."""
    expected = dict(state.waiting).get(window_start_ms)
    pairs = state.pairs
    if expected is not None and outcomes > 0:
        pairs = (*pairs, (outcomes, outcomes * error_rate, outcomes * expected))[-MOST_PAIRS:]
    longest = max(state.horizon_s, horizon_s)
    waiting = state.waiting
    if horizon_s == longest:
        waiting = tuple(one for one in waiting if one[0] > window_start_ms)
    return RelationState(waiting=waiting, pairs=pairs, horizon_s=longest)


def compare(
    state: RelationState, windows: int, phi: float = 1.0, reference_size: float = math.inf
) -> Relation | None:
    """Of the latest `windows` that have both rates; None if there are none.

    The realised errors are taken as binomial with overdispersion `phi` (which is more than their variance,
    as probabilities within a window differ), the explained ones as uncertain as the `reference_size`
    outcomes that the calibration was made of.
    """
    pairs = state.pairs[-windows:]
    n = sum(outcomes for outcomes, _, _ in pairs)
    if not n:
        return None
    wrong = math.fsum(errors for _, errors, _ in pairs)
    expected = math.fsum(errors for _, _, errors in pairs)
    rate = min(max(expected / n, 1 / (2 * n)), 1 - 1 / (2 * n))
    sd = math.sqrt(phi * n * rate * (1 - rate) * (1 + n / reference_size))
    return Relation(
        windows=len(pairs),
        outcomes=n,
        realised=wrong / n,
        explained=expected / n,
        p_value=math.erfc((wrong - expected) / sd / math.sqrt(2)) / 2,
    )
