"""The tests of `domain.experiments` over many runs and looks at once.

The product folds one batch at a time in Python; a table needs a million looks for each cell. These are the
same formulas on arrays [run, look]; tests/simulation holds them to the product's own code.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, betaln, log_ndtr, ndtr

from domain.experiments.contrast import MATURE_BATCHES, student_factor
from domain.experiments.evidence import rho_one_sided
from domain.experiments.mantel_haenszel import log_likelihood_ratios
from domain.experiments.state import TUNING_BATCHES

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
ALPHA = 0.05
N_STAR = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """Moments of both arms, [run, look]; counts may be [look]. With a covariate all x fields are given."""

    n1: Ints
    n0: Ints
    mean1: Floats
    mean0: Floats
    M2_1: Floats
    M2_0: Floats
    binary: bool = False
    mean_x1: Floats | None = None
    mean_x0: Floats | None = None
    Cxx: Floats | None = None
    Cxy: Floats | None = None

    @property
    def outcomes(self) -> Ints:
        """So far, [run, look] or [look]."""
        return np.cumsum(self.n1 + self.n0, axis=-1)

    @classmethod
    def of_values(cls, treatment: Floats, control: Floats) -> "Batches":
        """From [run, look, record]."""
        one, zero = _moments(treatment), _moments(control)
        looks = treatment.shape[1]
        return cls(
            n1=np.full(looks, treatment.shape[2]),
            n0=np.full(looks, control.shape[2]),
            mean1=one[0],
            mean0=zero[0],
            M2_1=one[1],
            M2_0=zero[1],
        )

    @classmethod
    def of_hits(cls, hits1: Ints, hits0: Ints, n1: Ints, n0: Ints) -> "Batches":
        """From counts of ones, [run, look]."""
        mean1, mean0 = hits1 / n1, hits0 / n0
        M2_1, M2_0 = n1 * mean1 * (1 - mean1), n0 * mean0 * (1 - mean0)
        return cls(n1=n1, n0=n0, mean1=mean1, mean0=mean0, M2_1=M2_1, M2_0=M2_0, binary=True)


def _moments(values: Floats) -> tuple[Floats, Floats]:
    mean = values.mean(axis=2)
    return mean, ((values - mean[:, :, None]) ** 2).sum(axis=2)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Log e-values [run, look] that the treatment is higher and that it is lower."""

    up: Floats
    down: Floats

    def smaller(self, other: "Evidence") -> "Evidence":
        """Look by look: valid if either is."""
        return Evidence(np.minimum(self.up, other.up), np.minimum(self.down, other.down))


@dataclass(frozen=True, slots=True)
class Sums:
    """Of a contrast at every look: the statistic, its weight and both variances; the one about the estimate
    is for tuning."""

    S: Floats
    W: Floats
    V: Floats
    Q: Floats
    about_estimate: Floats


def sums_of(batches: Batches, alpha: float = ALPHA) -> Sums:
    """A1's sums for the null hypothesis of no effect, as they count at level alpha."""
    n1, n0 = np.broadcast_arrays(batches.n1, batches.n0)
    n = n1 + n0
    w = n1 * n0 / n
    if batches.binary:
        hits = batches.mean1 * n1 + batches.mean0 * n0
        within = n1 * n0 * hits * (n - hits) / (n * n * np.maximum(n - 1, 1))
    else:
        within = w * (batches.M2_1 + batches.M2_0) / (n - 2)
    y = w * (batches.mean1 - batches.mean0)
    W, A = np.cumsum(w, axis=-1), np.cumsum(w * w, axis=-1)
    S, Q2, B, V = (np.cumsum(each, axis=1) for each in (y, y * y, w * y, within))
    if batches.Cxy is not None and batches.Cxx is not None:
        assert batches.mean_x1 is not None
        assert batches.mean_x0 is not None
        x = w * (batches.mean_x1 - batches.mean_x0)
        share = w / (n - 2)
        theta = np.cumsum(batches.Cxy, axis=1) / np.cumsum(batches.Cxx, axis=1)
        S = S - theta * np.cumsum(x, axis=1)
        Q2 = Q2 - 2 * theta * np.cumsum(x * y, axis=1) + theta**2 * np.cumsum(x * x, axis=1)
        B = B - theta * np.cumsum(w * x, axis=1)
        V = V - 2 * theta * np.cumsum(share * batches.Cxy, axis=1)
        V = V + theta**2 * np.cumsum(share * batches.Cxx, axis=1)
    estimate = S / W
    about_estimate = Q2 - 2 * estimate * B + estimate**2 * A
    return Sums(S, W, V, _between(Q2, about_estimate, alpha), about_estimate)


def _between(about_null: Floats, about_estimate: Floats, alpha: float) -> Floats:
    """The variance between batches as it counts at every look."""
    looks = about_null.shape[1]
    factor = np.array([k / (k - 1) * student_factor(k, alpha) for k in range(2, looks + 1)])
    late = about_estimate * np.concatenate([[1.0], factor])
    return np.where(np.arange(1, looks + 1) < MATURE_BATCHES, about_null, late)


