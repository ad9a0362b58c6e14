"""Rehearsals: blocks of the past keep its time, seeds repeat them, and the judge decides."""

from itertools import islice
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta

from consumers.rehearsal.arms import Effect
from consumers.rehearsal.past import Past, block_ms, joined, outcomes_of_batch
from consumers.rehearsal.play import UNDECIDED
from consumers.rehearsal.rates import Rate, Spread, Summary
from consumers.rehearsal.runs import Rehearsals, default_mde, fixed_size, limit_of, no_effect
from consumers.rehearsal.synthetic import CHUNK, MODES, windows
from consumers.rehearsal.windows import TalliedWindow
from domain.errors import InvalidField
from tests.experiments.streams import plan
from tests.rehearsal.pasts import LENGTH_MS, body, frame, past, source

QUICK: dict[str, Any] = {
    "minimums": {"batches": 5, "outcomes_per_arm": 50},
    "batch": {"min_outcomes": 40, "min_per_arm": 10, "horizon_multiple": 1.0},
    "n_star": 1_000,
    "max_outcomes": 2_000,
}


def test_a_block_is_consecutive_and_keeps_its_gaps() -> None:
    """Windows 5 to 9 had no traffic."""
    whole = past(20)
    gapped = Past(windows=[*whole.windows[:5], *whole.windows[10:]])
    starts, turns = [], []
    for turn, window, by_ms in islice(gapped.in_blocks(4 * LENGTH_MS, source()), 200):
        starts.append(window.start_ms + by_ms)
        turns.append(turn)
        place = (window.start_ms + by_ms) // LENGTH_MS
        assert place // 4 == turn
    assert starts == sorted(starts)
    assert turns == sorted(turns)
    assert len(set(turns)) > 50


