"""A plan that cannot be tested is refused, with the field and its limit; a good one has a stable hash."""

from typing import Any

import orjson
import pytest

from domain.errors import InvalidField
from domain.experiments.mantel_haenszel import DEFAULT_GRID, designed_grid
from domain.experiments.plan import ExperimentPlan

PLAIN: dict[str, Any] = {
    "experiment": "oil-2",
    "model": "oil",
    "strategy": "PERCENTAGE_SPLIT",
    "variants": [
        {"name": "champion", "version": "1", "share": 0.5, "champion": True},
        {"name": "challenger", "version": "2", "share": 0.5},
    ],
    "primary": {"metric": "abs_error", "direction": "decrease"},
}
THREE = [*PLAIN["variants"], {"name": "third", "version": "3", "share": 0.5}]
TWINS = [PLAIN["variants"][0], PLAIN["variants"][0]]
ORPHANS = [{"name": "a", "version": "1", "share": 0.5}, {"name": "b", "version": "2", "share": 0.5}]


HITS: dict[str, Any] = {"primary": {"metric": "hit", "direction": "increase"}}


def limits(*metrics: str, direction: str = "decrease") -> list[dict[str, Any]]:
    return [{"metric": metric, "direction": direction, "margin": 0.1} for metric in metrics]


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"experiment": ""}, r"ExperimentPlan\.experiment must be not empty"),
        ({"model": ""}, r"ExperimentPlan\.model must be not empty"),
        ({"strategy": "GUESS"}, r"ExperimentPlan\.strategy must be one of SHADOW_MODE"),
        ({"variants": PLAIN["variants"][:1]}, r"ExperimentPlan\.variants must be at least two"),
        ({"variants": THREE}, r"shares above 0 that add up to 1"),
        ({"variants": TWINS}, r"of different names"),
        ({"variants": ORPHANS}, r"exactly one champion"),
        ({"variants": [{"name": "a", "version": "1", "share": 2}]}, r"Variant\.share must be 0 to 1, not 2"),
        ({"variants": [{"name": "a"}]}, r"Variant\.version must be given"),
        ({"variants": ["a", "b"]}, r"ExperimentPlan\.variants must be an object, not 'a'"),
        (
            {"primary": {"metric": "hit", "direction": "up"}},
            r"Goal\.direction must be one of increase, decrease",
        ),
        ({"primary": {"metric": "", "direction": "increase"}}, r"Goal\.metric must be not empty"),
        ({"alpha": 0}, r"ExperimentPlan\.alpha must be > 0 and < 0\.5"),
        ({"harm_alpha": 0.5}, r"ExperimentPlan\.harm_alpha must be > 0 and < 0\.5"),
        ({"alpha": float("inf")}, r"ExperimentPlan\.alpha must be a finite number"),
        (
            {"guardrails": limits("latency", "latency")},
            r"ExperimentPlan\.guardrails must be of different metrics",
        ),
        ({"harm": limits("abs_error", direction="increase")}, r"of one direction for metric abs_error"),
        ({"harm": [{"metric": "x", "direction": "decrease", "margin": -1}]}, r"Limit\.margin must be >= 0"),
        ({"harm": limits("x/y", "x/y")}, r"ExperimentPlan\.harm must be of different metrics"),
        (
            {"primary": PLAIN["primary"] | {"denominator": "abs_error"}},
            r"Goal\.denominator must be another metric, or null",
        ),
        ({"strategy": "USER_SEGMENT", "variants": THREE}, r"shares above 0 that add up to 1"),
        ({"minimums": {"batches": 0}}, r"Minimums\.batches must be >= 1"),
        ({"minimums": {"arrived_share": 1.5}}, r"Minimums\.arrived_share must be 0 to 1"),
        ({"batch": {"min_per_arm": 1}}, r"BatchRule\.min_per_arm must be >= 2"),
        ({"batch": {"horizon_multiple": 0.5}}, r"BatchRule\.horizon_multiple must be >= 1"),
        ({"n_star": 0}, r"ExperimentPlan\.n_star must be >= 1"),
        ({"n_star": 1.5}, r"ExperimentPlan\.n_star must be of type int"),
        ({"mde": 0}, r"ExperimentPlan\.mde must be > 0 or null"),
        ({"max_outcomes": 1999}, r"ExperimentPlan\.max_outcomes must be >= 2000 \(minimum batches"),
        ({"max_duration_ms": 0}, r"ExperimentPlan\.max_duration_ms must be >= 1 or null"),
        ({"variances": {"abs_error": 0}}, r"ExperimentPlan\.variances\.abs_error must be > 0"),
        ({"variances": [1]}, r"ExperimentPlan\.variances must be an object"),
        (
            {"base_rate": 0.1},
            r"ExperimentPlan\.base_rate must be null unless the primary is one of hit, sign_hit",
        ),
        (
            HITS | {"base_rate": 0.9, "mde": 0.2},
            r"ExperimentPlan\.base_rate must be above 0 and below 1, and so",
        ),
        (HITS | {"odds_grid": [-1.0, 1.0]}, r"ExperimentPlan\.odds_grid must be increasing log odds ratios"),
        (HITS | {"odds_grid": [0.0, 1.0]}, r"on both sides of 0, and 0 itself"),
        ({"odds_grid": [-1.0, 0.0, 1.0]}, r"empty unless a metric counts hits under PERCENTAGE_SPLIT"),
        (
            HITS | {"odds_grid": [-1.0, 0.0, 1.0], "strategy": "SHADOW_MODE"},
            r"exact odds need split events",
        ),
        ({"colour": "red"}, r"ExperimentPlan\.colour must be one of experiment, model"),
    ],
)
def test_an_impossible_plan_is_refused_with_field_and_limit(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidField, match=message):
        ExperimentPlan.from_json(PLAIN | fields)


