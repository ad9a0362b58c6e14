"""An experiment closes batches blindly, gives at most one verdict, and goes on the same after a restart."""

from collections.abc import Sequence

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.experiments.scores import WindowScores
from domain.experiments.state import ExperimentState
from domain.experiments.step import OutOfOrder, step
from domain.experiments.verdict import report, standings
from tests.experiments.streams import (
    MINUTE_MS,
    Body,
    arm,
    hit_arm,
    kind,
    moments,
    plan,
    run,
    shadow_arm,
    split_arms,
    windows,
)


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_better_challenger_is_promoted_with_the_numbers_behind_it() -> None:
    chosen = plan()
    state, found = run(chosen, windows(split_arms(generator(1), 200, gain=0.3)))
    assert found is not None
    assert (found.kind, found.treatment) == ("PROMOTE", "challenger-1")
    assert state.batches == chosen.minimums.batches
    assert found.at_ms == state.due_ms == state.batches * MINUTE_MS + 1000
    primary = found.evidence["treatments"]["challenger-1"]["primary"]
    assert primary["lower"] > 0
    assert primary["lower"] < primary["estimate"] < primary["upper"]
    assert primary["log_e"] >= primary["threshold"] == pytest.approx(np.log(20))
    assert found.evidence["config_hash"] == chosen.config_hash
    assert found.evidence["arms"]["champion"] == {"n": 1000, "matched": 1000, "missing": 0}
    assert "challenger-1 is better on abs_error: gain 0.297" in found.rule
    orjson.dumps(found.evidence)


def test_a_worse_challenger_is_rolled_back_before_the_minimums() -> None:
    state, found = run(plan(), windows(split_arms(generator(2), 200, gain=-0.6)))
    assert found is not None
    assert (found.kind, found.treatment) == ("ROLL_BACK", "challenger-1")
    assert state.batches < 20
    assert "challenger-1 is worse on abs_error" in found.rule


def test_with_a_known_variance_harm_is_seen_from_the_first_batches() -> None:
    known = plan(variances={"abs_error": 1.0})
    state, found = run(known, windows(split_arms(generator(2), 200, gain=-1.5)))
    assert found is not None
    assert found.kind == "ROLL_BACK"
    # the between-batch variance holds back one or two batches: they cannot show their own spread
    assert 3 <= state.batches < 10


def test_harm_is_not_declared_on_a_handful_of_outcomes() -> None:
    tiny = plan(variances={"abs_error": 1.0}, batch={"min_outcomes": 4, "min_per_arm": 2})
    state, found = run(tiny, windows(split_arms(generator(2), 200, gain=-9.0, per_arm=2)))
    assert found is not None
    assert found.kind == "ROLL_BACK"
    assert state.totals["champion"].n == 30


def test_a_large_effect_does_not_pass_for_noise_when_rho_is_tuned() -> None:
    state, _ = run(plan(), windows(split_arms(generator(31), 10, gain=3.0)))
    assert state.track("challenger-1", "abs_error").unit_variance == pytest.approx(0.25, rel=0.3)


def test_increase_and_decrease_are_mirror_images() -> None:
    chosen = plan(primary={"metric": "abs_error", "direction": "increase"}, harm=[])
    _, found = run(chosen, windows(split_arms(generator(1), 200, gain=-0.3)))
    assert found is not None
    assert found.kind == "PROMOTE"
    assert found.evidence["treatments"]["challenger-1"]["primary"]["estimate"] > 0


def test_the_horizon_ends_without_a_decision() -> None:
    chosen = plan(max_outcomes=2500)
    state, found = run(chosen, windows(split_arms(generator(3), 100, gain=0.0)))
    assert found is not None
    assert (found.kind, found.treatment) == ("INCONCLUSIVE", None)
    assert found.rule == "reached the horizon of 2500 outcomes"
    assert state.outcomes == 2500


