"""CBPE: how good is a classifier expected to be, before any outcome has arrived?

Confidence-based performance estimation: each calibrated probability is itself the chance that the label is 1,
so four sums per window give the expected confusion matrix. It is an estimate, and blind to changes of P(y |
x): when the relation between features and outcome drifts, calibration drifts with it and the estimate stays
as it was.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedConfusion:
    """n1 answers of the positive class with summed probability s1, n0 of the negative class with s0."""

    n1: int = 0
    s1: float = 0.0
    n0: int = 0
    s0: float = 0.0

    @property
    def n(self) -> int:
        return self.n1 + self.n0

    @property
    def tp(self) -> float:
        return self.s1

    @property
    def fp(self) -> float:
        return self.n1 - self.s1

    @property
    def fn(self) -> float:
        return self.s0

    @property
    def tn(self) -> float:
        return self.n0 - self.s0

    @property
    def accuracy(self) -> float | None:
        """Expected share of right answers; None without any answer."""
        return _ratio(self.tp + self.tn, self.n)

    @property
    def error_rate(self) -> float | None:
        """Expected share of wrong answers; None without any answer."""
        return _ratio(self.fp + self.fn, self.n)

    @property
    def precision(self) -> float | None:
        """None without a positive answer."""
        return _ratio(self.tp, self.n1)

    @property
    def recall(self) -> float | None:
        """None if no label is expected to be positive."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float | None:
        """None without a positive answer or an expected positive label."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    def to_json(self) -> dict[str, float]:
        return {"n1": self.n1, "s1": self.s1, "n0": self.n0, "s0": self.s0}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ExpectedConfusion":
        return cls(n1=data["n1"], s1=data["s1"], n0=data["n0"], s0=data["s0"])


def expected(probabilities: Iterable[float], threshold: float = 0.5) -> ExpectedConfusion:
    """Of calibrated probabilities, where one of at least `threshold` answers with the positive class."""
    values = list(probabilities)
    positive = [p for p in values if p >= threshold]
    negative = [p for p in values if p < threshold]
    return ExpectedConfusion(
        n1=len(positive), s1=math.fsum(positive), n0=len(negative), s0=math.fsum(negative)
    )


def merge(parts: Iterable[ExpectedConfusion]) -> ExpectedConfusion:
    """Of all the parts' answers together; order does not matter.

    >>> merge([ExpectedConfusion(n1=2, s1=1.5), ExpectedConfusion(n1=1, s1=0.5, n0=1, s0=0.25)]).accuracy
    0.6875
    """
    parts = list(parts)
    return ExpectedConfusion(
        n1=sum(part.n1 for part in parts),
        s1=math.fsum(part.s1 for part in parts),
        n0=sum(part.n0 for part in parts),
        s0=math.fsum(part.s0 for part in parts),
    )


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None
