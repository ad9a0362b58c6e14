"""Moments of a metric in one arm, mergeable by addition (Chan, Golub & LeVeque 1979; Pébay 2008)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from domain.plain import Json


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, mean and sum of squared deviations; with a covariate x fixed before the variant acted.

    `with_x` is False when any of the values had no covariate: then the x fields mean nothing and are zero.
    """

    n: int = 0
    mean: float = 0.0
    M2: float = 0.0
    with_x: bool = False
    mean_x: float = 0.0
    M2_x: float = 0.0
    Cxy: float = 0.0

    def __add__(self, other: "Moments") -> "Moments":
        if self.n == 0 or other.n == 0:
            return other if self.n == 0 else self
        n = self.n + other.n
        pull, both = other.n / n, self.n * other.n / n
        gap = other.mean - self.mean
        mean, M2 = self.mean + gap * pull, self.M2 + other.M2 + gap * gap * both
        if not (self.with_x and other.with_x):
            return Moments(n, mean, M2)
        gap_x = other.mean_x - self.mean_x
        return Moments(
            n,
            mean,
            M2,
            True,
            self.mean_x + gap_x * pull,
            self.M2_x + other.M2_x + gap_x * gap_x * both,
            self.Cxy + other.Cxy + gap * gap_x * both,
        )

    @classmethod
    def of_body(cls, body: Mapping[str, Any]) -> "Moments":
        """From a score row: n, mean, M2 and, with a covariate, mean_x, M2_x, Cxy."""
        plain = (int(body["n"]), float(body["mean"]), float(body["M2"]))
        if "Cxy" not in body:
            return cls(*plain)
        return cls(*plain, True, float(body["mean_x"]), float(body["M2_x"]), float(body["Cxy"]))

    def to_json(self) -> Json:
        body: Json = {"n": self.n, "mean": self.mean, "M2": self.M2}
        if self.with_x:
            body |= {"mean_x": self.mean_x, "M2_x": self.M2_x, "Cxy": self.Cxy}
        return body