def test_an_arm_without_traffic_cannot_keep_an_experiment_open() -> None:
    lonely = [{"champion": arm({"abs_error": np.ones(50)})} for _ in range(20)]
    state, found = run(plan(max_duration_ms=10 * MINUTE_MS), windows(lonely))
    assert found is not None
    assert (found.kind, found.at_ms) == ("INCONCLUSIVE", 10 * MINUTE_MS + 1000)
    assert state.batches == 0
    assert found.evidence["treatments"]["challenger-1"]["primary"]["estimate"] is None


def test_an_effect_that_cannot_be_worth_it_is_given_up() -> None:
    _, found = run(plan(mde=0.5), windows(split_arms(generator(4), 300, gain=0.0)))
    assert found is not None
    assert found.kind == "INCONCLUSIVE"
    assert found.rule == "no treatment can gain 0.5 on abs_error"


def test_without_a_maximum_the_mde_gives_one_but_never_below_the_minimum_batches() -> None:
    small = plan(mde=0.1, variances={"abs_error": 1.0})
    _, found = run(small, windows(split_arms(generator(30), 300, gain=0.07)))
    assert found is not None
    # 1.75 (z_.05 + z_.2)^2 * 4 var / mde^2
    assert found.evidence["max_outcomes"] == 4328
    large = plan(mde=9.0)
    state, found = run(large, windows(split_arms(generator(4), 300, gain=0.0)))
    assert found is not None
    assert found.evidence["max_outcomes"] < 10
    assert state.batches == 20


def test_a_guardrail_without_evidence_blocks_promotion() -> None:
    guarded = plan(
        guardrails=[{"metric": "latency", "direction": "decrease", "margin": 0.2}], max_outcomes=6000
    )

    def arms(latency: float) -> list[dict[str, Body]]:
        source = generator(5)
        return [
            {
                "champion": arm({"abs_error": source.standard_normal(50), "latency": source.random(50)}),
                "challenger-1": arm(
                    {"abs_error": source.standard_normal(50) - 0.4, "latency": source.random(50) + latency}
                ),
            }
            for _ in range(60)
        ]

    assert kind(run(guarded, windows(arms(0.0)))[1]) == "PROMOTE"
    assert kind(run(guarded, windows(arms(0.5)))[1]) == "INCONCLUSIVE"


def test_a_non_inferior_challenger_is_promoted_within_its_margin() -> None:
    equal = split_arms(generator(6), 120, gain=0.0)
    goal = {"metric": "abs_error", "direction": "decrease", "margin": 0.3}
    assert kind(run(plan(primary=goal, harm=[]), windows(equal))[1]) == "PROMOTE"
    assert run(plan(harm=[]), windows(equal))[1] is None


def test_a_broken_split_blocks_promotion_but_not_harm() -> None:
    def uneven(gain: float) -> list[dict[str, Body]]:
        source = generator(7)
        return [
            {
                "champion": arm({"abs_error": source.standard_normal(70)}),
                "challenger-1": arm({"abs_error": source.standard_normal(40) - gain}),
            }
            for _ in range(60)
        ]

    state, found = run(plan(), windows(uneven(0.5)))
    assert found is None
    assert state.invalid == ("sample_ratio", "outcome_arrivals")
    _, found = run(plan(), windows(uneven(-0.5)))
    assert found is not None
    assert found.kind == "ROLL_BACK"


def test_late_labels_and_an_unfinished_season_hold_promotion_back() -> None:
    source = generator(8)
    late = [
        {
            "champion": arm({"abs_error": source.standard_normal(50)}, missing=10),
            "challenger-1": arm({"abs_error": source.standard_normal(50) - 0.5}, missing=10),
        }
        for _ in range(40)
    ]
    state, found = run(plan(), windows(late))
    assert found is None
    waits = report(plan(), state, standings(plan(), state))["unmet_minimums"]
    assert waits == ["0.8333 of 0.95 of the outcomes arrived"]
    seasonal = plan(minimums={"season_ms": 30 * MINUTE_MS})
    state, found = run(seasonal, windows(split_arms(generator(1), 100, gain=0.5)))
    assert found is not None
    assert state.batches == 30


