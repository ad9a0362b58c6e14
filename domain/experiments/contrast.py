"""Treatment against control over closed batches: sums that add, and the statistic they give.

Each batch is a stratum. Comparing inside batches keeps a traffic ramp under a drifting base rate from
looking like an effect: pooling totals promotes noise in every run, this in half a percent.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from domain.experiments.moments import Moments
from domain.plain import Json, read, write

MATURE_BATCHES = 20
"""From here the between-batch variance is taken about the estimate: evidence is then monotone in the null."""


def student_factor(batches: int, alpha: float) -> float:
    """By how much a variance estimated from `batches` (two or more) must grow to count at alpha as if known.

    With v = batches - 1 degrees of freedom, Student's quantile is the normal one, z, times 1 + (z^2 + 1) / 4v
    and more (Cornish & Fisher); the square of that counts. A mixture reaches 1 / alpha where z^2 is about
    2 log(1/alpha) + 3, early and late.

    >>> [round(student_factor(*each), 3) for each in ((20, 0.05), (200, 0.05), (20, 0.0025))]
    [1.263, 1.025, 1.421]
    """
    return 1.0 + (math.log(1.0 / alpha) + 2.0) / (batches - 1)


@dataclass(frozen=True, slots=True)
class Statistic:
    """Sum statistic and variance process for one null hypothesis."""

    s: float
    v: float
    """The larger of the two below."""
    within: float
    """V, from the spread inside batches; blind to items that depend on each other."""
    between: float
    """Q, from the spread of batches; sees that dependence."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """Sums over batches k with weight w and difference of means d, for metric y and covariate x.

    W = sum w, S = sum w d, A = sum w^2, B = sum w^2 d, Q = sum (w d)^2 and products, V = sum of the variances
    of w d estimated inside the batch, C = sums of squares and products inside arm and batch.
    """

    batches: int = 0
    n1: int = 0
    n0: int = 0
    W: float = 0.0
    Sy: float = 0.0
    Sx: float = 0.0
    A: float = 0.0
    By: float = 0.0
    Bx: float = 0.0
    Qyy: float = 0.0
    Qxy: float = 0.0
    Qxx: float = 0.0
    Vyy: float = 0.0
    Vxy: float = 0.0
    Vxx: float = 0.0
    Cxy: float = 0.0
    Cxx: float = 0.0

    @classmethod
    def of_batch(cls, treatment: Moments, control: Moments, *, binary: bool = False) -> "Contrast":
        """One closed batch with w = n1 n0 / (n1 + n0); zero if an arm is empty.

        `binary` takes the variance of 0/1 values under equal rates (Mantel-Haenszel) instead of the pooled
        one, which is zero when a small arm saw no event. It does without the covariate.
        """
        n1, n0 = treatment.n, control.n
        if n1 == 0 or n0 == 0:
            return cls()
        w = n1 * n0 / (n1 + n0)
        dy = treatment.mean - control.mean
        if binary:
            hits, n = treatment.mean * n1 + control.mean * n0, n1 + n0
            variance = n1 * n0 * hits * (n - hits) / (n * n * max(n - 1, 1))
            return cls._stratum(n1=n1, n0=n0, w=w, dy=dy, V=(variance, 0.0, 0.0))
        share = w / (n1 + n0 - 2) if n1 + n0 > 2 else 0.0
        Vyy = share * (treatment.M2 + control.M2)
        if not (treatment.with_x and control.with_x):
            return cls._stratum(n1=n1, n0=n0, w=w, dy=dy, V=(Vyy, 0.0, 0.0))
        dx = treatment.mean_x - control.mean_x
        Cxy, Cxx = treatment.Cxy + control.Cxy, treatment.M2_x + control.M2_x
        V = (Vyy, share * Cxy, share * Cxx)
        return cls._stratum(n1=n1, n0=n0, w=w, dy=dy, dx=dx, V=V, C=(Cxy, Cxx))

    @classmethod
    def of_pairs(cls, differences: Moments) -> "Contrast":
        """One closed batch of paired differences, treatment minus control: w = n, d = their mean."""
        n = differences.n
        if n < 2:
            return cls()
        variance = n * differences.M2 / (n - 1)
        return cls._stratum(n1=n, n0=n, w=float(n), dy=differences.mean, V=(variance, 0.0, 0.0))

    @classmethod
    def _stratum(
        cls,
        *,
        n1: int,
        n0: int,
        w: float,
        dy: float,
        V: tuple[float, float, float],
        dx: float = 0.0,
        C: tuple[float, float] = (0.0, 0.0),
    ) -> "Contrast":
        sy, sx = w * dy, w * dx
        return cls(
            batches=1,
            n1=n1,
            n0=n0,
            W=w,
            Sy=sy,
            Sx=sx,
            A=w * w,
            By=w * sy,
            Bx=w * sx,
            Qyy=sy * sy,
            Qxy=sy * sx,
            Qxx=sx * sx,
            Vyy=V[0],
            Vxy=V[1],
            Vxx=V[2],
            Cxy=C[0],
            Cxx=C[1],
        )

    def __add__(self, other: "Contrast") -> "Contrast":
        return Contrast(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def theta(self) -> float:
        """CUPED coefficient, pooled inside arm and batch; zero without a covariate.

        Also zero where floats cannot carry the adjustment (a covariate of magnitude 1e-160): without it the
        comparison is valid, only less sharp.
        """
        theta = self.Cxy / self.Cxx if self.Cxx > 0 else 0.0
        return theta if all(math.isfinite(value) for value in self._adjusted(theta)) else 0.0

    def _adjusted(self, theta: float) -> tuple[float, float, float, float]:
        """S, Q, B and V of the metric minus theta times the covariate."""
        return (
            self.Sy - theta * self.Sx,
            self.Qyy - 2 * theta * self.Qxy + theta * theta * self.Qxx,
            self.By - theta * self.Bx,
            self.Vyy - 2 * theta * self.Vxy + theta * theta * self.Vxx,
        )

    @property
    def estimate(self) -> float:
        """Effect in units of the metric: treatment minus control, adjusted for x. NaN without batches."""
        return (self.Sy - self.theta * self.Sx) / self.W if self.W else math.nan

    def statistic(self, null: float = 0.0, student_alpha: float | None = None) -> Statistic:
        """For the hypothesis "effect = null".

        With few batches Q is taken about the null: exact under symmetry, so safe from the first batch on.
        Later it is an estimate from as many numbers as there are batches: `student_alpha` is the level at
        which that counts (`student_factor`), None takes it as known.
        """
        s, q2, q1, within = self._adjusted(self.theta)
        if self.batches >= MATURE_BATCHES:
            e = s / self.W
            between = (q2 - 2 * e * q1 + e * e * self.A) * self.batches / (self.batches - 1)
            if student_alpha is not None:
                between *= student_factor(self.batches, student_alpha)
        else:
            between = q2 - 2 * null * q1 + null * null * self.A
        # rounding may leave a variance of identical values a little below zero
        return Statistic(s - null * self.W, max(within, between, 0.0), within, between)

    def to_json(self) -> Json:
        return write(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Contrast":
        return read(cls, data)
