"""An experiment on hits of split requests: exact odds and the contrast must both be convinced."""

import numpy as np

from domain.experiments.mantel_haenszel import log_likelihood_ratios
from domain.experiments.verdict import report, standings
from tests.experiments.streams import Body, arm, plan, run, windows


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def rates(source: np.random.Generator, count: int, one: float, zero: float) -> list[dict[str, Body]]:
    return [
        {
            "champion": arm({"hit": source.binomial(1, zero, 100).astype(float)}),
            "challenger-1": arm({"hit": source.binomial(1, one, 100).astype(float)}),
        }
        for _ in range(count)
    ]


def test_hits_of_a_split_need_both_the_exact_odds_and_the_contrast() -> None:
    goal = {"metric": "hit", "direction": "increase"}
    chosen = plan(primary=goal, harm=[], base_rate=0.2, mde=0.05)
    arms = rates(generator(40), 60, 0.28, 0.2)
    state, found = run(chosen, windows(arms))
    assert found is not None
    assert found.kind == "PROMOTE"
    primary = found.evidence["treatments"]["challenger-1"]["primary"]
    assert primary["log_e"] == min(primary["odds_log_e"], primary["contrast_log_e"])
    assert 1.0 < primary["odds_ratio_lower"] < 0.28 / 0.72 / (0.2 / 0.8) < primary["odds_ratio_upper"]
    # the sums are those of the batches, and remember nothing but them
    by_hand = np.zeros(len(chosen.odds_grid))
    for one in arms[: state.batches]:
        ones, zeros = (
            round(one[name]["metrics"]["hit"]["mean"] * n)
            for name, n in (("challenger-1", 100), ("champion", 100))
        )
        by_hand += log_likelihood_ratios(ones, 100, 100, ones + zeros, chosen.odds_grid)
    assert state.track("challenger-1", "hit").odds == tuple(by_hand)


def test_hits_that_come_in_bursts_do_not_pass_for_an_effect() -> None:
    goal = {"metric": "hit", "direction": "increase"}
    chosen = plan(primary=goal, harm=[])
    source = generator(41)
    # one model suits every second batch: each batch on its own is far from chance
    arms = [one for _ in range(20) for one in rates(source, 1, 0.9, 0.1) + rates(source, 1, 0.2, 0.8)]
    state, found = run(chosen, windows(arms))
    assert found is None
    primary = report(chosen, state, standings(chosen, state))["treatments"]["challenger-1"]["primary"]
    assert primary["odds_log_e"] > primary["threshold"] > primary["contrast_log_e"]


def test_fewer_hits_can_be_the_goal_and_more_the_harm() -> None:
    goal = {"metric": "hit", "direction": "decrease"}
    chosen = plan(primary=goal, harm=[goal])
    _, found = run(chosen, windows(rates(generator(42), 60, 0.1, 0.25)))
    assert found is not None
    assert (found.kind, found.treatment) == ("PROMOTE", "challenger-1")
    assert found.evidence["treatments"]["challenger-1"]["primary"]["odds_ratio_upper"] < 1
    _, found = run(chosen, windows(rates(generator(42), 60, 0.25, 0.1)))
    assert found is not None
    assert found.kind == "ROLL_BACK"
    assert found.evidence["treatments"]["challenger-1"]["harm"][0]["odds_log_e"] > np.log(20)


def test_a_margin_of_rates_is_judged_by_the_contrast_alone() -> None:
    goal = {"metric": "hit", "direction": "increase", "margin": 0.1}
    chosen = plan(primary=goal, harm=[])
    _, found = run(chosen, windows(rates(generator(43), 60, 0.3, 0.3)))
    assert found is not None
    assert found.kind == "PROMOTE"
    primary = found.evidence["treatments"]["challenger-1"]["primary"]
    assert "odds_log_e" not in primary
    assert primary["log_e"] == primary["contrast_log_e"]
    assert primary["odds_ratio_lower"] < 1 < primary["odds_ratio_upper"]
