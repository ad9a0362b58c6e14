"""Made-up experiments, many runs at once: what a cell of a table draws, and every test's evidence on it.

Unless a cell says otherwise: batches of 100 outcomes, half in each arm, 50,000 outcomes, a look after every
batch. A shift is in units of the metric.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from bench.simulation.evidence import (
    ALPHA,
    N_STAR,
    Batches,
    Evidence,
    ExactOdds,
    Floats,
    Ints,
    by_contrast,
    by_mcnemar,
    by_pairs,
    naive,
    naive_of,
    sums_of,
)
from bench.simulation.units import by_information, by_units
from domain.experiments.mantel_haenszel import designed_grid
from domain.windows.units import BUCKETS

HORIZON = 50_000
BATCH = 100
LOOKS = HORIZON // BATCH
Generator = np.random.Generator
FIXED = 20_000
"""Outcomes at which the test of fixed size has power 0.8: this defines the effects of the power tables."""
_Z = 1.6448536269514722 + 0.8416212335729143
MDE = _Z * 2 / math.sqrt(FIXED)
"""In standard deviations."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the tests saw in some runs; `product` among them is what the judge goes by."""

    tests: Mapping[str, Evidence]
    outcomes: Ints
    """At each look."""


Draw = Callable[[Generator, int], Seen]


def _of_batches(batches: Batches) -> Seen:
    outcomes = np.broadcast_to(batches.outcomes, batches.mean1.shape)[0]
    return Seen({"product": by_contrast(batches), "naive": naive_of(batches)}, outcomes)


# ---------------------------------------------------------------- means


def means(
    values: Callable[[Generator, tuple[int, ...]], Floats], share: float = 0.5, sd1: float = 1.0
) -> Draw:
    """Independent values of any law."""

    def draw(source: Generator, runs: int) -> Seen:
        n1 = round(BATCH * share)
        one, zero = values(source, (runs, LOOKS, n1)), values(source, (runs, LOOKS, BATCH - n1))
        return _of_batches(Batches.of_values(sd1 * one, zero))

    return draw


def student(df: float) -> Callable[[Generator, tuple[int, ...]], Floats]:
    return lambda source, shape: source.standard_t(df, shape)


def lognormal(sigma: float) -> Callable[[Generator, tuple[int, ...]], Floats]:
    return lambda source, shape: source.lognormal(0.0, sigma, shape)


def jumps(source: Generator, shape: tuple[int, ...]) -> Floats:
    """Profit and loss: one value in a hundred is a loss of ten standard deviations, more or less."""
    values = source.standard_normal(shape)
    values[source.random(shape) < 0.01] -= 10.0
    return values


