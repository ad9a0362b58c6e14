"""Retraining is asked for once per episode, within cooldown and budget, not while an experiment runs."""

from collections.abc import Sequence
from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.drift.retrain import (
    Held,
    OpenEpisode,
    RequestRetrain,
    RetrainPolicy,
    RetrainState,
    step,
)
from domain.errors import InvalidField

POLICY = RetrainPolicy(cooldown_ms=100, budget=2, budget_window_ms=1000)
DATA = OpenEpisode(episode_id="d1", drift_type="DATA_DRIFT", severity="drift")
ERROR = OpenEpisode(episode_id="e1", drift_type="PERFORMANCE_DEGRADATION", severity="drift")


def other(name: str) -> OpenEpisode:
    return OpenEpisode(episode_id=name, drift_type="DATA_DRIFT", severity="drift")


def test_an_episode_asks_once() -> None:
    state, order = step(POLICY, RetrainState(), 10, [DATA], False)
    assert order == RequestRetrain(
        at_ms=10,
        episode_ids=("d1",),
        drift_types=("DATA_DRIFT",),
        reason="open drift episodes: DATA_DRIFT (drift)",
    )
    assert step(POLICY, state, 500, [DATA], False)[1] is None


def test_one_request_answers_all_open_episodes() -> None:
    state, order = step(POLICY, RetrainState(), 10, [ERROR, DATA], False)
    assert isinstance(order, RequestRetrain)
    assert order.episode_ids == ("d1", "e1")
    assert step(POLICY, state, 500, [ERROR, DATA], False)[1] is None


def test_warnings_and_other_types_do_not_ask() -> None:
    warning = OpenEpisode(episode_id="w", drift_type="DATA_DRIFT", severity="warn")
    foreign = OpenEpisode(episode_id="p", drift_type="PREDICTION_DRIFT", severity="drift")
    assert step(POLICY, RetrainState(), 10, [warning, foreign], False)[1] is None
    eager = RetrainPolicy(min_severity="warn")
    assert isinstance(step(eager, RetrainState(), 10, [warning], False)[1], RequestRetrain)


def test_a_running_experiment_holds_the_request_until_it_ends() -> None:
    state, held = step(POLICY, RetrainState(), 10, [DATA], True)
    assert held == Held(reason="experiment", episode_ids=("d1",), until_ms=None)
    state, order = step(POLICY, state, 20, [DATA], False)
    assert isinstance(order, RequestRetrain)
    heedless = RetrainPolicy(hold_while_experiment=False)
    assert isinstance(step(heedless, RetrainState(), 10, [DATA], True)[1], RequestRetrain)


def test_a_held_request_is_dropped_when_the_episode_recovers() -> None:
    state, _ = step(POLICY, RetrainState(), 10, [DATA], True)
    assert step(POLICY, state, 20, [], False)[1] is None


def test_the_cooldown_holds_a_second_episode_back_and_then_lets_it_through() -> None:
    state, _ = step(POLICY, RetrainState(), 10, [DATA], False)
    state, held = step(POLICY, state, 50, [DATA, ERROR], False)
    assert held == Held(reason="cooldown", episode_ids=("e1",), until_ms=110)
    state, order = step(POLICY, state, 110, [DATA, ERROR], False)
    assert isinstance(order, RequestRetrain)
    assert order.episode_ids == ("e1",)


def test_the_budget_holds_the_third_request_until_the_first_is_a_week_old() -> None:
    state, _ = step(POLICY, RetrainState(), 0, [other("a")], False)
    state, _ = step(POLICY, state, 200, [other("b")], False)
    state, held = step(POLICY, state, 400, [other("c")], False)
    assert held == Held(reason="budget", episode_ids=("c",), until_ms=1000)
    assert isinstance(step(POLICY, state, 1000, [other("c")], False)[1], RequestRetrain)
    never = step(RetrainPolicy(budget=0), RetrainState(), 0, [DATA], False)[1]
    assert never == Held(reason="budget", episode_ids=("d1",), until_ms=None)


def test_a_lasting_episode_asks_again_only_if_the_policy_says_so() -> None:
    patient = RetrainPolicy(cooldown_ms=0, repeat_ms=300)
    state, _ = step(patient, RetrainState(), 0, [DATA], False)
    assert step(patient, state, 299, [DATA], False)[1] is None
    assert isinstance(step(patient, state, 300, [DATA], False)[1], RequestRetrain)


@given(
    st.lists(st.tuples(st.integers(0, 60), st.sets(st.sampled_from("abcd")), st.booleans()), max_size=40),
    st.data(),
)
def test_requests_keep_cooldown_and_budget_and_survive_a_restart(
    steps: Sequence[tuple[int, set[str], bool]], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(steps)))
    now, straight, restarted, times = 0, RetrainState(), RetrainState(), []
    for k, (gap, names, running) in enumerate(steps):
        now += gap
        if k == cut:
            restarted = RetrainState.from_json(orjson.loads(orjson.dumps(restarted.to_json())))
        episodes = [other(name) for name in sorted(names)]
        straight, left = step(POLICY, straight, now, episodes, running)
        restarted, right = step(POLICY, restarted, now, episodes, running)
        assert left == right
        if isinstance(left, RequestRetrain):
            assert not running
            times.append(now)
    assert orjson.dumps(straight.to_json()) == orjson.dumps(restarted.to_json())
    assert all(later - earlier >= 100 for earlier, later in pairwise(times))
    assert all(third - first >= 1000 for first, third in zip(times, times[2:], strict=False))


@pytest.mark.parametrize(
    "fields, named",
    [
        ({"cooldown_ms": -1}, "cooldown_ms"),
        ({"budget": -1}, "budget"),
        ({"budget_window_ms": 0}, "budget_window_ms"),
        ({"repeat_ms": 0}, "repeat_ms"),
        ({"min_severity": "panic"}, "min_severity"),
        ({"drift_types": [1]}, "drift_types"),
        ({"hold_while_experiment": 1}, "hold_while_experiment"),
    ],
)
def test_an_impossible_policy_is_refused_by_name(fields: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidField, match=rf"RetrainPolicy\.{named} must be"):
        RetrainPolicy.from_json(fields)


def test_a_policy_survives_json() -> None:
    policy = RetrainPolicy(drift_types=("DATA_DRIFT",), repeat_ms=5)
    assert RetrainPolicy.from_json(orjson.loads(orjson.dumps(policy.to_json()))) == policy