def test_several_treatments_share_alpha_and_the_surest_wins() -> None:
    source = generator(9)
    arms = [
        {
            "champion": arm({"abs_error": source.standard_normal(40)}),
            "challenger-1": arm({"abs_error": source.standard_normal(40) - 0.4}),
            "challenger-2": arm({"abs_error": source.standard_normal(40) - 0.7}),
        }
        for _ in range(60)
    ]
    _, found = run(plan(treatments=2), windows(arms))
    assert found is not None
    assert (found.kind, found.treatment) == ("PROMOTE", "challenger-2")
    assert found.evidence["treatments"]["challenger-1"]["primary"]["threshold"] == pytest.approx(np.log(40))


def test_a_shadow_experiment_compares_pairs() -> None:
    source = generator(10)
    arms = [{"challenger-1": shadow_arm(source.normal(-0.1, 0.5, 100))} for _ in range(60)]
    _, found = run(plan("SHADOW_MODE"), windows(arms))
    assert found is not None
    assert found.kind == "PROMOTE"
    assert found.evidence["treatments"]["challenger-1"]["primary"]["estimate"] == pytest.approx(0.1, abs=0.04)


def test_hits_of_a_shadow_experiment_need_both_mcnemar_and_the_paired_contrast() -> None:
    goal = {"metric": "hit", "direction": "increase"}
    chosen = plan("SHADOW_MODE", primary=goal, harm=[])
    steady = [{"challenger-1": hit_arm(6, 2, 100)} for _ in range(40)]
    _, found = run(chosen, windows(steady))
    assert found is not None
    primary = found.evidence["treatments"]["challenger-1"]["primary"]
    assert (primary["only_treatment_right"], primary["only_champion_right"]) == (120, 40)
    assert primary["log_e"] == min(primary["mcnemar_log_e"], primary["contrast_log_e"])
    # the same sums in bursts, as overlapping outcomes make them: McNemar alone would promote at once
    bursts = [{"challenger-1": hit_arm(*((60, 0) if k % 2 else (0, 50)), 100)} for k in range(40)]
    state, found = run(chosen, windows(bursts))
    assert found is None
    primary = report(chosen, state, standings(chosen, state))["treatments"]["challenger-1"]["primary"]
    assert primary["mcnemar_log_e"] > primary["threshold"] > primary["contrast_log_e"]


def test_batches_close_by_counts_and_time_only() -> None:
    few = split_arms(generator(11), 7, gain=0.0, per_arm=30)
    assert run(plan(), windows(few))[0].batches == 3  # 60 a window: two windows are a batch
    # a label horizon of two minutes makes batches of ten windows, however many outcomes there are
    many = split_arms(generator(11), 25, gain=0.0)
    state, _ = run(plan(), windows(many, horizon_s=120))
    assert (state.batches, state.batch.windows) == (2, 5)
    thin = [{**one, "challenger-1": arm({"abs_error": np.ones(4)})} for one in many]
    assert run(plan(), windows(thin))[0].batches == 8  # ten in each arm take three windows


def test_the_blind_rule_does_not_see_values() -> None:
    calm = run(plan(harm=[]), windows(split_arms(generator(12), 15, gain=0.0, per_arm=20)))[0]
    wild = run(plan(harm=[]), windows(split_arms(generator(12), 15, gain=9.0, per_arm=20)))[0]
    assert (calm.batches, calm.batch.windows, calm.last_ms) == (
        wild.batches,
        wild.batch.windows,
        wild.last_ms,
    )


def test_rho_never_follows_the_data_after_it_is_frozen() -> None:
    quiet, loud = split_arms(generator(13), 10, gain=0.0), split_arms(generator(14), 20, gain=0.0)
    state, _ = run(plan(), windows(quiet))
    frozen = state.track("challenger-1", "abs_error").unit_variance
    assert frozen == pytest.approx(0.25, rel=0.2)
    for one in loud:
        one["champion"] = {**one["champion"], "metrics": {"abs_error": moments(np.arange(50) * 100.0)}}
    later = [
        WindowScores(
            window_start_ms=scores.window_start_ms + 10 * MINUTE_MS,
            window_end_ms=scores.window_end_ms + 10 * MINUTE_MS,
            due_ms=scores.due_ms + 10 * MINUTE_MS,
            horizon_s=1,
            arms=scores.arms,
        )
        for scores in windows(loud)
    ]
    state, _ = run(plan(harm=[]), later, state)
    assert state.batches > 10
    assert state.track("challenger-1", "abs_error").unit_variance == frozen