def test_a_test_that_does_not_fit_the_mode_is_refused_with_the_reason() -> None:
    ratio = {"metric": "value.pnl", "direction": "increase", "denominator": "value.volume"}
    sticky = ExperimentPlan.from_json(PLAIN | {"strategy": "USER_SEGMENT", "primary": ratio})
    assert sticky.metrics == ("value.pnl", "value.volume")
    assert list(sticky.compared) == ["value.pnl/value.volume"]
    reason = (
        r"denominator must be null unless units are split \(USER_SEGMENT\): a ratio's variance is over units"
    )
    with pytest.raises(InvalidField, match="Goal." + reason):
        ExperimentPlan.from_json(PLAIN | {"primary": ratio})
    with pytest.raises(InvalidField, match="Limit." + reason):
        ExperimentPlan.from_json(PLAIN | {"harm": [ratio]})
    for fields in ({"base_rate": 0.5}, {"odds_grid": [-1.0, 0.0, 1.0]}):
        with pytest.raises(InvalidField, match="under PERCENTAGE_SPLIT"):
            ExperimentPlan.from_json(PLAIN | HITS | {"strategy": "USER_SEGMENT"} | fields)
    assert ExperimentPlan.from_json(PLAIN | HITS | {"strategy": "USER_SEGMENT"}).odds_grid == ()


def test_a_shadow_experiment_cannot_compare_what_only_the_served_answer_has() -> None:
    shadow = PLAIN | {"strategy": "SHADOW_MODE", "primary": {"metric": "value.pnl", "direction": "increase"}}
    with pytest.raises(InvalidField, match=r"not 'value\.pnl'"):
        ExperimentPlan.from_json(shadow)
    assert ExperimentPlan.from_json(shadow | {"strategy": "PERCENTAGE_SPLIT"}).metrics == ("value.pnl",)


def test_a_plan_survives_json_with_the_same_hash() -> None:
    plan = ExperimentPlan.from_json(
        PLAIN | {"guardrails": limits("latency"), "harm": limits("abs_error"), "variances": {"abs_error": 2}}
    )
    again = ExperimentPlan.from_json(orjson.loads(orjson.dumps(plan.to_json())))
    assert again == plan
    assert again.config_hash == plan.config_hash
    assert len(plan.config_hash) == 64
    assert plan.champion.name == "champion"
    assert [variant.name for variant in plan.treatments] == ["challenger"]
    assert plan.metrics == ("abs_error", "latency")