def by_contrast(batches: Batches, n_star: int = N_STAR, alpha: float = ALPHA) -> Evidence:
    """A1. No evidence before rho is frozen."""
    sums, at = sums_of(batches, alpha), TUNING_BATCHES - 1
    outcomes = np.broadcast_to(batches.outcomes, sums.S.shape)[:, at]
    tuned = np.maximum(sums.V[:, at], sums.about_estimate[:, at]) / outcomes
    return _mixture(sums.S, np.maximum(np.maximum(sums.V, sums.Q), 0.0), tuned * n_star, alpha)


def _mixture(s: Floats, v: Floats, v_opt: Floats, alpha: float) -> Evidence:
    """One-sided normal mixtures; `v_opt` [run]. Nothing where it is not positive or before it is frozen."""
    rho = np.where(v_opt > 0, v_opt, 1.0)[:, None] * rho_one_sided(1.0, alpha)
    common = 0.5 * np.log(4 * rho / (v + rho)) + s * s / (2 * (v + rho))
    z = s / np.sqrt(v + rho)
    blank = np.broadcast_to((v_opt <= 0)[:, None], s.shape).copy()
    blank[:, : TUNING_BATCHES - 1] = True
    up, down = common + log_ndtr(z), common + log_ndtr(-z)
    return Evidence(np.where(blank, -np.inf, up), np.where(blank, -np.inf, down))


class ExactOdds:
    """A2: remembers the normalising sums of the tables that it met."""

    def __init__(self, grid: Sequence[float]) -> None:
        self.grid = np.array(grid)
        self._sums: dict[tuple[int, int, int], Floats] = {}

    def __call__(self, hits1: Ints, hits0: Ints, n1: Ints, n0: Ints) -> Evidence:
        n1, n0 = np.broadcast_to(n1, hits1.shape), np.broadcast_to(n0, hits1.shape)
        tables = np.stack([n1, n0, hits1 + hits0], axis=-1).reshape(-1, 3)
        kinds, which = np.unique(tables, axis=0, return_inverse=True)
        norms = np.array([self._norm(int(a), int(b), int(s)) for a, b, s in kinds])
        ratios = hits1[:, :, None] * self.grid - norms[which.reshape(-1)].reshape(*hits1.shape, -1)
        sums = np.cumsum(ratios, axis=1)
        return Evidence(_log_mean(sums[:, :, self.grid > 0]), _log_mean(sums[:, :, self.grid < 0]))

    def _norm(self, n1: int, n0: int, events: int) -> Floats:
        key = (n1, n0, events)
        if key not in self._sums:
            hits = max(0, events - n0)
            self._sums[key] = hits * self.grid - log_likelihood_ratios(
                hits, n1, n0, events, self.grid.tolist()
            )
        return self._sums[key]


def _log_mean(logs: Floats) -> Floats:
    largest = logs.max(axis=2)
    total: Floats = largest + np.log(np.exp(logs - largest[:, :, None]).mean(axis=2))
    return total


def by_pairs(n: int, mean: Floats, M2: Floats, n_star: int = N_STAR, alpha: float = ALPHA) -> Evidence:
    """A4, the paired contrast: batches of n differences with `mean` and `M2` [run, look]."""
    y = n * mean
    k = np.arange(1, y.shape[1] + 1)
    W, A = n * k, n * n * k
    S, Q2, B, V = (np.cumsum(each, axis=1) for each in (y, y * y, n * y, n * M2 / (n - 1)))
    estimate = S / W
    about_estimate = Q2 - 2 * estimate * B + estimate**2 * A
    v = np.maximum(V, _between(Q2, about_estimate, alpha))
    at = TUNING_BATCHES - 1
    tuned = np.maximum(V[:, at], about_estimate[:, at]) / (n * TUNING_BATCHES)
    return _mixture(S, np.maximum(v, 0.0), tuned * n_star, alpha)


def by_mcnemar(b: Ints, c: Ints) -> Evidence:
    """A4, hits: cumulative discordant counts [run, look]."""

    def log_e(won: Ints, lost: Ints) -> Floats:
        with np.errstate(divide="ignore"):
            tail = np.log(2 * betainc(1.0 + lost, 1.0 + won, 0.5))
        mixture: Floats = betaln(1.0 + won, 1.0 + lost) + (won + lost) * math.log(2) + tail
        return mixture

    return Evidence(log_e(b, c), log_e(c, b))


def naive(mean1: Floats, mean0: Floats, variance: Floats) -> Evidence:
    """The control: a z-test at every look as if it were the only one; log(1 / p)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.nan_to_num((mean1 - mean0) / np.sqrt(variance))
        return Evidence(-np.log(ndtr(-z)), -np.log(ndtr(z)))


def naive_of(batches: Batches) -> Evidence:
    """Of totals, pooled over batches, events as if independent."""
    n1, n0 = (np.cumsum(np.broadcast_to(n, batches.mean1.shape), axis=1) for n in (batches.n1, batches.n0))
    arms = []
    for n, part, mean, M2 in (
        (n1, batches.n1, batches.mean1, batches.M2_1),
        (n0, batches.n0, batches.mean0, batches.M2_0),
    ):
        total = np.cumsum(part * mean, axis=1) / n
        squares = np.cumsum(M2 + part * mean * mean, axis=1) / n - total * total
        arms.append((total, squares / n))
    return naive(arms[0][0], arms[1][0], arms[0][1] + arms[1][1])