def test_after_the_verdict_nothing_changes_any_more() -> None:
    every = list(windows(split_arms(generator(1), 40, gain=0.5)))
    state, found = run(plan(), every)
    assert found is not None
    assert state.verdict == "PROMOTE"
    for window in every:
        assert step(plan(), state, window) == (state, None)


def test_a_window_out_of_order_is_refused_and_changes_nothing() -> None:
    first, second = windows(split_arms(generator(15), 2, gain=0.0))
    state, _ = step(plan(), ExperimentState(), second)
    before = orjson.dumps(state.to_json())
    with pytest.raises(OutOfOrder, match="window due at 61000 after one due at 121000"):
        step(plan(), state, first)
    assert orjson.dumps(state.to_json()) == before


def test_arms_and_metrics_that_the_plan_does_not_name_are_ignored() -> None:
    arms = split_arms(generator(16), 5, gain=0.0)
    noisy = [{**one, "stranger": arm({"abs_error": np.ones(9), "other": np.ones(9)})} for one in arms]
    assert run(plan(), windows(noisy)) == run(plan(), windows(arms))


def test_identical_models_never_decide_and_never_fail() -> None:
    arms = [{"challenger-1": shadow_arm(np.zeros(100))} for _ in range(40)]
    state, found = run(plan("SHADOW_MODE"), windows(arms))
    assert found is None
    assert state.track("challenger-1", "abs_error").unit_variance is None


def test_the_state_does_not_grow() -> None:
    sizes = []
    for count in (50, 500):
        state, _ = run(plan(harm=[], alpha=1e-9), windows(split_arms(generator(17), count, gain=0.0)))
        sizes.append(len(orjson.dumps(state.to_json())))
    assert sizes[1] < sizes[0] * 1.2


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.sampled_from(["PERCENTAGE_SPLIT", "SHADOW_MODE"]))
def test_a_restart_at_any_window_goes_on_to_the_same_bytes(seed: int, cut: int, strategy: str) -> None:
    source = generator(seed)
    if strategy == "SHADOW_MODE":
        arms = [{"challenger-1": shadow_arm(source.normal(-0.1, 0.3, 40))} for _ in range(60)]
    else:
        arms = split_arms(source, 60, gain=0.4, per_arm=30)
    chosen, straight, restarted = plan(strategy), ExperimentState(), ExperimentState()
    for k, window in enumerate(windows(arms)):
        if k == cut:
            restarted = ExperimentState.from_json(orjson.loads(orjson.dumps(restarted.to_json())))
        straight, left = step(chosen, straight, window)
        restarted, right = step(chosen, restarted, window)
        assert left == right
    option = orjson.OPT_SORT_KEYS
    assert orjson.dumps(straight.to_json(), option=option) == orjson.dumps(restarted.to_json(), option=option)


@settings(max_examples=20)
@given(st.permutations(range(5)), st.integers(0, 2**32 - 1))
def test_the_order_of_windows_inside_a_batch_matters_to_rounding_only(
    order: Sequence[int], seed: int
) -> None:
    arms = split_arms(generator(seed), 5, gain=0.1, per_arm=10)
    one, _ = run(plan(), windows(arms))
    other, _ = run(plan(), windows([arms[k] for k in order]))
    assert one.batches == other.batches == 1
    left = one.track("challenger-1", "abs_error").contrast.to_json()
    right = other.track("challenger-1", "abs_error").contrast.to_json()
    assert left == pytest.approx(right, rel=1e-9, abs=1e-12)