def normal(
    gain: float = 0.0, shock: float = 0.0, correlation: float = 0.0, drift: float = 0.0, ramp: bool = False
) -> Draw:
    """Normal values by their sufficient statistics. `shock` is the sd of a batch's common level, `drift` how
    far the level rises over the horizon, `correlation` that of a covariate."""

    def draw(source: Generator, runs: int) -> Seen:
        n1 = _ramped(LOOKS) if ramp else np.full(LOOKS, BATCH // 2)
        n0 = (2 * BATCH if ramp else BATCH) - n1
        looks = len(n1)
        level = shock * source.standard_normal((runs, looks)) + drift * np.linspace(0, 1, looks)
        parts = [_normal_moments(source, runs, n, correlation) for n in (n1, n0)]
        batches = Batches(
            n1=n1,
            n0=n0,
            mean1=level + gain + parts[0][0],
            mean0=level + parts[1][0],
            M2_1=parts[0][1],
            M2_0=parts[1][1],
        )
        if correlation:
            one, zero = parts
            batches = replace(
                batches, mean_x1=one[2], mean_x0=zero[2], Cxx=one[3] + zero[3], Cxy=one[4] + zero[4]
            )
        return _of_batches(batches)

    return draw


def _normal_moments(source: Generator, runs: int, n: Ints, correlation: float) -> tuple[Floats, ...]:
    """Means of y, M2 of y, mean of x, M2 of x and Cxy of n values, by Bartlett's decomposition."""
    shape = (runs, len(n))
    own = math.sqrt(1 - correlation**2)
    x, e = (source.standard_normal(shape) / np.sqrt(n) for _ in range(2))
    xx, ee = source.chisquare(n - 1, shape), source.chisquare(np.maximum(n - 2, 1), shape)
    xe = source.standard_normal(shape) * np.sqrt(xx)
    ee = ee + xe * xe / xx
    M2 = correlation**2 * xx + 2 * correlation * own * xe + own**2 * ee
    return correlation * x + own * e, M2, x, xx, correlation * xx + own * xe


def _ramped(looks: int) -> Ints:
    """Of 200 outcomes in each of half as many batches: 5, 10, 25, 50, 75 % in the treatment."""
    return np.repeat(np.array([10, 20, 50, 100, 150]), looks // 10)


# ---------------------------------------------------------------- proportions


def hits(rate: float, gain: float = 0.0, share: float = 0.5, ramp_to: float | None = None) -> Draw:
    """Independent hits. With `ramp_to` the rate drifts there while the treatment's share is ramped."""
    change = abs(gain) or _Z * 2 * math.sqrt(rate * (1 - rate)) / math.sqrt(FIXED)
    exact = ExactOdds(designed_grid(rate, change))

    def draw(source: Generator, runs: int) -> Seen:
        if ramp_to is None:
            n1 = np.full(LOOKS, round(BATCH * share))
            n0, level = BATCH - n1, np.full(LOOKS, rate)
        else:
            n1 = _ramped(LOOKS)
            n0, level = 2 * BATCH - n1, np.linspace(rate, ramp_to, len(n1))
        shape = (runs, len(n1))
        one, zero = source.binomial(n1, level + gain, shape), source.binomial(n0, level, shape)
        return _of_hits(exact, one, zero, n1, n0)

    return draw


def _of_hits(exact: ExactOdds, one: Ints, zero: Ints, n1: Ints, n0: Ints) -> Seen:
    batches = Batches.of_hits(one, zero, n1, n0)
    contrast, odds = by_contrast(batches), exact(one, zero, n1, n0)
    tests = {"exact": odds, "contrast": contrast, "product": contrast.smaller(odds)}
    outcomes = np.cumsum(np.broadcast_to(n1 + n0, one.shape)[0])
    return Seen(tests | {"naive": naive_of(batches)}, outcomes)


# ---------------------------------------------------------------- outcomes that overlap


def _paths(source: Generator, runs: int, count: int, overlap: int) -> Floats:
    """Moving averages of `overlap` steps with variance 1."""
    noise = source.standard_normal((runs, count + overlap))
    sums = np.cumsum(noise, axis=1)
    path: Floats = (sums[:, overlap:] - sums[:, :-overlap]) / math.sqrt(overlap)
    return path


def batch_of(overlap: int) -> int:
    """The blind rule: a batch lasts at least five label horizons."""
    return max(BATCH, 5 * overlap)


def overlapping(overlap: int, kind: str, alpha: float = ALPHA) -> Draw:
    """Both models have a path of their own; every outcome covers `overlap` events. Events are split at random
    (`mean`, `hit`), or both models answer (`paired mean`, `paired hit`, which may be judged at `alpha`)."""
    exact = ExactOdds(designed_grid(0.5, MDE / 2))

    def draw(source: Generator, runs: int) -> Seen:
        batch = batch_of(overlap)
        looks = HORIZON // batch
        shape = (runs, looks, batch)
        ours, theirs = (_paths(source, runs, looks * batch, overlap).reshape(shape) for _ in range(2))
        outcomes = batch * np.arange(1, looks + 1)
        if kind.endswith("hit"):
            ours, theirs = (ours > 0).astype(float), (theirs > 0).astype(float)
        if kind.startswith("paired"):
            return _of_pairs(ours - theirs, outcomes, hit=kind.endswith("hit"), alpha=alpha)
        treated = source.random(shape) < 0.5
        n1 = treated.sum(axis=2)
        one, zero = (treated * ours).sum(axis=2), (~treated * theirs).sum(axis=2)
        if kind == "hit":
            return _of_hits(exact, one.astype(int), zero.astype(int), n1, batch - n1)
        mean1, mean0 = one / n1, zero / (batch - n1)
        M2_1 = (treated * ours**2).sum(axis=2) - n1 * mean1**2
        M2_0 = (~treated * theirs**2).sum(axis=2) - (batch - n1) * mean0**2
        return _of_batches(Batches(n1=n1, n0=batch - n1, mean1=mean1, mean0=mean0, M2_1=M2_1, M2_0=M2_0))

    return draw


# ---------------------------------------------------------------- pairs


def _of_pairs(differences: Floats, outcomes: Ints, *, hit: bool, alpha: float = ALPHA) -> Seen:
    n = differences.shape[2]
    mean = differences.mean(axis=2)
    M2 = (differences**2).sum(axis=2) - n * mean**2
    if hit:
        won, lost = (differences > 0).sum(axis=2), (differences < 0).sum(axis=2)
        return _of_discordant(won, lost, n, outcomes, alpha=alpha)
    return Seen({"product": by_pairs(n, mean, M2, alpha=alpha), "naive": _naive_pairs(n, mean, M2)}, outcomes)


def _of_discordant(
    won: Ints, lost: Ints, n: int, outcomes: Ints, n_star: int = N_STAR, alpha: float = ALPHA
) -> Seen:
    mean = (won - lost) / n
    M2 = won + lost - n * mean**2
    contrast = by_pairs(n, mean, M2, n_star, alpha)
    mcnemar = by_mcnemar(np.cumsum(won, axis=1), np.cumsum(lost, axis=1))
    tests = {"exact": mcnemar, "contrast": contrast, "product": contrast.smaller(mcnemar)}
    return Seen(tests | {"naive": _naive_pairs(n, mean, M2)}, outcomes)


def _naive_pairs(n: int, mean: Floats, M2: Floats) -> Evidence:
    total = n * np.arange(1, mean.shape[1] + 1)
    overall = np.cumsum(n * mean, axis=1) / total
    variance = np.cumsum(M2 + n * mean**2, axis=1) / total - overall**2
    return naive(overall, np.zeros_like(overall), variance / total)


def pairs(values: Callable[[Generator, tuple[int, ...]], Floats], gain: float = 0.0) -> Draw:
    """Independent differences."""

    def draw(source: Generator, runs: int) -> Seen:
        outcomes = BATCH * np.arange(1, LOOKS + 1)
        return _of_pairs(values(source, (runs, LOOKS, BATCH)) + gain, outcomes, hit=False)

    return draw


def discordant(won: float, lost: float, n_star: int = N_STAR) -> Draw:
    """Hits of both models; `won` and `lost` are the rates at which only one is right."""

    def draw(source: Generator, runs: int) -> Seen:
        b = source.binomial(BATCH, won, (runs, LOOKS))
        c = source.binomial(BATCH - b, lost / (1 - won))
        return _of_discordant(b, c, BATCH, BATCH * np.arange(1, LOOKS + 1), n_star)

    return draw


# ---------------------------------------------------------------- sticky units


@dataclass(frozen=True, slots=True, kw_only=True)
class Sticky:
    """Units with effects of their own that keep their arm."""

    units: int
    spread: float = 0.3
    """Sd of the units' effects; outcomes have 1 beside."""
    heavy: bool = False
    """Student's t with 3 degrees of freedom for noise, and a lognormal activity of units."""
    ramp: bool = False
    """10, 25, 50 and 75 % of units in the treatment, who stay, while the level rises by 2."""
    overlap: int = 0
    """Both arms' levels are paths of their own, with sd 0.5 and outcomes that cover so many events."""
    gain: float = 0.0
    """In units of the effect that a test of 20,000 outcomes, of these units, finds with power 0.8."""
    buckets: int = BUCKETS

    @property
    def shift(self) -> float:
        """The gain in units of the outcomes."""
        return self.gain * _Z / math.sqrt(float(self.information(np.array([FIXED]))[0]))

    def information(self, outcomes: Ints) -> Floats:
        """Expected, with half of the units in each arm; however many outcomes there are, units bound it."""
        variance: Floats = 4 * self.spread**2 / self.units + 4 * (1 + self.spread**2) / outcomes
        return 1 / variance

    def __call__(self, source: Generator, runs: int) -> Seen:
        batch = 2 * BATCH if self.ramp else batch_of(self.overlap)
        looks = HORIZON // batch
        each = [self._run(source, looks, batch) for _ in range(runs)]
        tests = {
            name: Evidence(
                np.concatenate([one[name].up for one in each]),
                np.concatenate([one[name].down for one in each]),
            )
            for name in each[0]
        }
        outcomes = batch * np.arange(1, looks + 1)
        if self.gain:
            # many more runs: a figure to compare with should not have an error of its own
            many, known = 20 * runs, self.information(outcomes)
            promised = by_information(source, many, self.shift, known, outcomes)
            tests["information"] = promised
        return Seen(tests, outcomes)

    def _run(self, source: Generator, looks: int, batch: int) -> dict[str, Evidence]:
        count = looks * batch
        own = self.spread * source.standard_normal(self.units)
        place, home = source.random(self.units), source.integers(0, self.buckets, self.units)
        who = self._requests(source, count)
        at = np.repeat(np.arange(looks), batch)
        phases = np.arange(looks) * 4 // looks if self.ramp else np.zeros(looks, int)
        share = np.array([0.1, 0.25, 0.5, 0.75])[phases] if self.ramp else np.full(looks, 0.5)
        treated = place[who] < share[at]
        noise = source.standard_t(3, count) if self.heavy else source.standard_normal(count)
        values = own[who] + noise + self.shift * treated
        if self.ramp:
            values += np.linspace(0, 2, count)
        if self.overlap:
            paths = 0.5 * _paths(source, 2, count, self.overlap)
            values += np.where(treated, paths[1], paths[0])
        cell = (at * 2 + treated) * self.buckets + home[who]
        shape = (looks, 2, self.buckets)
        counts = np.bincount(cell, minlength=math.prod(shape)).reshape(shape).astype(float)
        sums: Floats = np.bincount(cell, values, minlength=math.prod(shape)).reshape(shape).astype(float)
        squares = np.bincount(at * 2 + treated, values**2, minlength=looks * 2).reshape(looks, 2)
        n, total = counts.sum(axis=2), sums.sum(axis=2)
        mean = total / np.maximum(n, 1)
        M2 = squares - n * mean**2
        moments = [part.T[None] for part in (n, mean, M2)]
        (n0, n1), (mean0, mean1), (M2_0, M2_1) = ((part[:, 0], part[:, 1]) for part in moments)
        batches = Batches(
            n1=n1.astype(int), n0=n0.astype(int), mean1=mean1, mean0=mean0, M2_1=M2_1, M2_0=M2_0
        )
        by_batch = sums_of(batches)
        shared = np.maximum(by_batch.Q - by_batch.V, 0.0)[0] / by_batch.W[0] ** 2
        return {
            "product": by_units(counts, sums, phases, shared),
            "units": by_units(counts, sums, phases, np.zeros(looks)),
            "contrast": by_contrast(batches),
            "naive": naive_of(batches),
        }

    def _requests(self, source: Generator, count: int) -> Ints:
        if not self.heavy:
            return source.integers(0, self.units, count)
        activity = np.cumsum(source.lognormal(0.0, 1.0, self.units))
        who: Ints = np.searchsorted(activity, source.random(count) * activity[-1], side="right")
        return who
