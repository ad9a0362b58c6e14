"""Several primaries: any one promotes at its part of alpha, none may be shown to lose, all are reported."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import pytest

from domain.errors import InvalidField
from domain.experiments.ebh import joint_log_e
from domain.experiments.evidence import always_valid_p
from domain.experiments.hold_back import HoldBack
from domain.experiments.performance import performances
from domain.experiments.plan import ExperimentPlan
from domain.experiments.ramps import planned
from domain.experiments.reversal import reversed_plan
from domain.experiments.state import ExperimentState
from domain.experiments.verdict import Verdict, report, standings
from tests.experiments.streams import Body, arm, kind, plan, run, shadow_arm, unit_arm, windows

ERROR = {"metric": "abs_error", "direction": "decrease"}
PROFIT = {"metric": "value.pnl", "direction": "increase"}
LATENCY = {"metric": "latency", "direction": "decrease"}


def several(*more: Mapping[str, Any], **fields: Any) -> ExperimentPlan:
    return plan(primary=ERROR, more_primaries=list(more or (PROFIT,)), **{"harm": [], **fields})


def streams(seed: int, count: int, *arms: tuple[float, float]) -> list[dict[str, Body]]:
    """Windows of a champion and of one challenger for each (gain on the error, gain on the profit)."""
    source = np.random.default_rng(seed)

    def body(error: float, profit: float) -> Body:
        draws = source.standard_normal((2, 50))
        return arm({"abs_error": draws[0] - error, "value.pnl": draws[1] + profit})

    return [
        {
            "champion": body(0.0, 0.0),
            **{f"challenger-{k}": body(*gains) for k, gains in enumerate(arms, start=1)},
        }
        for _ in range(count)
    ]


def told(found: Verdict | None, treatment: str = "challenger-1") -> Any:
    assert found is not None
    return orjson.loads(orjson.dumps(found.evidence))["treatments"][treatment]


@pytest.mark.parametrize("error,profit,metric", [(0.4, 0.0, "abs_error"), (0.0, 0.4, "value.pnl")])
def test_either_primary_promotes_at_its_part_of_alpha(error: float, profit: float, metric: str) -> None:
    chosen = several()
    _, found = run(chosen, windows(streams(1, 100, (error, profit))))
    assert kind(found) == "PROMOTE"
    assert found is not None
    assert f"challenger-1 is better on {metric}: gain 0." in found.rule
    assert found.rule.endswith("none of 2 primaries is shown to lose")
    measures = told(found)
    both = [measures["primary"], *measures["more_primaries"]]
    assert [each["metric"] for each in both] == ["abs_error", "value.pnl"]
    for each in both:
        assert (each["alpha"], each["threshold"]) == (0.025, pytest.approx(math.log(40)))
        assert each["lower"] < each["estimate"] < each["upper"]
    assert [each["log_e"] >= each["threshold"] for each in both] == [error > 0, profit > 0]
    assert [(each["metric"], each["claim"], each["alpha"]) for each in measures["losses"]] == [
        ("abs_error", "worse", 0.05),
        ("value.pnl", "worse", 0.05),
    ]


def test_both_are_named_where_both_gain() -> None:
    _, found = run(several(), windows(streams(2, 100, (0.5, 0.5))))
    assert found is not None
    assert "is better on abs_error: gain" in found.rule
    assert ", and on value.pnl: gain" in found.rule


def test_alpha_is_shared_among_primaries_and_challengers_at_once() -> None:
    chosen = several(treatments=3)
    _, found = run(chosen, windows(streams(3, 100, (0.6, 0.0), (0.0, 0.0), (0.0, 0.0))))
    assert told(found)["primary"]["threshold"] == pytest.approx(math.log(3 * 2 / 0.05))
    assert chosen.primary_alpha == 0.05 / 6


def test_a_primary_that_is_shown_to_lose_holds_the_others_gain_back_and_does_not_roll_back() -> None:
    mixed = streams(4, 60, (0.5, -0.5))
    state, found = run(several(), windows(mixed))
    assert found is None
    (standing,) = standings(several(), state)
    assert [each.metric for each in standing.gains] == ["abs_error"]
    assert [loss.shown for loss in standing.losses] == [False, True]
    assert kind(run(several(harm=[PROFIT]), windows(mixed))[1]) == "ROLL_BACK", "the control: a harm rule"
    assert kind(run(plan(primary=ERROR, harm=[]), windows(mixed))[1]) == "PROMOTE", "the control: unwatched"


def test_a_guardrail_beside_several_primaries_must_still_be_shown() -> None:
    guarded = several(guardrails=[PROFIT | {"margin": 0.3}], max_outcomes=4_000)
    assert kind(run(guarded, windows(streams(5, 60, (0.5, 0.0))))[1]) == "PROMOTE"
    assert kind(run(guarded, windows(streams(5, 60, (0.5, -0.35))))[1]) == "INCONCLUSIVE"


def test_winners_are_ranked_by_the_first_primary_that_they_gain_on_and_there_by_the_lower_bound() -> None:
    """A profit of 5 and an error of 0.4 are in different units: their bounds say nothing to each other."""
    chosen = several(treatments=3)
    state, found = run(chosen, windows(streams(6, 60, (0.0, 5.0), (0.5, 0.0), (0.9, 0.0))))
    assert found is not None
    assert (found.kind, found.treatment) == ("PROMOTE", "challenger-3")
    assert [[gain.metric for gain in each.gains] for each in standings(chosen, state)] == [
        ["value.pnl"],
        ["abs_error"],
        ["abs_error"],
    ], "all three win"


def test_every_primary_has_an_always_valid_p_that_never_rises_again() -> None:
    chosen, last = several(minimums={"batches": 60}), 1.0
    state = ExperimentState()
    for window in windows(streams(7, 55, (0.0, 0.25))):
        state, found = run(chosen, [window], state)
        assert found is None
        (more,) = report(chosen, state, standings(chosen, state))["treatments"]["challenger-1"][
            "more_primaries"
        ]
        if more["log_e"] is None:
            continue
        largest = state.more_max_log_e["challenger-1"]["value.pnl"]
        assert more["p_value"] == always_valid_p(largest) <= last
        assert largest >= more["log_e"]
        last = more["p_value"]
    assert last < 0.01
    assert ExperimentState.from_json(orjson.loads(orjson.dumps(state.to_json()))) == state


def test_the_minimum_of_outcomes_is_needed_of_each_primary() -> None:
    chosen = several()

    def without_profit(one: Mapping[str, Body]) -> dict[str, Body]:
        return {
            name: {**body, "metrics": {"abs_error": body["metrics"]["abs_error"]}}
            for name, body in one.items()
        }

    both = streams(8, 40, (0.6, 0.0))
    assert kind(run(chosen, windows([*both[:2], *map(without_profit, both[2:])]))[1]) == "PROMOTE"
    state, found = run(chosen, windows([*both[:1], *map(without_profit, both[1:])]))
    assert found is None
    waits = report(chosen, state, standings(chosen, state))["unmet_minimums"]
    assert waits == ["50 of 100 outcomes in the smallest arm"]


def test_futility_needs_every_primary_to_be_out_of_reach() -> None:
    nothing = streams(9, 300, (0.0, 0.0))
    both = several(PROFIT | {"mde": 0.5}, mde=0.4, max_outcomes=30_000)
    _, found = run(both, windows(nothing))
    assert found is not None
    assert found.rule == "no treatment can gain 0.4 on abs_error or 0.5 on value.pnl"
    assert run(several(mde=0.4, max_outcomes=40_000), windows(nothing))[1] is None, "profit has no mde"


def test_the_horizon_is_that_of_the_primary_that_needs_most() -> None:
    known = {"variances": {"abs_error": 1.0, "value.pnl": 1.0}}
    found = {}
    for name, error, profit in (("error", 0.2, 0.4), ("profit", 0.4, 0.2), ("only", 0.2, None)):
        more = PROFIT if profit is None else PROFIT | {"mde": profit}
        chosen = several(more, mde=error, **known)
        state, _ = run(chosen, windows(streams(10, 1, (0.0, 0.0))))
        found[name] = report(chosen, state, standings(chosen, state))["max_outcomes"]
    # 1.75 (z_.025 + z_.2)^2 * 4 var / mde^2
    assert found == {"error": 1374, "profit": 1374, "only": 1374}


def test_a_ratio_of_sticky_units_tunes_by_its_own_mde() -> None:
    ratio = PROFIT | {"denominator": "value.volume", "mde": 0.1}
    source, units = np.random.default_rng(11), np.arange(100)
    bodies = [
        {
            name: unit_arm(
                who,
                {
                    "abs_error": source.standard_normal(50),
                    "value.pnl": source.standard_normal(50),
                    "value.volume": np.ones(50),
                },
            )
            for name, who in (("champion", units[:50]), ("challenger-1", units[50:]))
        }
        for _ in range(12)
    ]
    rhos = {}
    for mde in (0.1, 0.2):
        chosen = plan("USER_SEGMENT", primary=ERROR, more_primaries=[ratio | {"mde": mde}], harm=[], mde=0.3)
        state, _ = run(chosen, windows(bodies))
        measure = standings(chosen, state)[0].more_primaries[0]
        assert measure.metric == "value.pnl/value.volume"
        assert measure.rho is not None
        rhos[mde] = measure.rho
    assert rhos[0.1] == pytest.approx(4 * rhos[0.2])


def test_pairs_of_a_shadow_have_several_primaries_too() -> None:
    source = np.random.default_rng(12)

    def pairs() -> Body:
        one = shadow_arm(source.normal(0.0, 0.5, 100))
        other = shadow_arm(source.normal(-0.2, 0.5, 100), "squared_error")
        return {**one, "paired": {**one["paired"], **other["paired"]}}

    chosen = plan(
        "SHADOW_MODE",
        primary=ERROR,
        more_primaries=[{"metric": "squared_error", "direction": "decrease"}],
        harm=[],
    )
    _, found = run(chosen, windows([{"challenger-1": pairs()} for _ in range(40)]))
    assert found is not None
    assert "is better on squared_error" in found.rule


def test_a_hold_back_gives_way_on_any_primary_whatever_the_others_say() -> None:
    """The new version was promoted because no primary was shown to lose; in the hold-back one is."""
    held = HoldBack(share=0.5, duration_ms=86_400_000)
    back = reversed_plan(several(PROFIT | {"mde": 0.5}, n_star=1_000), held, experiment="back", version="1")
    assert [goal.key for goal in back.primaries] == ["abs_error", "value.pnl"]
    assert (back.primary_alpha, back.more_primaries[0].mde) == (0.025, None)
    bodies = [
        {"champion": one["champion"], "held_back": one["challenger-1"]}
        for one in streams(13, 60, (-0.6, 0.6))
    ]
    _, found = run(back, windows(bodies))
    assert found is not None
    assert (found.kind, found.treatment) == ("PROMOTE", "held_back")
    assert "is better on value.pnl" in found.rule


def test_an_arm_says_how_it_does_on_every_primary() -> None:
    chosen = several()
    state, _ = run(chosen, windows(streams(14, 30, (0.1, 0.1))))
    numbers = report(chosen, state, standings(chosen, state))
    champion, challenger = performances(chosen, planned(chosen), numbers)
    assert champion.more_primaries == ()
    (profit,) = challenger.more_primaries
    expected = numbers["treatments"]["challenger-1"]["more_primaries"][0]
    for name in ("metric", "estimate", "lower", "upper", "log_e", "threshold", "p_value"):
        assert getattr(profit, name) == expected[name]
    assert challenger.losing == ()
    assert challenger.to_json()["more_primaries"][0]["metric"] == "value.pnl"
    single, _ = run(plan(), windows(streams(14, 30, (0.1, 0.1))))
    (_, alone) = performances(plan(), planned(plan()), report(plan(), single, standings(plan(), single)))
    assert not {"more_primaries", "losing"} & alone.to_json().keys()


def test_the_e_value_of_an_experiment_is_the_mean_of_its_primaries() -> None:
    """One hypothesis, "it is better nowhere": the mean is an e-value, the largest is none."""
    assert joint_log_e([math.log(30.0), math.log(10.0)]) == pytest.approx(math.log(20.0))
    assert joint_log_e([1.25]) == 1.25
    assert joint_log_e([math.log(30.0), None]) == pytest.approx(math.log(15.5)), "no bet is an e-value of 1"
    assert joint_log_e([-math.inf, -math.inf]) == -math.inf
    assert joint_log_e([-1e300, -1e300]) == -1e300
    assert joint_log_e([1e300, 0.0]) == 1e300


@pytest.mark.parametrize(
    "fields,message",
    [
        ({"more_primaries": [ERROR]}, r"more_primaries must be of different metrics"),
        ({"more_primaries": [PROFIT, PROFIT]}, r"more_primaries must be of different metrics"),
        ({"more_primaries": [PROFIT | {"margin": 0.1}]}, r"Goal\.margin must be 0 where any of several"),
        (
            {"primary": ERROR | {"margin": 0.1}, "more_primaries": [PROFIT]},
            r"Goal\.margin must be 0 where any of several",
        ),
        ({"primary": ERROR | {"mde": 0.1}}, r"Goal\.mde must be null of the primary: ExperimentPlan\.mde"),
        ({"more_primaries": [PROFIT | {"mde": 0}]}, r"Goal\.mde must be > 0 or null"),
        ({"more_primaries": [LATENCY], "harm": [LATENCY | {"direction": "increase"}]}, r"of one direction"),
        ({"more_primaries": PROFIT}, r"ExperimentPlan\.more_primaries must be a list"),
        ({"more_primaries": [{"metric": "x"}]}, r"Goal\.direction must be given"),
        ({"strategy": "SHADOW_MODE", "more_primaries": [PROFIT]}, r"measured on shadow answers too"),
        (
            {"more_primaries": [PROFIT | {"denominator": "value.volume"}]},
            r"Goal\.denominator must be null unless units are split",
        ),
    ],
)
def test_primaries_that_cannot_be_tested_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidField, match=message):
        plan(**fields)


def test_plans_of_one_primary_keep_their_json_and_hash_and_others_have_their_own() -> None:
    assert "more_primaries" not in plan().to_json()
    assert "mde" not in plan().to_json()["primary"]
    chosen = several()
    assert chosen.config_hash != plan(harm=[]).config_hash
    assert ExperimentPlan.from_json(orjson.loads(orjson.dumps(chosen.to_json()))) == chosen
    state, _ = run(plan(), windows(streams(15, 30, (0.0, 0.0))))
    assert "more_max_log_e" not in state.to_json()
    measures = report(plan(), state, standings(plan(), state))["treatments"]["challenger-1"]
    assert measures.keys() == {"primary", "guardrails", "harm", "max_log_e", "p_value"}
