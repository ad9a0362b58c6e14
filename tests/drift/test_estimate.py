"""Expected performance below its promise is found before outcomes arrive, for each of four figures."""

import itertools
import math

import numpy as np
import orjson
import pytest

from domain.drift import promise
from domain.drift.cbpe import ExpectedConfusion, expected
from domain.drift.estimate import EstimatePolicy, Figure, mass, step
from domain.drift.promise import PromiseState
from domain.errors import InvalidField

FIGURES: tuple[Figure, ...] = ("accuracy", "precision", "recall", "f1")


@pytest.mark.parametrize("figure", FIGURES)
def test_a_figure_is_one_minus_its_bad_mass(figure: Figure) -> None:
    window = ExpectedConfusion(n1=30, s1=24.5, n0=70, s0=9.25)
    everything, bad = mass(figure, window)
    assert 1 - bad / everything == pytest.approx(getattr(window, figure))


@pytest.mark.parametrize("figure", FIGURES)
def test_less_sure_probabilities_break_the_promise_and_sure_ones_keep_it(figure: Figure) -> None:
    generator = np.random.default_rng(1)

    def window(spread: float) -> ExpectedConfusion:
        return expected(generator.beta(spread, spread, 200).tolist())

    usual = expected(generator.beta(0.3, 0.3, 20_000).tolist())
    baseline = getattr(usual, figure)
    policy = EstimatePolicy(figure=figure, tolerance=0.02)
    state = PromiseState()
    for _ in range(100):
        state, finding = step(policy, state, window(0.3), baseline)
        assert finding is None
    found = []
    for _ in range(12):
        state, finding = step(policy, state, window(1.5), baseline)
        found.append(finding)
    first = next(finding for finding in found if finding)
    assert first.metric == figure
    assert first.mean < first.tolerated == pytest.approx(baseline - 0.02)
    assert first.baseline == baseline


@pytest.mark.parametrize("figure", FIGURES)
def test_no_bet_gains_on_average_while_the_expected_figure_is_tolerated(figure: Figure) -> None:
    # every window of three answers drawn from four probabilities, with the figure exactly at its edge
    answers = [(0.9, 0.35), (0.6, 0.2), (0.3, 0.15), (0.05, 0.3)]
    masses = [(mass(figure, expected([p])), share) for p, share in answers]
    edge = math.fsum(bad * q for (_, bad), q in masses) / math.fsum(each * q for (each, _), q in masses)
    for bet in promise.bets(edge / 2, edge, (0.2, 0.8)):
        gain = math.fsum(
            math.prod(q for _, q in sample)
            * math.exp(bet.log_e(*reversed(mass(figure, expected([p for p, _ in sample])))))
            for sample in itertools.product(answers, repeat=3)
        )
        assert 0.5 < gain <= 1 + 1e-12


def test_a_window_without_mass_changes_nothing() -> None:
    policy = EstimatePolicy(figure="precision", baseline=0.9, tolerance=0.1)
    assert step(policy, PromiseState(), ExpectedConfusion(n0=5, s0=1.0), 0.9) == (PromiseState(), None)


def test_a_baseline_of_few_items_widens_the_tolerance() -> None:
    policy = EstimatePolicy(tolerance=0.01)
    window = ExpectedConfusion(n1=5000, s1=2000.0)
    _, wide = step(policy, PromiseState(), window, 0.9, baseline_n=100)
    assert wide is not None
    assert wide.tolerated == pytest.approx(0.9 - 0.09)


@pytest.mark.parametrize(
    "document, field",
    [
        ({"tolerance": 0.1, "figure": "auc"}, "figure"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"tolerance": 0.5, "baseline": 0.4}, "tolerance"),
        ({"tolerance": 0.1, "baseline": 1.5}, "baseline"),
        ({"tolerance": 0.1, "false_alarms_per_window": 2.0}, "false_alarms_per_window"),
        ({"tolerance": 0.1, "sizes": [-1.0]}, "sizes"),
    ],
)
def test_an_impossible_policy_is_refused_by_name(document: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidField, match=rf"EstimatePolicy\.{field} must be"):
        EstimatePolicy.from_json(document)


def test_a_policy_survives_json() -> None:
    policy = EstimatePolicy(figure="f1", baseline=0.8, tolerance=0.05)
    assert EstimatePolicy.from_json(orjson.loads(orjson.dumps(policy.to_json()))) == policy
