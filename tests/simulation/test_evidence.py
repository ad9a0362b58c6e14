"""The simulations' arrays say what the product says, look by look."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench.simulation.evidence import (
    Batches,
    Evidence,
    ExactOdds,
    by_contrast,
    by_mcnemar,
    by_pairs,
    sums_of,
)
from bench.simulation.families import family
from bench.simulation.ratios import by_ratio
from bench.simulation.streams import Sticky
from bench.simulation.units import by_information, by_units
from domain.experiments.evidence import log_e_one_sided, rho_one_sided
from domain.experiments.measure import Measure
from domain.experiments.plan import ExperimentPlan
from domain.experiments.srm import srm_log_e
from domain.experiments.state import ExperimentState
from domain.experiments.step import step
from domain.experiments.verdict import standings
from tests.experiments.streams import (
    Body,
    arm,
    hit_arm,
    moments,
    plan,
    shadow_arm,
    sticky_arms,
    unit_arm,
    windows,
)

LOOKS = 45


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def shown(
    chosen: ExperimentPlan, arms: list[dict[str, Body]], epochs: list[int] | None = None
) -> Iterator[Measure]:
    """The primary's and the harm rule's measure after every batch."""
    state = ExperimentState()
    for k, window in enumerate(windows(arms)):
        one = replace(window, epoch=epochs[k]) if epochs else window
        state, _ = step(chosen, replace(state, verdict=None), one)
        assert state.batches == k + 1
        (standing,) = standings(chosen, state)
        yield standing.primary
        yield standing.harm[0]


def held(
    chosen: ExperimentPlan,
    arms: list[dict[str, Body]],
    evidence: Evidence,
    name: str = "log_e",
    epochs: list[int] | None = None,
) -> None:
    """Higher is better in these plans, so promotion is the upward claim."""
    found = list(shown(chosen, arms, epochs))
    for rows, logs in ((found[::2], evidence.up[0]), (found[1::2], evidence.down[0])):
        values = [getattr(row, name) for row in rows]
        for value, expected in zip(values, logs.tolist(), strict=True):
            if value is None:
                assert expected == -math.inf
            else:
                assert value == pytest.approx(expected, rel=1e-8, abs=1e-8)
        assert sum(value is not None for value in values) >= LOOKS - 9


def higher(strategy: str, metric: str, **fields: Any) -> ExperimentPlan:
    goal = {"metric": metric, "direction": "increase"}
    return plan(strategy, primary=goal, harm=[goal], **fields)


def test_the_contrast_with_unequal_arms() -> None:
    source = generator(1)
    one, zero = source.standard_t(3, (1, LOOKS, 40)) + 0.1, source.lognormal(0, 1, (1, LOOKS, 80))
    arms = [{"champion": arm({"y": zero[0, k]}), "challenger-1": arm({"y": one[0, k]})} for k in range(LOOKS)]
    held(higher("PERCENTAGE_SPLIT", "y"), arms, by_contrast(Batches.of_values(one, zero)))


def test_the_contrast_with_a_covariate() -> None:
    source = generator(2)
    x = source.standard_normal((2, LOOKS, 50))
    y = 0.7 * x + source.standard_normal((2, LOOKS, 50))
    dx, dy = (each - each.mean(axis=2, keepdims=True) for each in (x, y))
    M2, Cxx, Cxy = (dy * dy).sum(axis=2), (dx * dx).sum(axis=2), (dx * dy).sum(axis=2)

    def body(which: int, k: int) -> Body:
        covariate = {
            "mean_x": float(x[which, k].mean()),
            "M2_x": float(Cxx[which, k]),
            "Cxy": float(Cxy[which, k]),
        }
        metric = {**moments(y[which, k]), **covariate}
        return {"n": 50, "matched": 50, "missing": 0, "metrics": {"y": metric}}

    arms = [{"champion": body(0, k), "challenger-1": body(1, k)} for k in range(LOOKS)]
    batches = Batches(
        n1=np.full(LOOKS, 50),
        n0=np.full(LOOKS, 50),
        mean1=y[1:].mean(axis=2),
        mean0=y[:1].mean(axis=2),
        M2_1=M2[1:],
        M2_0=M2[:1],
        mean_x1=x[1:].mean(axis=2),
        mean_x0=x[:1].mean(axis=2),
        Cxx=Cxx[:1] + Cxx[1:],
        Cxy=Cxy[:1] + Cxy[1:],
    )
    held(higher("PERCENTAGE_SPLIT", "y"), arms, by_contrast(batches))


@pytest.mark.parametrize("name", ["odds_log_e", "contrast_log_e", "log_e"])
def test_hits_of_a_split(name: str) -> None:
    source = generator(3)
    n1, n0 = np.full(LOOKS, 30), np.full(LOOKS, 90)
    one, zero = source.binomial(n1, 0.25, (1, LOOKS)), source.binomial(n0, 0.2, (1, LOOKS))

    def body(hits: int, n: int) -> Body:
        return arm({"hit": np.repeat([1.0, 0.0], [hits, n - hits])})

    arms = [
        {"champion": body(int(zero[0, k]), 90), "challenger-1": body(int(one[0, k]), 30)}
        for k in range(LOOKS)
    ]
    chosen = higher("PERCENTAGE_SPLIT", "hit")
    contrast = by_contrast(Batches.of_hits(one, zero, n1, n0))
    odds = ExactOdds(chosen.odds_grid)(one, zero, n1, n0)
    odds.up[:, :9] = odds.down[:, :9] = -math.inf  # the product waits for the contrast's tuning
    held(
        chosen, arms, {"odds_log_e": odds, "contrast_log_e": contrast}.get(name, contrast.smaller(odds)), name
    )


def test_pairs_of_means() -> None:
    differences = generator(4).standard_t(3, (1, LOOKS, 100)) + 0.05
    arms = [{"challenger-1": shadow_arm(differences[0, k], "y")} for k in range(LOOKS)]
    mean = differences.mean(axis=2)
    M2 = ((differences - mean[:, :, None]) ** 2).sum(axis=2)
    held(higher("SHADOW_MODE", "y"), arms, by_pairs(100, mean, M2))


def test_pairs_of_hits() -> None:
    source = generator(5)
    b, c = source.binomial(100, 0.03, (1, LOOKS)), source.binomial(100, 0.02, (1, LOOKS))
    arms = [{"challenger-1": hit_arm(int(b[0, k]), int(c[0, k]), 100)} for k in range(LOOKS)]
    mean = (b - c) / 100
    contrast = by_pairs(100, mean, b + c - 100 * mean**2)
    mcnemar = by_mcnemar(np.cumsum(b, axis=1), np.cumsum(c, axis=1))
    # harm of a shadow is judged by the contrast alone
    both = Evidence(np.minimum(contrast.up, mcnemar.up), contrast.down)
    held(higher("SHADOW_MODE", "hit"), arms, both)


def test_units_over_two_allocation_epochs() -> None:
    arms = sticky_arms(generator(6), LOOKS, gain=-0.1)
    counts, sums = np.zeros((LOOKS, 2, 64)), np.zeros((LOOKS, 2, 64))
    n, mean, M2 = (np.zeros((2, 1, LOOKS)) for _ in range(3))
    for k, one in enumerate(arms):
        for which, name in enumerate(("champion", "challenger-1")):
            for bucket, (count, total) in one[name]["units"]["abs_error"].items():
                counts[k, which, int(bucket)], sums[k, which, int(bucket)] = count, total
            metric = one[name]["metrics"]["abs_error"]
            n[which, 0, k], mean[which, 0, k], M2[which, 0, k] = metric["n"], metric["mean"], metric["M2"]
    epochs = [1] * 20 + [2] * (LOOKS - 20)
    by_batch = sums_of(
        Batches(
            n1=n[1].astype(int), n0=n[0].astype(int), mean1=mean[1], mean0=mean[0], M2_1=M2[1], M2_0=M2[0]
        )
    )
    shared = np.maximum(by_batch.Q - by_batch.V, 0.0)[0] / by_batch.W[0] ** 2
    chosen = higher("USER_SEGMENT", "abs_error", batch={"min_outcomes": 50, "min_per_arm": 10})
    held(chosen, arms, by_units(counts, sums, np.array(epochs), shared), epochs=epochs)
    assert unit_arm(np.array([70]), {"y": np.array([2.0])})["units"] == {"y": {"6": [1, 2.0]}}


def test_a_split_of_two_halves() -> None:
    ours, theirs = generator(7).integers(0, 30_000, (2, 5, 4))
    found = by_ratio(ours, theirs)
    for at in np.ndindex(5, 4):
        expected = srm_log_e([int(ours[at]), int(theirs[at])], [0.5, 0.5])
        assert found[at] == pytest.approx(expected, rel=1e-9, abs=1e-7)


def test_several_challengers_share_alpha_out() -> None:
    seen = family(3)(generator(8), 1)
    # the same draws, in the order in which the arms were drawn
    source, arms = generator(8), []
    for _ in range(4):
        mean = source.standard_normal((1, 500)) / np.sqrt(25)
        arms.append((mean[0], source.chisquare(24, (1, 500))[0]))
    names = ("champion", "challenger-1", "challenger-2", "challenger-3")
    bodies = [
        {
            name: {
                "n": 25,
                "matched": 25,
                "missing": 0,
                "metrics": {"y": {"n": 25, "mean": float(mean[k]), "M2": float(M2[k])}},
            }
            for name, (mean, M2) in zip(names, arms, strict=True)
        }
        for k in range(LOOKS)
    ]
    share = {"metric": "y", "direction": "increase"}
    for name, threshold in (("product", 3), ("uncorrected", 1)):
        # rho is tuned by outcomes of all arms, in the array by those of the two that are compared
        chosen = plan(
            "PERCENTAGE_SPLIT",
            3,
            primary=share,
            harm=[share],
            n_star=20_000,
            alpha=0.05 * 3 / threshold,
        )
        state = ExperimentState()
        for k, window in enumerate(windows(bodies)):
            state, _ = step(chosen, replace(state, verdict=None), window)
            logs = [each.primary.log_e for each in standings(chosen, state)]
            if k < 9:
                assert logs == [None] * 3
                continue
            largest = max(log for log in logs if log is not None) - math.log(threshold)
            assert seen.tests[name].up[0, k] == pytest.approx(largest, rel=1e-8, abs=1e-8)


def test_the_information_that_units_promise_is_the_one_that_they_bring() -> None:
    sticky = Sticky(units=400, spread=0.5, gain=1.0)
    source, differences = generator(9), []
    for _ in range(2_000):
        own, treated = 0.5 * source.standard_normal(400), source.random(400) < 0.5
        who = source.integers(0, 400, 1_000)
        values, arm_of = own[who] + source.standard_normal(1_000), treated[who]
        differences.append(values[arm_of].mean() - values[~arm_of].mean())
    promised = 1 / float(sticky.information(np.array([1_000]))[0])
    assert float(np.var(differences)) == pytest.approx(promised, rel=0.12)
    # a test of one look at 20,000 outcomes finds the effect with power 0.8
    drift = sticky.shift * math.sqrt(float(sticky.information(np.array([20_000]))[0]))
    assert drift == pytest.approx(1.6449 + 0.8416, abs=1e-4)


def test_evidence_in_known_information_time_is_the_mixtures_own() -> None:
    outcomes = 100 * np.arange(1, LOOKS + 1)
    information = 0.25 * outcomes.astype(float)
    found = by_information(generator(10), 3, 0.1, information, outcomes)
    s = np.cumsum(0.1 * 25.0 + 5.0 * generator(10).standard_normal((3, LOOKS)), axis=1)
    rho = rho_one_sided(0.25 * 10_000, 0.05)
    for run in range(3):
        for k in range(9, LOOKS):
            for logs, sign in ((found.up, 1), (found.down, -1)):
                expected = log_e_one_sided(sign * float(s[run, k]), float(information[k]), rho)
                assert logs[run, k] == pytest.approx(expected, rel=1e-9)
    assert np.isneginf(found.up[:, :9]).all()
