"""river's detectors over window means say what river says, and go on from kept values after a restart."""

import inspect
import random
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.drift import classic
from domain.drift.classic import PARAMS, ClassicFinding, ClassicPolicy, ClassicState, Name, step
from domain.errors import InvalidField
from tests.reference.cases import CASES

NAMES: tuple[Name, ...] = get_args(Name)
# so that short streams already hold a detection
QUICK: dict[Name, dict[str, float]] = {
    "ADWIN": {"clock": 4},
    "PageHinkley": {"threshold": 0.5, "min_instances": 10},
    "KSWIN": {"window_size": 20, "stat_size": 8},
    "HDDM_A": {},
    "HDDM_W": {},
    "DDM": {"warm_start": 10},
    "EDDM": {"warm_start": 5},
}


def run(
    policy: ClassicPolicy, values: Sequence[float], state: ClassicState | None = None
) -> tuple[ClassicState, list[ClassicFinding | None]]:
    state, found = state or ClassicState(), []
    for value in values:
        state, finding = step(policy, state, float(value))
        found.append(finding)
    return state, found


def rates(seed: int, levels: Sequence[tuple[float, int]]) -> list[float]:
    generator = np.random.default_rng(seed)
    return [float(generator.binomial(100, level) / 100) for level, windows in levels for _ in range(windows)]


def as_river_alone(policy: ClassicPolicy, values: Sequence[float]) -> list[bool]:
    """The same stream through one detector of river that is never touched otherwise."""
    arguments: dict[str, Any] = {name: int(x) if x == int(x) else x for name, x in policy.params.items()}
    if policy.detector == "KSWIN":
        arguments["seed"] = policy.seed
    if policy.detector == "PageHinkley":
        arguments["mode"] = "up"
    detector = classic._classes()[policy.detector](**arguments)
    said, since = [], list[float]()
    for value in values:
        fed = value
        if policy.detector == "EDDM":
            fed = int(bool(since) and value > sum(since) / len(since))
        detector.update(fed)
        said.append(bool(detector.drift_detected))
        since = [] if said[-1] else [*since, value]
    return said


@pytest.mark.parametrize("name", NAMES)
def test_it_detects_where_river_itself_detects(name: Name) -> None:
    policy = ClassicPolicy(detector=name, params=QUICK[name])
    values = rates(1, [(0.1, 150), (0.4, 150), (0.1, 60), (0.6, 150)])
    _, found = run(policy, values)
    expected = as_river_alone(policy, values)
    assert [finding is not None for finding in found] == expected
    assert any(expected[150:])


@pytest.mark.parametrize("name", NAMES)
def test_its_parameters_are_those_of_river_with_rivers_defaults(name: Name) -> None:
    signature = inspect.signature(classic._classes()[name].__init__).parameters
    follow_from_the_stream = {"self", "mode", "two_sided_test", "seed", "window"}
    river = {key: found.default for key, found in signature.items() if key not in follow_from_the_stream}
    assert {key: default for key, (default, _) in PARAMS[name].items()} == pytest.approx(river)


def test_the_recorded_detections_come_out() -> None:
    generator = random.Random(12345)
    stream = generator.choices([0, 1], k=1000) + generator.choices(range(4, 8), k=1000)
    adwin = ClassicPolicy(detector="ADWIN")
    kswin = ClassicPolicy(detector="KSWIN", params={"alpha": 0.0001}, seed=42)
    for policy, case in ((adwin, "D9"), (kswin, "D10")):
        _, found = run(policy, stream[: CASES[case]["out"] + 1])
        assert [k for k, finding in enumerate(found) if finding] == [CASES[case]["out"]]
        last = found[-1]
        assert last is not None
        assert last.upward
        assert last.mean_after > last.mean_before == pytest.approx(0.5, abs=0.05)
        assert last.sample_size == CASES[case]["out"] + 1


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(NAMES), st.integers(0, 2**31), st.integers(0, 220))
def test_a_restart_at_any_window_goes_on_the_same(name: Name, seed: int, cut: int) -> None:
    policy = ClassicPolicy(detector=name, params=QUICK[name], memory_windows=64)
    values = rates(seed, [(0.2, 160), (0.5, 60)])
    straight, whole = run(policy, values)
    before, first = run(policy, values[:cut])
    classic._LIVE._detectors.clear()  # another process
    loaded = ClassicState.from_json(orjson.loads(orjson.dumps(before.to_json())))
    after, second = run(policy, values[cut:], loaded)
    assert [*first, *second] == whole
    assert after == straight