def test_every_change_of_a_plan_changes_its_hash() -> None:
    plan = ExperimentPlan.from_json(PLAIN)
    for change in (
        {"alpha": 0.01},
        {"n_star": 5000},
        {"harm": limits("abs_error")},
        {"batch": {"min_outcomes": 50}},
    ):
        assert ExperimentPlan.from_json(PLAIN | change).config_hash != plan.config_hash


def test_the_odds_grid_of_hits_is_frozen_with_the_plan() -> None:
    default = ExperimentPlan.from_json(PLAIN | HITS)
    assert default.odds_grid == DEFAULT_GRID
    designed = ExperimentPlan.from_json(PLAIN | HITS | {"mde": 0.1, "base_rate": 0.3})
    assert designed.odds_grid == designed_grid(0.3, 0.1)
    fewer = HITS | {"primary": {"metric": "hit", "direction": "decrease"}, "mde": 0.1, "base_rate": 0.3}
    assert ExperimentPlan.from_json(PLAIN | fewer).odds_grid == designed_grid(0.3, -0.1)
    own = ExperimentPlan.from_json(PLAIN | HITS | {"odds_grid": [-0.2, 0, 0.1]})
    for plan in (default, designed, own):
        assert ExperimentPlan.from_json(orjson.loads(orjson.dumps(plan.to_json()))) == plan
    assert len({plan.config_hash for plan in (default, designed, own)}) == 3
    guarded = ExperimentPlan.from_json(PLAIN | {"harm": limits("sign_hit", direction="increase")})
    assert guarded.odds_grid == DEFAULT_GRID
    assert ExperimentPlan.from_json(PLAIN).odds_grid == ()


def test_a_plan_of_before_the_exact_odds_keeps_its_hash_and_is_judged_without_them() -> None:
    document = ExperimentPlan.from_json({**PLAIN, **HITS}).to_json()
    new = ExperimentPlan.of_record(document)
    assert new.odds_grid
    del document["odds_grid"]
    old = ExperimentPlan.of_record(document)
    assert old.odds_grid == ()
    assert old.to_json() == document
    assert not {"base_rate", "denominator"} & {*document, *document["primary"]}
    assert ExperimentPlan.from_json(document).config_hash == new.config_hash != old.config_hash


def test_an_experiment_may_be_among_the_units_of_named_segments_only() -> None:
    split = [{**variant, "share": 0.5} for variant in PLAIN["variants"]]
    sticky = {**PLAIN, "strategy": "USER_SEGMENT", "variants": split}
    plan = ExperimentPlan.from_json({**sticky, "segments": ["retail", "vip"]})
    assert plan.segments == ("retail", "vip")
    assert plan.config_hash != ExperimentPlan.from_json(sticky).config_hash
    assert "segments" not in ExperimentPlan.from_json(sticky).to_json()
    for wrong in (["vip", "vip"], [""], [f"s{n}" for n in range(65)]):
        with pytest.raises(InvalidField, match="segments"):
            ExperimentPlan.from_json({**sticky, "segments": wrong})
    with pytest.raises(InvalidField, match="USER_SEGMENT"):
        ExperimentPlan.from_json({**sticky, "strategy": "PERCENTAGE_SPLIT", "segments": ["vip"]})


def test_a_switchback_has_a_period_and_nothing_else_has() -> None:
    switchback = {**PLAIN, "strategy": "SWITCHBACK", "period_ms": 3_600_000}
    assert ExperimentPlan.from_json(switchback).period_ms == 3_600_000
    assert "period_ms" not in ExperimentPlan.from_json(PLAIN).to_json()
    for wrong in ({"period_ms": None}, {"period_ms": 0}, {"strategy": "USER_SEGMENT"}):
        with pytest.raises(InvalidField, match="period_ms"):
            ExperimentPlan.from_json({**switchback, **wrong})
