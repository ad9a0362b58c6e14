"""Realised errors are put beside the expected ones of the same windows, and chance is allowed for."""

import math

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.judgement.relation import (
    MOST_PAIRS,
    MOST_WAITING,
    RelationState,
    compare,
    expect,
    realise,
)


def paired(*windows: tuple[int, float, float]) -> RelationState:
    """(outcomes, realised error rate, expected one) per window."""
    state = RelationState()
    for start, (n, wrong, expected) in enumerate(windows):
        state = realise(expect(state, start, expected), start, 1, n, wrong)
    return state


def test_windows_are_paired_by_their_start_whenever_the_outcomes_come() -> None:
    state = RelationState()
    for start in range(5):
        state = expect(state, start, 0.1 * start)
    state = realise(state, 1, 60, 50, 0.3)
    assert state.pairs == ((50, 15.0, 5.0),)
    # windows before it are not waited for any longer, later ones are
    assert [start for start, _ in state.waiting] == [2, 3, 4]
    assert realise(state, 0, 60, 50, 0.3).pairs == state.pairs


def test_a_shorter_horizon_leaves_the_estimates_to_the_longer_one() -> None:
    state = RelationState()
    for start in range(4):
        state = expect(state, start, 0.1)
    state = realise(state, 0, 60, 100, 0.2)
    state = realise(state, 3, 1, 100, 0.2)
    assert [start for start, _ in state.waiting] == [1, 2, 3]
    assert len(realise(state, 1, 60, 100, 0.2).pairs) == 3


def test_the_comparison_is_the_normal_approximation_of_the_binomial() -> None:
    found = compare(paired((400, 0.15, 0.1)), 1)
    assert found is not None
    z = (60 - 40) / math.sqrt(400 * 0.1 * 0.9)
    assert found.p_value == pytest.approx(math.erfc(z / math.sqrt(2)) / 2)
    assert (found.realised, found.explained, found.outcomes, found.windows) == (0.15, 0.1, 400, 1)


def test_phi_and_a_small_reference_make_an_excess_less_sure() -> None:
    state = paired((400, 0.2, 0.1))
    sizes = [compare(state, 1, *of) for of in [(1.0, math.inf), (3.0, math.inf), (1.0, 400.0)]]
    p_values = [each.p_value for each in sizes if each is not None]
    assert p_values[0] < p_values[1] < 0.5
    assert p_values[0] < p_values[2] < 0.5


def test_only_the_latest_windows_are_compared() -> None:
    state = paired(*[(100, 0.1, 0.1)] * 20, *[(100, 0.5, 0.1)] * 3)
    assert compare(state, 3) == compare(paired(*[(100, 0.5, 0.1)] * 3), 3)
    everything = compare(state, 64)
    assert everything is not None
    assert everything.windows == 23


def test_fewer_errors_than_explained_change_nothing() -> None:
    found = compare(paired((1_000, 0.1, 0.3)), 1)
    assert found is not None
    assert not found.changed


def test_nothing_to_compare_is_no_comparison() -> None:
    assert compare(RelationState(), 5) is None
    assert compare(realise(expect(RelationState(), 0, 0.1), 0, 1, 0, 0.0), 5) is None


def test_an_expectation_of_no_error_at_all_is_still_compared() -> None:
    sure = compare(paired((100, 0.0, 0.0)), 1)
    wrong = compare(paired((100, 0.5, 0.0)), 1)
    assert sure is not None
    assert not sure.changed
    assert wrong is not None
    assert wrong.changed


def test_a_relation_that_holds_is_hardly_ever_called_changed() -> None:
    generator = np.random.default_rng(5)
    changed = 0
    for _ in range(4_000):
        wrong = generator.binomial(200, 0.2, size=4) / 200
        found = compare(paired(*((200, float(rate), 0.2) for rate in wrong)), 4)
        changed += found is not None and found.changed
    # 4 are expected; the binomial's skew makes it a few more
    assert changed <= 16


def test_memory_is_bounded() -> None:
    state = RelationState()
    for start in range(MOST_WAITING + 50):
        state = expect(state, start, 0.1)
    assert len(state.waiting) == MOST_WAITING
    assert len(paired(*[(1, 0.0, 0.1)] * (MOST_PAIRS + 9)).pairs) == MOST_PAIRS


@given(
    st.lists(st.tuples(st.integers(0, 500), st.floats(0, 1), st.floats(0, 1)), max_size=20),
    st.integers(1, 30),
)
def test_the_state_survives_json_and_shares_stay_shares(
    windows: list[tuple[int, float, float]], count: int
) -> None:
    state = paired(*windows)
    again = RelationState.from_json(orjson.loads(orjson.dumps(state.to_json())))
    assert again == state
    found = compare(state, count)
    if found is not None:
        assert 0 <= found.p_value <= 1
        assert found.realised <= 1 + 1e-9
        assert found.explained <= 1 + 1e-9
