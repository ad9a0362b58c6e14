"""Bucket-ADWIN finds a changed error level within a few windows, and says which way it went."""

import random
from collections.abc import Sequence

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.drift.adwin import AdwinFinding, AdwinPolicy, AdwinState, step
from domain.errors import InvalidField
from tests.reference.cases import CASES

POLICY = AdwinPolicy()


def tally(values: np.ndarray) -> tuple[int, float, float]:
    mean = float(values.mean())
    return len(values), mean, float(((values - mean) ** 2).sum())


def errors(generator: np.random.Generator, rates: Sequence[float]) -> list[tuple[int, float, float]]:
    return [tally((generator.random(100) < rate).astype(float)) for rate in rates]


def run(
    tallies: Sequence[tuple[int, float, float]], policy: AdwinPolicy = POLICY
) -> tuple[AdwinState, list[AdwinFinding | None]]:
    state, found = AdwinState(), []
    for n, mean, M2 in tallies:
        state, finding = step(policy, state, n, mean, M2)
        found.append(finding)
    return state, found


def test_a_doubled_error_rate_is_found_in_few_windows() -> None:
    delays = []
    for seed in range(5):
        _, found = run(errors(np.random.default_rng(seed), [0.1] * 150 + [0.2] * 15))
        assert not any(found[:150])
        delays.append(next(k for k, finding in enumerate(found[150:], start=1) if finding))
        first = found[149 + delays[-1]]
        assert first is not None
        assert first.upward
        assert first.statistic > first.threshold
        assert first.mean_before == pytest.approx(0.1, abs=0.02)
    assert sorted(delays)[2] <= 5


def test_an_improvement_is_a_downward_cut_and_the_level_follows() -> None:
    state, found = run(errors(np.random.default_rng(7), [0.3] * 60 + [0.1] * 40))
    cuts = [finding for finding in found if finding]
    assert cuts
    assert not any(finding.upward for finding in cuts)
    assert state.mean == pytest.approx(0.1, abs=0.02)


def test_a_steady_stream_stays_silent_and_small() -> None:
    state, found = run(errors(np.random.default_rng(8), [0.3] * 600))
    assert not any(found)
    assert state.n == 60_000
    assert len(state.buckets) <= 5 * 10


def test_dependent_items_alarm_without_phi_and_not_with_it() -> None:
    generator = np.random.default_rng(9)
    level = 0.0
    tallies = []
    for _ in range(200):
        level = 0.8 * level + 0.2 * generator.standard_normal()
        tallies.append(tally(generator.standard_normal(100) * 0.3 + level))
    assert any(run(tallies)[1])
    assert not any(run(tallies, AdwinPolicy(phi=100.0))[1])


def test_it_finds_the_jump_of_rivers_docstring_no_later_than_river() -> None:
    generator = random.Random(12345)
    stream = generator.choices([0, 1], k=1000) + generator.choices(range(4, 8), k=1000)
    _, found = run([(1, float(value), 0.0) for value in stream[:1100]])
    first = next(k for k, finding in enumerate(found) if finding)
    # river looks at every 32nd item only; we look at each
    assert 1000 <= first <= CASES["D9"]["out"]


def test_an_empty_window_changes_nothing() -> None:
    state, _ = run([(10, 0.5, 1.0)])
    assert step(POLICY, state, 0, 0.0, 0.0) == (state, None)
    assert AdwinState().mean is None


@given(
    st.lists(st.tuples(st.integers(0, 50), st.floats(-10, 10), st.floats(0, 5)), min_size=1, max_size=60),
    st.data(),
)
def test_a_restart_at_any_window_goes_on_the_same(
    tallies: list[tuple[int, float, float]], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(tallies)))
    straight, restarted = AdwinState(), AdwinState()
    for k, (n, mean, M2) in enumerate(tallies):
        if k == cut:
            restarted = AdwinState.from_json(orjson.loads(orjson.dumps(restarted.to_json())))
        straight, left = step(POLICY, straight, n, mean, M2)
        restarted, right = step(POLICY, restarted, n, mean, M2)
        assert left == right
    assert orjson.dumps(straight.to_json()) == orjson.dumps(restarted.to_json())


@given(st.lists(st.lists(st.floats(-3, 3), min_size=1, max_size=8), min_size=1, max_size=40))
def test_without_a_cut_the_state_holds_exactly_what_came(windows: list[list[float]]) -> None:
    # a confidence that never cuts leaves the merging of buckets alone
    state, found = run([tally(np.array(values)) for values in windows], AdwinPolicy(scale=1e6))
    every = np.concatenate([np.array(values) for values in windows])
    assert not any(found)
    assert state.n == len(every)
    assert state.mean == pytest.approx(float(every.mean()), abs=1e-9)
    levels = [bucket.level for bucket in state.buckets]
    assert levels == sorted(levels, reverse=True)
    assert all(levels.count(level) <= POLICY.cap for level in levels)


@pytest.mark.parametrize(
    "field, value", [("delta", 1.0), ("cap", 1), ("min_windows", 1), ("phi", 0.5), ("scale", -1.0)]
)
def test_an_impossible_policy_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(InvalidField, match=rf"AdwinPolicy\.{field} must be"):
        AdwinPolicy.from_json({field: value})


def test_a_policy_survives_json() -> None:
    policy = AdwinPolicy(delta=0.01, phi=2.5)
    assert AdwinPolicy.from_json(policy.to_json()) == policy


def test_a_finding_says_how_long_ago_the_level_changed() -> None:
    generator = np.random.default_rng(21)
    _, found = run(errors(generator, [0.1] * 100 + [0.14] * 60))
    at = next(k for k, finding in enumerate(found) if finding)
    first = found[at]
    assert first is not None
    delay = at - 99
    assert delay > 1
    # the cut lies between two buckets, so near the change but seldom on it
    assert delay / 2 <= first.windows_after <= 3 * delay
