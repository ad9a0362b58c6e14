"""Count, mean and centred second moments: exact enough to be equal everywhere, small enough to merge.

Sums are `math.fsum` (correctly rounded), so neither order nor batch nor CPU changes a bit. Merging follows
Chan, Golub and LeVeque (1979), and Pebay (2008) for the co-moment; tallies merge in partition order.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LARGEST = 1e100
"""Values beyond it are not measured: their squares, and sums of those, would stop being finite."""


@dataclass(frozen=True, slots=True)
class Covariate:
    """Centred moments of a covariate x beside the values y."""

    mean_x: float
    M2_x: float
    Cxy: float


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, mean and sum of squared deviations; with `covariate` when every value had one."""

    n: int
    mean: float
    M2: float
    covariate: Covariate | None = None

    def to_json(self) -> dict[str, float]:
        body: dict[str, float] = {"n": self.n, "mean": self.mean, "M2": self.M2}
        if self.covariate is not None:
            x = self.covariate
            body |= {"mean_x": x.mean_x, "M2_x": x.M2_x, "Cxy": x.Cxy}
        return body

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Moments":
        x = Covariate(body["mean_x"], body["M2_x"], body["Cxy"]) if "Cxy" in body else None
        return cls(body["n"], body["mean"], body["M2"], x)


def of(values: Sequence[float] | Floats, covariates: Sequence[float] | Floats | None = None) -> Moments:
    """Moments of `values` (not empty, within LARGEST), with those of as many `covariates` if given."""
    y = np.asarray(values, dtype=np.float64)
    mean, deviation = _centred(y)
    m2 = math.fsum((deviation * deviation).tolist())
    if covariates is None:
        return Moments(len(y), mean, m2)
    mean_x, deviation_x = _centred(np.asarray(covariates, dtype=np.float64))
    m2_x = math.fsum((deviation_x * deviation_x).tolist())
    # adding 0.0 turns -0.0, which JSON would keep apart, into 0.0
    cxy = math.fsum((deviation_x * deviation).tolist()) + 0.0
    return Moments(len(y), mean, m2, Covariate(mean_x, m2_x, cxy))


def _centred(values: Floats) -> tuple[float, Floats]:
    mean = math.fsum(values.tolist()) / len(values) + 0.0
    return mean, values - mean


def merge(a: Moments, b: Moments) -> Moments:
    """Moments of both samples together. Deterministic, not associative to the last bit: keep the order."""
    if not a.n or not b.n:
        return a if a.n else b
    n = a.n + b.n
    d = b.mean - a.mean
    mean = a.mean + d * b.n / n
    m2 = a.M2 + b.M2 + d * d * a.n * b.n / n
    return Moments(n, mean, m2, _merge_covariates(a, b, d, n))


def _merge_covariates(a: Moments, b: Moments, d: float, n: int) -> Covariate | None:
    # one side without covariates leaves nothing to adjust by: half a sample's Cxy would be of another mean
    if a.covariate is None or b.covariate is None:
        return None
    x, y = a.covariate, b.covariate
    dx = y.mean_x - x.mean_x
    return Covariate(
        x.mean_x + dx * b.n / n,
        x.M2_x + y.M2_x + dx * dx * a.n * b.n / n,
        x.Cxy + y.Cxy + dx * d * a.n * b.n / n,
    )


def merge_all(parts: Iterable[Moments]) -> Moments:
    """Merge from left to right; no parts give n = 0."""
    total = Moments(0, 0.0, 0.0)
    for part in parts:
        total = merge(total, part)
    return total
