"""One drift is one episode, however often the detector alarms while it lasts."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.drift import rollup
from domain.drift.episodes import (
    Alarm as Detected,
)
from domain.drift.episodes import (
    Change,
    EpisodePolicy,
    EpisodeState,
    Escalated,
    Opened,
    Recovered,
    Severity,
    is_echo,
    leading,
    step,
    step_all,
)
from domain.errors import InvalidField

POLICY = EpisodePolicy()
Alarm = tuple[Severity | None, int]


def run(alarms: Sequence[Alarm], policy: EpisodePolicy = POLICY) -> list[Change | None]:
    state, changes = EpisodeState(), []
    for k, (alarm, evidence_windows) in enumerate(alarms):
        state, change = step(policy, state, alarm, k * 1000, evidence_windows)
        changes.append(change)
    return changes


def test_repeated_alarms_are_one_episode_until_five_quiet_windows() -> None:
    alarms: list[Alarm] = [("drift", 1), (None, 1), ("drift", 1), *[(None, 1)] * 5, ("warn", 1)]
    changes = run(alarms)
    assert changes[0] == Opened(severity="drift", at_ms=0)
    assert changes[1:7] == [None] * 6
    assert changes[7] == Recovered(opened_at_ms=0, at_ms=7000)
    assert changes[8] == Opened(severity="warn", at_ms=8000)


def test_a_warning_that_becomes_drift_escalates_once() -> None:
    changes = run([("warn", 1), ("drift", 1), ("warn", 1), ("drift", 1)])
    assert changes == [Opened(severity="warn", at_ms=0), Escalated(opened_at_ms=0, at_ms=1000), None, None]


def test_a_drift_that_only_long_blocks_see_is_not_over_between_two_of_them() -> None:
    between: list[Alarm] = [(None, 1)] * 63
    changes = run([("warn", 64), *between, ("warn", 64), *between, (None, 1), *between, (None, 1)])
    assert [change for change in changes if change] == [
        Opened(severity="warn", at_ms=0),
        Recovered(opened_at_ms=0, at_ms=192_000),
    ]


def test_an_alarm_that_looks_back_into_the_old_drift_is_an_echo() -> None:
    quiet: list[Alarm] = [(None, 1)] * 5
    changes = run([("drift", 1), *quiet, (None, 1), ("drift", 8), (None, 1), ("drift", 2)])
    assert [type(change).__name__ for change in changes if change] == ["Opened", "Recovered", "Opened"]
    assert isinstance(changes[9], Opened)


def detected(*alarms: Alarm) -> list[Detected]:
    return [
        Detected(severity=severity, evidence_windows=windows)
        for severity, windows in alarms
        if severity is not None
    ]


def test_a_long_echo_does_not_hide_the_short_alarm_of_a_new_drift() -> None:
    recovered = EpisodeState(since_recovery=2)
    both = detected(("drift", 64), ("warn", 3))
    assert [is_echo(recovered, alarm.evidence_windows) for alarm in both] == [True, False]
    assert leading(recovered, both) == 1
    state, change = step_all(POLICY, recovered, both, 7)
    assert change == Opened(severity="warn", at_ms=7), "the echo's severity is the old drift's"
    assert state.quiet_needed == 6
    assert leading(recovered, both[:1]) is None
    assert step_all(POLICY, recovered, both[:1], 7) == (EpisodeState(since_recovery=3), None)


def test_quiet_lasts_as_long_as_the_longest_evidence_asks_whichever_alarm_leads() -> None:
    both = detected(("drift", 1), ("warn", 64))
    assert leading(EpisodeState(), both) == 0
    state, _ = step_all(POLICY, EpisodeState(), both, 0)
    assert (state.severity, state.quiet_needed) == ("drift", 128)
    state, _ = step_all(POLICY, state, detected(("drift", 1)), 1)
    assert state.quiet_needed == 127


def test_of_equal_alarms_the_longest_leads_and_then_the_first() -> None:
    assert leading(EpisodeState(), detected(("warn", 64), ("drift", 2), ("drift", 4), ("drift", 4))) == 2
    assert leading(EpisodeState(), []) is None


def test_within_the_cooldown_nothing_opens_and_the_next_episode_says_how_often_it_would_have() -> None:
    patient = EpisodePolicy(cooldown_windows=4)
    quiet: list[Alarm] = [(None, 1)] * 5
    life: list[Alarm] = [
        ("drift", 1),
        *quiet,
        ("drift", 8),
        ("warn", 1),
        ("drift", 2),
        (None, 1),
        ("warn", 1),
    ]
    changes = run(life, patient)
    # of the three alarms in the cooldown the first was an echo
    assert [change for change in changes if change] == [
        Opened(severity="drift", at_ms=0),
        Recovered(opened_at_ms=0, at_ms=5000),
        Opened(severity="warn", at_ms=10_000, held_alarms=2),
    ]
    again = run([*life, *quiet, *[(None, 1)] * 4, ("drift", 1)], patient)
    assert again[-1] == Opened(severity="drift", at_ms=20_000), "the count is of the time since the last one"


def test_a_policy_and_a_state_without_a_cooldown_are_written_as_before() -> None:
    assert EpisodePolicy().to_json() == {"quiet_windows": 5, "quiet_blocks": 2}
    assert set(EpisodeState().to_json()) == {"severity", "opened_at_ms", "quiet_needed", "since_recovery"}


@dataclass(frozen=True)
class FrozenReference:
    counts: tuple[int, ...]
    phi: float = 1.0


def test_a_real_drift_in_the_roll_up_opens_exactly_one_episode_and_a_second_drift_another() -> None:
    generator = np.random.default_rng(11)
    references = {"x": FrozenReference((1000,) * 10)}
    still, moved = np.full(10, 0.1), np.array([0.06] * 5 + [0.14] * 5)
    policy, detector, state = rollup.RollUpPolicy(), rollup.RollUpState(), EpisodeState()
    changes: list[Change] = []
    for k in range(1600):
        shares = moved if 200 <= k < 500 or 1000 <= k < 1100 else still
        counts = generator.multinomial(100, shares).tolist()
        detector, found = rollup.step(policy, detector, references, {"x": counts})
        severity, length = (found.severity, found.block_windows) if found else (None, 1)
        state, change = step(POLICY, state, severity, k, length)
        if change is not None and not isinstance(change, Escalated):
            changes.append(change)
    assert [type(change).__name__ for change in changes] == ["Opened", "Recovered"] * 2
    assert 200 <= changes[0].at_ms < 220
    assert 1000 <= changes[2].at_ms < 1020


@given(
    st.lists(st.tuples(st.sampled_from(["warn", "drift", None]), st.sampled_from([1, 2, 8])), max_size=60),
    st.data(),
)
def test_episodes_alternate_and_survive_a_restart(alarms: list[Alarm], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(alarms)))
    policy = EpisodePolicy(cooldown_windows=data.draw(st.integers(0, 8)))
    state, changes = EpisodeState(), []
    for k, (alarm, length) in enumerate(alarms):
        if k == cut:
            state = EpisodeState.from_json(orjson.loads(orjson.dumps(state.to_json())))
        state, change = step(policy, state, alarm, k * 1000, length)
        changes.append(change)
    assert changes == run(alarms, policy)
    borders = [change for change in changes if isinstance(change, (Opened, Recovered))]
    assert all(isinstance(change, (Opened, Recovered)[k % 2]) for k, change in enumerate(borders))
    gaps = [b.at_ms - a.at_ms for a, b in pairwise(borders) if isinstance(a, Recovered)]
    assert all(gap > 1000 * policy.cooldown_windows for gap in gaps)


_ALARMS = st.lists(st.tuples(st.sampled_from(["warn", "drift"]), st.sampled_from([1, 2, 8])), max_size=3)


@given(st.lists(_ALARMS, max_size=40), st.randoms(use_true_random=False))
def test_the_order_of_the_detectors_changes_no_episode(life: list[list[Alarm]], r: Random) -> None:
    state = EpisodeState()
    for k, alarms in enumerate(life):
        shuffled = r.sample(alarms, len(alarms))
        after = step_all(POLICY, state, detected(*alarms), k)
        assert after == step_all(POLICY, state, detected(*shuffled), k)
        change, leader = after[1], leading(state, detected(*alarms))
        if isinstance(change, Opened):
            assert leader is not None
            assert change.severity == alarms[leader][0]
        state = after[0]


@pytest.mark.parametrize("field", ["quiet_windows", "quiet_blocks"])
def test_an_impossible_policy_is_refused_by_name(field: str) -> None:
    with pytest.raises(InvalidField, match=rf"EpisodePolicy\.{field} must be >= 1"):
        EpisodePolicy.from_json({field: 0})
    with pytest.raises(InvalidField, match=r"EpisodePolicy\.cooldown_windows must be >= 0"):
        EpisodePolicy.from_json({"cooldown_windows": -1})
