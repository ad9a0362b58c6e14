"""Every rule of a verdict (statistics.md A5) by its threshold, and the numbers to check it by."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pytest

from domain.experiments.evidence import always_valid_p, log_e_one_sided
from domain.experiments.plan import ExperimentPlan
from domain.experiments.verdict import Verdict, standings
from tests.experiments.streams import Body, arm, kind, plan, run, shadow_arm, split_arms, windows

LATENCY = {"metric": "latency", "direction": "decrease"}


def guarded_arms(seed: int, count: int, *arms: tuple[float, float]) -> list[dict[str, Body]]:
    """Windows of a champion and of one challenger for each (gain on the error, loss of latency)."""
    source = np.random.default_rng(seed)

    def body(gain: float, slower: float) -> Body:
        draws = source.standard_normal((2, 50))
        return arm({"abs_error": draws[0] - gain, "latency": draws[1] + slower})

    names = ["champion", *(f"challenger-{k}" for k in range(1, len(arms) + 1))]
    return [
        {name: body(*gains) for name, gains in zip(names, ((0.0, 0.0), *arms), strict=True)}
        for _ in range(count)
    ]


def measures(found: Verdict) -> Iterator[tuple[dict[str, Any], str]]:
    for each in orjson.loads(orjson.dumps(found.evidence))["treatments"].values():
        yield each["primary"], "better"
        yield from ((one, "better") for one in each["guardrails"])
        yield from ((one, "worse") for one in each["harm"])


@pytest.mark.parametrize("treatments", [1, 3])
def test_alpha_is_shared_by_challengers_for_gains_and_neither_for_guardrails_nor_for_harm(
    treatments: int,
) -> None:
    chosen = plan(
        treatments=treatments,
        alpha=0.04,
        harm_alpha=0.01,
        guardrails=[LATENCY | {"margin": 0.3}],
    )
    _, found = run(chosen, windows(guarded_arms(1, 80, *[(0.6, 0.0)] * treatments)))
    assert kind(found) == "PROMOTE"
    assert found is not None
    for each in found.evidence["treatments"].values():
        assert each["primary"]["threshold"] == pytest.approx(math.log(treatments / 0.04))
        assert [one["threshold"] for one in each["guardrails"]] == [pytest.approx(math.log(1 / 0.04))]
        assert [one["threshold"] for one in each["harm"]] == [pytest.approx(math.log(1 / 0.01))]


@pytest.mark.parametrize(
    "gain,slower,expected",
    [(0.5, 0.0, "PROMOTE"), (-0.6, 0.0, "ROLL_BACK"), (0.0, 0.0, "INCONCLUSIVE")],
)
@pytest.mark.parametrize("strategy", ["PERCENTAGE_SPLIT", "SHADOW_MODE"])
def test_the_e_value_of_every_rule_can_be_computed_anew_from_the_verdict(
    strategy: str, gain: float, slower: float, expected: str
) -> None:
    fields: dict[str, Any] = {"max_outcomes": 3_000}
    if strategy == "SHADOW_MODE":
        source = np.random.default_rng(2)
        arms = [{"challenger-1": shadow_arm(source.normal(-gain, 1.0, 100))} for _ in range(60)]
    else:
        arms = guarded_arms(2, 60, (gain, slower))
        fields["guardrails"] = [LATENCY | {"margin": 0.3}]
    _, found = run(plan(strategy, **fields), windows(arms))
    assert kind(found) == expected
    assert found is not None
    checked = 0
    for measure, claim in measures(found):
        assert measure["claim"] == claim
        gain_sum = (measure["estimate"] + measure["margin"]) * measure["weight"]
        s = gain_sum if claim == "better" else -gain_sum
        assert log_e_one_sided(s, measure["v"], measure["rho"]) == pytest.approx(measure["log_e"], rel=1e-9)
        assert measure["lower"] < measure["estimate"] < measure["upper"]
        checked += 1
    assert checked == (2 if strategy == "SHADOW_MODE" else 3)
    for each in found.evidence["treatments"].values():
        assert each["p_value"] == always_valid_p(each["max_log_e"])
        assert each["max_log_e"] >= each["primary"]["log_e"]


def test_a_bound_excludes_the_margin_exactly_when_its_rule_is_shown() -> None:
    """The confidence sequence is the set of effects without evidence against them."""
    source = np.random.default_rng(3)
    for gain in source.uniform(-0.6, 0.6, 12):
        chosen = plan(minimums={"batches": 25}, harm=[{"metric": "abs_error", "direction": "decrease"}])
        state, _ = run(chosen, windows(split_arms(source, 24, gain)))
        (standing,) = standings(chosen, state)
        for measure in (standing.primary, *standing.harm):
            assert measure.lower is not None
            assert measure.upper is not None
            beyond = measure.lower > 0 if measure.claim == "better" else measure.upper < 0
            assert beyond == measure.shown


@pytest.mark.parametrize("loss,expected", [(0.1, None), (0.8, "ROLL_BACK")])
def test_harm_is_a_loss_beyond_its_margin_and_not_any_loss(loss: float, expected: str | None) -> None:
    chosen = plan(harm=[{"metric": "abs_error", "direction": "decrease", "margin": 0.3}])
    _, found = run(chosen, windows(split_arms(np.random.default_rng(4), 60, -loss)))
    assert kind(found) == expected
    control = run(plan(), windows(split_arms(np.random.default_rng(4), 60, -max(loss, 0.4))))[1]
    assert kind(control) == "ROLL_BACK", "the control: without a margin"


def test_harm_by_one_challenger_ends_it_although_another_wins_at_the_same_look() -> None:
    chosen = plan(treatments=2, variances={"abs_error": 1.0}, harm_alpha=0.05)
    arms = [
        {
            name: arm({"abs_error": np.random.default_rng([5, k, j]).standard_normal(50) - gain})
            for j, (name, gain) in enumerate(
                (("champion", 0.0), ("challenger-1", 0.9), ("challenger-2", -0.9))
            )
        }
        for k in range(40)
    ]
    _, found = run(chosen, windows(arms))
    assert found is not None
    assert (found.kind, found.treatment) == ("ROLL_BACK", "challenger-2")


@pytest.mark.parametrize("guardrail_loss,expected", [(0.0, "PROMOTE"), (0.28, None)])
def test_a_guardrail_needs_evidence_that_the_loss_is_under_its_margin(
    guardrail_loss: float, expected: str | None
) -> None:
    """A loss just under the margin is allowed, and yet not shown: no evidence is no promotion."""
    chosen = plan(guardrails=[LATENCY | {"margin": 0.3}])
    state, found = run(chosen, windows(guarded_arms(6, 60, (0.6, guardrail_loss))))
    assert kind(found) == expected
    (standing,) = standings(chosen, state)
    assert standing.primary.shown
    assert standing.guardrails[0].shown == (expected is not None)


def test_non_inferiority_takes_a_loss_within_the_margin_and_refuses_one_beyond() -> None:
    goal = {"metric": "abs_error", "direction": "decrease", "margin": 0.3}
    chosen = plan(primary=goal, harm=[], max_outcomes=6_000)
    found = {}
    for loss in (0.1, 0.45):
        _, verdict = run(chosen, windows(split_arms(np.random.default_rng(7), 60, -loss)))
        assert verdict is not None
        found[loss] = verdict
    assert {loss: each.kind for loss, each in found.items()} == {0.1: "PROMOTE", 0.45: "INCONCLUSIVE"}
    primary = found[0.1].evidence["treatments"]["challenger-1"]["primary"]
    assert -0.3 < primary["lower"] < primary["upper"]
    assert "against a margin of 0.3" in found[0.1].rule


@pytest.mark.parametrize("upper_under_mde", [True, False])
def test_futility_waits_until_no_challenger_can_reach_the_mde(upper_under_mde: bool) -> None:
    arms = [
        {
            name: arm({"abs_error": np.random.default_rng([8, k, j]).standard_normal(50) - gain})
            for j, (name, gain) in enumerate(
                (("champion", 0.0), ("challenger-1", 0.0), ("challenger-2", 0.0 if upper_under_mde else 0.25))
            )
        }
        for k in range(21)
    ]
    chosen = plan(treatments=2, mde=0.35, harm=[], alpha=1e-6, max_outcomes=100_000)
    _, found = run(chosen, windows(arms))
    assert kind(found) == ("INCONCLUSIVE" if upper_under_mde else None)
    if found is not None:
        uppers = [each["primary"]["upper"] for each in found.evidence["treatments"].values()]
        assert max(uppers) < 0.35


def _frozen(plan: ExperimentPlan, count: int) -> set[float]:
    rhos = set()
    for batches in range(10, count):
        state, _ = run(plan, windows(split_arms(np.random.default_rng(9), batches, 0.0)))
        rho = standings(plan, state)[0].primary.rho
        assert rho is not None
        rhos.add(rho)
    return rhos


def test_the_tuning_never_follows_the_data_once_it_is_frozen() -> None:
    assert len(_frozen(plan(), 25)) == 1