def test_the_past_in_its_order_goes_on_from_its_beginning() -> None:
    found = list(islice(past(3).in_order(), 7))
    assert [(turn, (window.start_ms + by_ms) // LENGTH_MS) for turn, window, by_ms in found] == [
        *((0, place) for place in (0, 1, 2)),
        *((1, place) for place in (3, 4, 5)),
        (2, 6),
    ]


def test_short_windows_are_joined_up_to_a_tenth_of_a_batch() -> None:
    windows = [TalliedWindow(frame=frame(number), body=body([1.0, 2.0])) for number in range(60)]
    found = joined(windows, plan("PERCENTAGE_SPLIT"))
    assert [each.moments("abs_error").n for each in found] == [10] * 12
    assert (found[1].start_ms, found[1].end_ms) == (5 * LENGTH_MS, 10 * LENGTH_MS)
    patient = plan("PERCENTAGE_SPLIT", batch={"horizon_multiple": 6_000.0})
    assert len(joined(windows, patient)) == 6, "a batch of 100 minutes: ten minutes are a tenth"


def test_a_block_lasts_four_batches_or_a_day_and_never_longer_than_the_past() -> None:
    assert block_ms(past(100), plan("PERCENTAGE_SPLIT")) == 100 * LENGTH_MS
    assert block_ms(past(5_000, 1), plan("PERCENTAGE_SPLIT")) == 86_400_000
    rare = plan("PERCENTAGE_SPLIT", batch={"min_outcomes": 1_000})
    assert block_ms(past(5_000, 1), rare) == 4_000 * LENGTH_MS


@pytest.mark.parametrize("strategy", ["PERCENTAGE_SPLIT", "SHADOW_MODE"])
@pytest.mark.parametrize("gain,kind", [(0.8, "PROMOTE"), (-0.8, "ROLL_BACK"), (0.0, "INCONCLUSIVE")])
def test_the_judge_decides_as_it_should(strategy: str, gain: float, kind: str) -> None:
    found = plan(strategy, **QUICK)
    before = past(apart=strategy == "SHADOW_MODE")
    ended = list(Rehearsals(plan=found, seed=3).over(before, Effect(gain=gain), 4, block_ms=10 * LENGTH_MS))
    assert [each.kind for each in ended].count(kind) >= 3
    summary = Summary.of(ended)
    assert summary.invalid.count == 0
    if gain:
        assert summary.outcomes.median < 2_000


def test_a_seed_repeats_a_run_whatever_the_number_of_runs() -> None:
    found = plan("PERCENTAGE_SPLIT", **QUICK)

    def ended(seed: int, runs: int) -> list[object]:
        return list(Rehearsals(plan=found, seed=seed).over(past(), Effect(), runs, block_ms=LENGTH_MS * 5))

    assert ended(1, 3)[:2] == ended(1, 2)
    assert ended(1, 2) != ended(2, 2)


def test_a_past_of_slow_batches_is_rehearsed_long_enough() -> None:
    """Twenty outcomes a minute, and a batch lasts as long as five periods of ten minutes."""
    slow = {**QUICK, "max_outcomes": None, "n_star": 200, "period_ms": 600_000}
    found = plan("SWITCHBACK", **{**slow, "batch": {"min_outcomes": 40}})
    assert outcomes_of_batch(past(), found) == 1_000
    assert limit_of(found, 1_000) == 25_000
    assert block_ms(past(400), found) == 400 * LENGTH_MS


def test_what_has_no_horizon_is_given_up() -> None:
    found = plan("PERCENTAGE_SPLIT", **{**QUICK, "max_outcomes": None, "n_star": 200})
    (ended,) = Rehearsals(plan=found, seed=1).over(past(), no_effect(found), 1, block_ms=None)
    assert ended.kind == UNDECIDED
    assert ended.outcomes >= limit_of(found) == 1_000


def test_an_arm_that_gets_nothing_does_not_play_for_ever() -> None:
    found = plan("PERCENTAGE_SPLIT", **{**QUICK, "primary": {"metric": "brier", "direction": "decrease"}})
    (ended,) = Rehearsals(plan=found, seed=1).over(past(), no_effect(found), 1, block_ms=None)
    assert (ended.kind, ended.batches) == (UNDECIDED, 0)


@pytest.mark.parametrize(
    "mode,strategy", [(mode, strategy) for mode, made in MODES.items() for strategy in made.strategies]
)
def test_every_made_up_past_can_be_rehearsed(mode: str, strategy: str) -> None:
    period = {"period_ms": 60_000} if strategy == "SWITCHBACK" else {}
    found = plan(strategy, **{**QUICK, **period, "max_outcomes": 800})
    runs = Rehearsals(plan=found, seed=1)
    assert [each.kind for each in runs.made_up(mode, no_effect(found), 2, {})] == ["INCONCLUSIVE"] * 2
    scaled = [runs.made_up(mode, Effect(gain=gain), 2, {"abs_error": 5.0}) for gain in (40.0, 1e-9)]
    assert [[each.kind for each in ended] for ended in scaled] == [["PROMOTE"] * 2, ["INCONCLUSIVE"] * 2]


def test_a_goal_of_no_inferiority_is_tried_at_its_margin() -> None:
    found = plan("PERCENTAGE_SPLIT", primary={"metric": "abs_error", "direction": "decrease", "margin": 0.2})
    assert no_effect(found).gain == -0.2


def test_fixed_sizes_are_those_of_the_formula() -> None:
    found = plan("PERCENTAGE_SPLIT", n_star=10_000)
    # a test at 1.645 and a power at 0.842 standard errors, shares of a half
    assert fixed_size(found, 0.1, 1.0) == 2_474
    assert fixed_size(plan("SHADOW_MODE"), 0.1, 1.0) == 619
    assert fixed_size(found, 0.0, 1.0) is None
    assert fixed_size(plan("USER_SEGMENT"), 0.1, 1.0) is None
    assert fixed_size(found, default_mde(found, 4.0), 4.0) in (10_000, 10_001)


def test_a_ratio_needs_an_mde() -> None:
    goal = {"metric": "value.pnl", "direction": "increase", "denominator": "value.volume"}
    with pytest.raises(InvalidField, match="given where the goal is a ratio"):
        default_mde(plan("USER_SEGMENT", primary=goal), 1.0)
    assert default_mde(plan("USER_SEGMENT", primary=goal, mde=0.3), 1.0) == 0.3


@pytest.mark.parametrize("count,runs", [(0, 59), (3, 100), (100, 100), (50, 51)])
def test_bounds_are_clopper_and_pearsons(count: int, runs: int) -> None:
    rate = Rate(count, runs)
    assert rate.lower == pytest.approx(beta.ppf(0.05, count, runs - count + 1) if count else 0.0)
    assert rate.upper == pytest.approx(beta.ppf(0.95, count + 1, runs - count) if count < runs else 1.0)


def test_quartiles_lie_between_the_values() -> None:
    assert Spread.of([1.0, 2.0, 3.0, 4.0, 5.0]) == Spread(mean=3.0, lower=2.0, median=3.0, upper=4.0)
    assert Spread.of([]) is None


def test_a_made_up_path_goes_on_from_chunk_to_chunk() -> None:
    """Neighbours among outcomes that overlap by 20 have 19 of 20 steps in common, at a chunk's border too."""
    found = plan("SHADOW_MODE")
    drawn = [
        window.outcomes(2, source()).columns["abs_error"].values
        for _, window, _ in islice(windows(found, "overlap", {}, source()), 20 * CHUNK)
    ]
    path = np.concatenate(drawn, axis=1)
    assert path.var(axis=1) == pytest.approx([1.0, 1.0], abs=0.1)
    assert abs((path[0] * path[1]).mean()) < 0.2
    borders = np.arange(1, 20) * path.shape[1] // 20
    jumps = path[:, borders] - path[:, borders - 1]
    assert jumps.var() == pytest.approx(2 / 20, rel=0.6)
