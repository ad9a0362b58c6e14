from dataclasses import replace

import pytest

from domain.windows.policy import WindowPolicy
from domain.windows.progress import Progress, dominates


def test_cutoff_is_window_end_plus_horizon_plus_grace() -> None:
    assert WindowPolicy().cutoff_ms(120_000, 3_600) == 120_000 + 60_000 + 3_600_000 + 30_000


def test_a_window_starts_at_a_multiple_of_its_length() -> None:
    assert [WindowPolicy().window_start(t) for t in (0, 59_999, 60_000, 60_001)] == [0, 0, 60_000, 60_000]


def test_memory_is_the_grace_unless_given() -> None:
    assert WindowPolicy(grace_ms=5).memory_ms == 5
    assert WindowPolicy(grace_ms=5, memory_ms=0).memory_ms == 0


def test_json_round_trip() -> None:
    policy = WindowPolicy(length_ms=1_000, memory_ms=7)
    assert WindowPolicy.from_json(policy.to_json()) == policy


@pytest.mark.parametrize(
    "settings",
    [{"length_ms": 0}, {"slack_ms": -1}, {"grace_ms": -1}, {"max_horizon_s": 0}, {"memory_ms": -2}],
)
def test_a_setting_out_of_range_is_refused_by_name(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        WindowPolicy(**settings)


def test_progress_is_replaced_only_by_one_that_is_as_far_on_both_sides() -> None:
    old = replace(Progress.start(0), inputs_through_ms=10, outcomes_through_ms=10)
    assert dominates(old, old)
    assert dominates(replace(old, inputs_through_ms=11), old)
    assert not dominates(replace(old, inputs_through_ms=11, outcomes_through_ms=9), old)
    assert not dominates(replace(old, inputs_through_ms=9, outcomes_through_ms=11), old)
