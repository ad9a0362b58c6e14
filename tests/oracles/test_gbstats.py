"""gbstats 0.8.0, the engine of GrowthBook: two-sided sequences, adjusted and relative ones, p-values.

It knows one batch only. Of that the contrast, the confidence sequence and the lift must be its own to nine
digits, the p-value to seven. Left out on purpose: its one-sided classes, whose lesser bound subtracts the
width where it should add it, and its rho for arms of moving shares, which counts records, not information.
"""

from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.experiments.contrast import Contrast
from domain.experiments.evidence import (
    always_valid_p,
    confidence_sequence,
    log_e_two_sided,
    rho_two_sided,
)
from domain.experiments.lift import Mean, lift
from domain.experiments.moments import Moments
from tests.oracles.examples import EXAMPLES

tests = import_module("gbstats.frequentist.tests")
statistics = import_module("gbstats.models.statistics")


def same(value: object) -> Any:
    """To nine digits."""
    return pytest.approx(value, rel=1e-9, abs=1e-12)


@dataclass(frozen=True, slots=True)
class Arm:
    """Values and a covariate whose mean in the arm is zero."""

    y: np.ndarray
    x: np.ndarray

    @classmethod
    def drawn(cls, source: np.random.Generator, n: int, mean: float, correlation: float) -> "Arm":
        x = source.standard_normal(n)
        x = x - x.mean()
        return cls(mean + correlation * x + source.standard_normal(n), x)

    @property
    def moments(self) -> Moments:
        dy = self.y - self.y.mean()
        mean, mean_x = float(self.y.mean()), float(self.x.mean())
        M2, M2_x, Cxy = float(dy @ dy), float(self.x @ self.x), float(self.x @ dy)
        return Moments(len(self.y), mean, M2, True, mean_x, M2_x, Cxy)

    @property
    def plain(self) -> Moments:
        return Moments(self.moments.n, self.moments.mean, self.moments.M2)

    @property
    def sample(self) -> Any:
        return statistics.SampleMeanStatistic(
            n=len(self.y), sum=float(self.y.sum()), sum_squares=float(self.y @ self.y)
        )

    @property
    def adjusted(self) -> Any:
        before = statistics.SampleMeanStatistic(
            n=len(self.x), sum=float(self.x.sum()), sum_squares=float(self.x @ self.x)
        )
        return statistics.RegressionAdjustedStatistic(
            n=len(self.y),
            post_statistic=self.sample,
            pre_statistic=before,
            post_pre_sum_of_products=float(self.x @ self.y),
            theta=0.0,
        )


@st.composite
def arms(draw: st.DrawFn) -> tuple[Arm, Arm]:
    """Control and treatment of equal size: gbstats does not pool their variances, a batch does."""
    source = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, mean = draw(st.integers(5, 400)), draw(st.floats(20, 100))
    gain, correlation = draw(st.floats(-2, 2)), draw(st.floats(-3, 3))
    return Arm.drawn(source, n, mean, correlation), Arm.drawn(source, n, mean + gain, correlation)


STARS, ALPHAS = st.sampled_from([500, 5_000, 80_000]), st.sampled_from([0.01, 0.05, 0.2])


def settings_of(kind: str, n_star: int, alpha: float) -> Any:
    return tests.SequentialConfig(difference_type=kind, sequential_tuning_parameter=n_star, alpha=alpha)


def both(pair: tuple[Arm, Arm], config: Any, covariate: bool) -> tuple[Any, Contrast]:
    """Theirs and ours of the same values, with the covariate or without."""
    control, treatment = pair
    if covariate:
        found = tests.SequentialTwoSidedTTest(control.adjusted, treatment.adjusted, config)
        return found, Contrast.of_batch(treatment.moments, control.moments)
    found = tests.SequentialTwoSidedTTest(control.sample, treatment.sample, config)
    return found, Contrast.of_batch(treatment.plain, control.plain)


@EXAMPLES
@given(arms(), STARS, ALPHAS, st.booleans())
def test_an_absolute_sequence_of_one_batch_is_that_of_gbstats(
    pair: tuple[Arm, Arm], n_star: int, alpha: float, covariate: bool
) -> None:
    found, ours = both(pair, settings_of("absolute", n_star, alpha), covariate)
    v = ours.statistic(ours.estimate).within
    # theirs grows by one with every record
    rho = rho_two_sided(n_star, alpha) * v / (ours.n1 + ours.n0)
    sequence = confidence_sequence(ours.estimate, v, ours.W, alpha, rho)
    result = found.compute_result()
    assert ours.estimate == pytest.approx(result.expected, rel=1e-9, abs=1e-9)
    assert [sequence.lower, sequence.upper] == pytest.approx(result.ci, rel=1e-9, abs=1e-9)
    p = always_valid_p(log_e_two_sided(ours.statistic().s, v, rho))
    assert p == pytest.approx(result.p_value, rel=1e-7)


@EXAMPLES
@given(arms(), STARS, ALPHAS, st.booleans())
def test_a_relative_sequence_of_one_batch_is_that_of_gbstats(
    pair: tuple[Arm, Arm], n_star: int, alpha: float, covariate: bool
) -> None:
    found, ours = both(pair, settings_of("relative", n_star, alpha), covariate)
    control, treatment = pair
    difference = Mean(ours.estimate, ours.statistic(ours.estimate).within / ours.W**2)
    variances = [arm_variance(arm, ours.theta) for arm in (treatment, control)]
    relative = lift(difference, variances[0], Mean(control.moments.mean, variances[1]))
    n = ours.n1 + ours.n0
    v = n * n * relative.variance
    sequence = confidence_sequence(
        relative.value, v, n, alpha, rho_two_sided(n_star, alpha) * n * relative.variance
    )
    result = found.compute_result()
    assert relative.value == same(result.expected)
    assert relative.variance == same(result.uplift.stddev**2)
    assert [sequence.lower, sequence.upper] == same(result.ci)


def arm_variance(arm: Arm, theta: float) -> float:
    """Of its mean, after the adjustment."""
    own = arm.moments
    M2 = own.M2 - 2 * theta * own.Cxy + theta**2 * own.M2_x
    return M2 / (own.n - 1) / own.n


@EXAMPLES
@given(st.integers(0, 2**32 - 1), st.floats(-0.5, 0.5))
def test_the_coefficient_differs_only_by_the_gap_between_the_arms(seed: int, gap: float) -> None:
    """gbstats takes it around the joint mean, so an effect that goes with a gap of the covariate leaks in."""
    source = np.random.default_rng(seed)
    control, treatment = (Arm.drawn(source, 200, 50.0, 1.0) for _ in range(2))
    shifted = Arm(treatment.y + gap, treatment.x + gap)
    moved = replace(treatment.moments, mean=float(shifted.y.mean()), mean_x=gap)
    ours = Contrast.of_batch(moved, control.moments)
    found = tests.SequentialTwoSidedTTest(control.adjusted, shifted.adjusted)
    leak = 100 * gap * (ours.Sy / ours.W)
    joint = (ours.Cxy + leak) / (ours.Cxx + 100 * gap**2)
    assert found.stat_a.theta == pytest.approx(joint, rel=1e-7, abs=1e-9)
