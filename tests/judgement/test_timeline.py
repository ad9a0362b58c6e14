"""Episodes on a line of time, and those of two policies beside each other."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.judgement.decision import Decision, DecisionKind
from domain.judgement.timeline import Span, compared, timeline
from tests.judgement.rows import LENGTH, decide, inputs, scores

SPANS = st.lists(
    st.tuples(st.integers(0, 50), st.none() | st.integers(1, 20), st.sampled_from("ab")), max_size=8
)


def span(opened_ms: int, closed_ms: int | None, drift_type: str = "DATA_DRIFT") -> Span:
    return Span(
        version="1",
        drift_type=drift_type,
        estimate=False,
        opened_ms=opened_ms,
        escalated_ms=None,
        closed_ms=closed_ms,
        severity="warn",
        detector="roll-up-chi-square",
        features=("x",),
    )


def life() -> list[Decision]:
    """A warning at 5 that becomes a drift at 8 and recovers; errors grow at 30 and do not stop."""
    low = {**dict.fromkeys(range(4, 7), 270), **dict.fromkeys(range(7, 10), 390)}
    rows = [inputs(window, low=low.get(window, 200)) for window in range(40)]
    return decide([*rows, *(scores(window, mean=0.9 if window >= 30 else 0.1) for window in range(40))])


def test_an_episode_lasts_from_its_opening_to_its_recovery() -> None:
    decisions = life()
    found = timeline(decisions, 0, 100 * LENGTH)
    at = {kind: [d.at_ms for d in decisions if d.kind is kind] for kind in DecisionKind}
    data, errors = found.spans
    assert (data.opened_ms, data.escalated_ms) == (at[DecisionKind.DRIFT][0], at[DecisionKind.ESCALATION][0])
    assert data.closed_ms == at[DecisionKind.RECOVERY][0]
    assert (data.severity, data.worst, data.features) == ("warn", "drift", ("x",))
    assert (errors.opened_ms, errors.severity) == (at[DecisionKind.DRIFT][1], "drift")
    assert found.retrain_ms == tuple(at[DecisionKind.RETRAIN])
    tally = found.tally()
    assert (tally.opened, tally.warn, tally.drift, tally.escalated) == (2, 1, 1, 1)
    assert found.tally("DATA_DRIFT").opened == 1


def test_a_shorter_time_counts_what_happened_in_it_and_knows_what_was_open() -> None:
    whole = timeline(life(), 0, 100 * LENGTH)
    data = whole.spans[0]
    assert data.closed_ms is not None
    part = timeline(life(), data.opened_ms + 1, data.closed_ms)
    assert part.spans == (data,)
    assert (part.tally().opened, part.tally().closed) == (0, 0)
    assert part.in_alarm_ms() == data.closed_ms - data.opened_ms - 1
    assert timeline(life(), 0, data.opened_ms).spans == ()


def test_time_in_alarm_is_counted_once_where_episodes_overlap() -> None:
    whole = timeline([], 10, 110)
    assert whole.in_alarm_ms([span(0, 30), span(20, 50, "PREDICTION_DRIFT"), span(100, None)]) == 40 + 10


def test_episodes_are_the_same_drift_if_they_overlap_and_errors_are_of_one_kind() -> None:
    real = [span(10, 20), span(40, 50), span(70, None, "CONCEPT_DRIFT")]
    candidate = [span(15, 17), span(18, 30), span(60, 65), span(66, None, "PERFORMANCE_DEGRADATION")]
    found = compared(real, candidate)
    assert found.both == ((real[0], candidate[0]), (real[2], candidate[3]))
    assert found.only_real == (real[1],)
    assert found.only_candidate == (candidate[2],)
    assert found.later_ms == (5, -4)
    assert found.median_later_ms == 0.5
    assert compared(real, []).median_later_ms is None


@pytest.mark.parametrize("other", [{"version": "2"}, {"estimate": True}, {"drift_type": "PREDICTION_DRIFT"}])
def test_what_drifts_is_not_confused(other: dict[str, object]) -> None:
    one = span(10, 20)
    assert compared([one], [replace(one, **other)]).both == ()  # type: ignore[arg-type]


@given(SPANS, SPANS)
def test_every_episode_is_told_once_on_its_side(
    real: list[tuple[int, int | None, str]], candidate: list[tuple[int, int | None, str]]
) -> None:
    left, right = (
        [span(opened, None if length is None else opened + length, kind) for opened, length, kind in each]
        for each in (real, candidate)
    )
    found, back = compared(left, right), compared(right, left)
    assert sorted([*(one for one, _ in found.both), *found.only_real], key=str) == sorted(left, key=str)
    assert set(map(str, found.only_candidate)) == set(map(str, back.only_real))
    assert bool(found.both) == bool(back.both)
    assert compared(left, left).later_ms == () or max(compared(left, left).later_ms) <= 0