@pytest.mark.parametrize("name", NAMES)
def test_one_state_stepped_twice_gives_the_same_twice(name: Name) -> None:
    policy = ClassicPolicy(detector=name, params=QUICK[name])
    state, _ = run(policy, rates(2, [(0.1, 40)]))
    branches = [run(policy, rates(3, [(0.7, 60)]), state) for _ in range(2)]
    assert branches[0] == branches[1]
    assert any(branches[0][1])


@pytest.mark.parametrize("name", NAMES)
def test_a_quiet_stream_keeps_no_more_than_twice_its_memory(name: Name) -> None:
    policy = ClassicPolicy(detector=name, memory_windows=128)
    state, found = run(policy, [0.25] * 300)
    assert not any(found)
    assert len(state.values) == 300 - 128


def test_kswin_goes_on_drawing_where_it_was_without_testing_again() -> None:
    policy = ClassicPolicy(detector="KSWIN", params=QUICK["KSWIN"], seed=7)
    values = tuple(np.random.default_rng(5).random(300).tolist())
    detector = classic._built(policy)
    quiet: list[float] = []
    for value in values:
        detector.update(value)
        quiet = [] if detector.drift_detected else [*quiet, value]
    restored = classic._Live.refolded(policy, tuple(quiet)).detector
    assert len(quiet) > 40
    assert list(restored.window) == list(detector.window)
    assert restored._rng.getstate() == detector._rng.getstate()


def test_another_seed_draws_otherwise() -> None:
    values = rates(6, [(0.2, 60), (0.3, 200)])
    found = [
        run(ClassicPolicy(detector="KSWIN", params=QUICK["KSWIN"], seed=seed), values)[1] for seed in (1, 2)
    ]
    assert [f is not None for f in found[0]] != [f is not None for f in found[1]]


def test_of_errors_a_fall_is_no_rise() -> None:
    falling = rates(7, [(0.5, 300), (0.1, 300)])
    finding = next(f for f in run(ClassicPolicy(detector="ADWIN"), falling)[1] if f)
    assert not finding.upward
    assert finding.mean_after < finding.mean_before
    quick = ClassicPolicy(detector="PageHinkley", params={"threshold": 1.0})
    assert not any(run(quick, falling)[1])
    both_ways = ClassicPolicy(detector="PageHinkley", params={"threshold": 1.0}, stream="prediction")
    assert any(run(both_ways, falling)[1])


@pytest.mark.parametrize("name", ["HDDM_A", "HDDM_W", "DDM"])
def test_values_beyond_the_unit_interval_count_as_its_bound(name: Name) -> None:
    policy = ClassicPolicy(detector=name)
    held = run(policy, [0.0] * 20 + [1.0] * 20)
    assert run(policy, [-3.0] * 20 + [40.0] * 20) == held


@pytest.mark.parametrize(
    "document, field",
    [
        ({"detector": "KSWINE"}, "detector"),
        ({"detector": "ADWIN", "stream": "errors:x"}, "stream"),
        ({"detector": "ADWIN", "stream": "feature:"}, "stream"),
        ({"detector": "DDM", "stream": "prediction"}, "stream"),
        ({"detector": "EDDM", "stream": "feature:spread"}, "stream"),
        ({"detector": "ADWIN", "params": {"alpha": 0.1}}, "params.alpha"),
        ({"detector": "ADWIN", "params": {"delta": 1.5}}, "params.delta"),
        ({"detector": "ADWIN", "params": {"clock": 2.5}}, "params.clock"),
        ({"detector": "KSWIN", "params": {"window_size": 40}}, "params.window_size"),
        ({"detector": "EDDM", "params": {"alpha": 0.5}}, "params.alpha"),
        ({"detector": "KSWIN", "seed": -1}, "seed"),
        ({"detector": "KSWIN", "memory_windows": 99}, "memory_windows"),
        ({"detector": "DDM", "memory_windows": 10}, "memory_windows"),
    ],
)
def test_an_impossible_policy_is_refused_by_name(document: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidField) as refused:
        ClassicPolicy.from_json(document)
    assert (refused.value.owner, refused.value.field) == ("ClassicPolicy", field)


def test_a_parameter_that_river_does_not_have_is_answered_with_those_it_has() -> None:
    with pytest.raises(InvalidField, match="one of alpha, window_size, stat_size for KSWIN"):
        ClassicPolicy(detector="KSWIN", params={"delta": 0.1})


def test_a_policy_survives_json() -> None:
    policy = ClassicPolicy(detector="KSWIN", stream="feature:spread", params={"stat_size": 20}, seed=9)
    assert ClassicPolicy.from_json(orjson.loads(orjson.dumps(policy.to_json()))) == policy
