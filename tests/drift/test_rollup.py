"""The roll-up test sees what moved, keeps its false-alarm budget, and forgets nothing over a restart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.drift.blocks import Seasonal
from domain.drift.chisquare import tolerant_p_value
from domain.drift.rollup import CellsDiffer, RollUpFinding, RollUpPolicy, RollUpState, step
from domain.errors import InvalidField


@dataclass(frozen=True)
class FrozenReference:
    counts: tuple[int, ...]
    phi: float = 1.0


EVEN = FrozenReference((1000,) * 10 + (0, 0))
POLICY = RollUpPolicy()


def window(generator: np.random.Generator, weights: Sequence[float], items: int = 100) -> list[int]:
    shares = np.array(weights) / np.sum(weights)
    return [*generator.multinomial(items, shares).tolist(), 0, 0]


def run(
    policy: RollUpPolicy,
    references: Mapping[str, FrozenReference],
    windows: Sequence[Mapping[str, Sequence[int]]],
) -> list[RollUpFinding | None]:
    state, found = RollUpState(), []
    for one in windows:
        state, finding = step(policy, state, references, one)
        found.append(finding)
    return found


def test_stationary_windows_hardly_ever_alarm() -> None:
    generator = np.random.default_rng(1)
    reference = FrozenReference((*generator.multinomial(10_000, np.full(10, 0.1)).tolist(), 0, 0))
    names = ("a", "b", "c")
    windows = [{name: window(generator, [1] * 10) for name in names} for _ in range(1500)]
    assert run(POLICY, dict.fromkeys(names, reference), windows) == [None] * 1500


def test_a_large_shift_is_found_at_once_and_named() -> None:
    generator = np.random.default_rng(2)
    shifted = [0.2] * 5 + [1.8] * 5
    windows = [{"still": window(generator, [1] * 10), "moved": window(generator, shifted)} for _ in range(4)]
    findings = [found for found in run(POLICY, {"still": EVEN, "moved": EVEN}, windows) if found]
    assert findings
    assert findings[0].severity == "drift"
    assert all(found.features == ("moved",) for found in findings)
    assert findings[0].p_value < findings[0].threshold
    assert findings[0].moved[0].reference == EVEN.counts


def test_a_small_shift_needs_a_long_block_and_is_only_a_warning() -> None:
    generator = np.random.default_rng(3)
    moved = [0.8] * 5 + [1.2] * 5  # PSI .041: over .02, under .10
    found = [f for f in run(POLICY, {"x": EVEN}, [{"x": window(generator, moved)} for _ in range(64)]) if f]
    assert found
    assert found[0].block_windows >= 8
    assert {finding.severity for finding in found} == {"warn"}
    assert found[0].sample_size == found[0].block_windows * 100


def test_a_shift_within_the_tolerance_is_tolerated_for_ever() -> None:
    generator = np.random.default_rng(4)
    moved = [0.9] * 5 + [1.1] * 5  # PSI .010
    assert not any(run(POLICY, {"x": EVEN}, [{"x": window(generator, moved)} for _ in range(512)]))
    strict = RollUpPolicy(tolerance_warn=0.0, levels=7)
    assert any(run(strict, {"x": EVEN}, [{"x": window(generator, moved)} for _ in range(512)]))


def test_overdispersed_windows_alarm_without_phi_and_not_with_it() -> None:
    generator = np.random.default_rng(5)
    # each window is 20 distinct draws repeated five times: counts vary five times as much
    windows = [{"x": [5 * count for count in window(generator, [1] * 10, 20)]} for _ in range(400)]
    assert any(run(POLICY, {"x": EVEN}, windows))
    assert not any(run(POLICY, {"x": FrozenReference(EVEN.counts, phi=5.0)}, windows))


def test_missing_and_unseen_values_are_drift_too() -> None:
    windows = [{"x": [8] * 10 + [20, 0]}, {"x": [8] * 10 + [0, 20]}]
    assert all(run(POLICY, {"x": EVEN}, windows))


def test_blocks_smaller_than_the_minimum_are_not_tested() -> None:
    absurd = [{"x": [10] + [0] * 11} for _ in range(16)]
    found = run(POLICY, {"x": EVEN}, absurd)
    assert [finding.block_windows for finding in found if finding] == [16]
    assert found[15] is not None


def test_a_feature_absent_from_windows_brings_no_data() -> None:
    generator = np.random.default_rng(6)
    shifted = [0.2] * 5 + [1.8] * 5
    windows = [
        {"x": window(generator, shifted)} if k % 2 else {"y": window(generator, [1] * 10)} for k in range(8)
    ]
    found = run(POLICY, {"x": EVEN, "y": EVEN}, windows)
    assert found[0] is None
    assert found[1] is not None
    assert found[1].features == ("x",)


def test_a_feature_without_reference_or_not_chosen_is_ignored() -> None:
    shifted = {"x": [100] + [0] * 11}
    assert run(POLICY, {}, [shifted]) == [None]
    assert run(RollUpPolicy(features=("y",)), {"x": EVEN}, [shifted]) == [None]


def test_other_cells_than_the_reference_are_refused_and_change_nothing() -> None:
    state, _ = step(POLICY, RollUpState(), {"x": EVEN}, {"x": EVEN.counts})
    before = orjson.dumps(state.to_json())
    with pytest.raises(CellsDiffer, match="feature x: 3 cells in the window, 12 in the reference"):
        step(POLICY, state, {"x": EVEN}, {"x": [1, 2, 3]})
    assert orjson.dumps(state.to_json()) == before


@given(
    st.lists(st.lists(st.integers(0, 40), min_size=4, max_size=4), min_size=1, max_size=40), st.integers(2, 4)
)
def test_each_block_is_the_sum_of_its_windows(windows: list[list[int]], ratio: int) -> None:
    policy = RollUpPolicy(
        levels=4, ratio=ratio, min_items=1, false_alarms_per_window=1e-3, tolerance_warn=0.0
    )
    reference = FrozenReference((300, 300, 300, 100))
    found = run(policy, {"x": reference}, [{"x": counts} for counts in windows])
    for k, finding in enumerate(found, start=1):
        hits = []
        for index in range(4):
            size = ratio**index
            if k % size == 0:
                block = [sum(cell) for cell in zip(*windows[k - size : k], strict=True)]
                if sum(block) and tolerant_p_value(reference.counts, block) <= policy.level(index):
                    hits.append((size, sum(block)))
        if finding is None:
            assert not hits
        else:
            assert (finding.block_windows, finding.sample_size) in hits


@given(st.lists(st.lists(st.integers(0, 60), min_size=3, max_size=3), min_size=1, max_size=30), st.data())
def test_a_restart_at_any_window_goes_on_the_same(windows: list[list[int]], data: st.DataObject) -> None:
    references = {"x": FrozenReference((50, 50, 1)), "y": FrozenReference((10, 90, 2))}
    cut = data.draw(st.integers(0, len(windows)))
    straight, restarted = RollUpState(), RollUpState()
    for k, counts in enumerate(windows):
        if k == cut:
            restarted = RollUpState.from_json(orjson.loads(orjson.dumps(restarted.to_json())))
        one = {"x": counts, "y": counts[::-1]} if k % 3 else {"x": counts}
        straight, left = step(POLICY, straight, references, one)
        restarted, right = step(POLICY, restarted, references, one)
        assert left == right
    assert orjson.dumps(straight.to_json()) == orjson.dumps(restarted.to_json())


@pytest.mark.parametrize(
    "fields, named",
    [
        ({"tolerance_warn": -0.1}, "tolerance_warn"),
        ({"tolerance_drift": 0.001}, "tolerance_drift"),
        ({"levels": 0}, "levels"),
        ({"ratio": 1}, "ratio"),
        ({"false_alarms_per_window": 0.2}, "false_alarms_per_window"),
        ({"min_items": 0}, "min_items"),
        ({"levels": True}, "levels"),
        ({"tolerance_warn": "much"}, "tolerance_warn"),
        ({"tolerance_warn": float("nan")}, "tolerance_warn"),
        ({"features": "all"}, "features"),
        ({"speed": 1}, "speed"),
    ],
)
def test_an_impossible_policy_is_refused_by_name(fields: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidField, match=rf"RollUpPolicy\.{named} must be"):
        RollUpPolicy.from_json(fields)


def test_a_policy_survives_json() -> None:
    policy = RollUpPolicy(tolerance_warn=0.03, levels=9, features=("a", "b"))
    assert RollUpPolicy.from_json(orjson.loads(orjson.dumps(policy.to_json()))) == policy


DAY_AND_NIGHT = ((900, 100, 0, 0), (100, 900, 0, 0))
CYCLE = {"x": FrozenReference((1000, 1000, 0, 0))}


def season_run(windows: Sequence[Sequence[int]], seasonal: bool = True) -> list[RollUpFinding | None]:
    state, found = RollUpState(), []
    for k, counts in enumerate(windows):
        slot = Seasonal(slot=k % 2, references={"x": DAY_AND_NIGHT}) if seasonal else None
        state, finding = step(POLICY, state, CYCLE, {"x": counts}, slot)
        found.append(finding)
    return found


def cycle(generator: np.random.Generator, windows: int, moved: float = 0.0) -> list[list[int]]:
    return [window(generator, [share, 1 - share]) for share in [0.9 - moved, 0.1 + moved] * (windows // 2)]


def test_a_cycle_that_the_reference_knows_is_no_drift_and_without_slots_it_alarms_for_ever() -> None:
    windows = cycle(np.random.default_rng(11), 512)
    assert not any(season_run(windows))
    blind = season_run(windows, seasonal=False)
    assert all(blind[k] for k in range(512) if (k + 1) % 2)


def test_a_drift_within_the_cycle_is_found_although_the_mixture_stays_the_same() -> None:
    windows = cycle(np.random.default_rng(12), 8, moved=0.25)
    found = [finding for finding in season_run(windows) if finding]
    assert "drift" in {finding.severity for finding in found}
    assert found[0].moved[0].reference == tuple(map(float, DAY_AND_NIGHT[0]))


def test_a_long_block_is_compared_with_the_mixture_of_its_slots() -> None:
    generator = np.random.default_rng(13)
    moved = [window(generator, [share, 1 - share]) for share in [0.75, 0.0] * 32]
    found = [finding for finding in season_run(moved) if finding and finding.block_windows > 1]
    assert found
    assert sum(found[0].moved[0].reference) == pytest.approx(2000)


def test_a_window_of_a_slot_without_reference_brings_no_data() -> None:
    empty = Seasonal(slot=1, references={"x": ((900, 100, 0, 0), (0, 0, 0, 0))})
    state, found = step(POLICY, RollUpState(), CYCLE, {"x": [0, 100, 0, 0]}, empty)
    assert found is None
    assert state.waiting[0] == {}


@given(st.lists(st.lists(st.integers(0, 60), min_size=4, max_size=4), min_size=1, max_size=20), st.data())
def test_a_restart_keeps_the_items_per_slot(windows: list[list[int]], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(windows)))
    straight, restarted = RollUpState(), RollUpState()
    for k, counts in enumerate(windows):
        if k == cut:
            restarted = RollUpState.from_json(orjson.loads(orjson.dumps(restarted.to_json())))
        slot = Seasonal(slot=k % 2, references={"x": DAY_AND_NIGHT})
        straight, left = step(POLICY, straight, CYCLE, {"x": counts}, slot)
        restarted, right = step(POLICY, restarted, CYCLE, {"x": counts}, slot)
        assert left == right
    assert orjson.dumps(straight.to_json()) == orjson.dumps(restarted.to_json())


def test_without_a_season_the_state_is_written_as_before() -> None:
    state, _ = step(POLICY, RollUpState(), {"x": EVEN}, {"x": EVEN.counts})
    assert state.to_json() == {
        "windows": 1,
        "waiting": [{"x": list(EVEN.counts)}, {}, {}, {}, {}, {}],
    }
