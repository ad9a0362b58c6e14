"""A muted drift is decided, not announced, and asks for nothing; what was muted stays so in every replay."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.services.decisions import decision_id, event_of
from domain.judgement.decision import Decision, DecisionKind
from domain.judgement.judge import Frozen, judge
from domain.judgement.mutes import DatedMute, announces, governing
from domain.judgement.rows import Row
from domain.judgement.state import ModelState
from schemas.events import DriftDetected
from tests.judgement.rows import LENGTH, MODEL, decide, frozen, in_order, inputs, kinds, of_kind, stored


def mute(from_window: int, until_window: int | None = None, **other: Any) -> DatedMute:
    """Governs what falls due after `from_window` windows and before `until_window` windows have ended."""
    values = {
        "mute_id": "m1",
        "drift_type": None,
        "effective_from_ms": from_window * LENGTH + 1,
        "until_ms": None if until_window is None else until_window * LENGTH + 1,
        "actor": "ada",
        "reason": "the feed moves",
        **other,
    }
    return DatedMute(**values)


def muted(*mutes: DatedMute) -> Frozen:
    return replace(frozen(), mutes=mutes)


def life(low: int = 360) -> list[Row]:
    """Drift in windows 8 to 13, and another in 40 to 45."""
    return [inputs(w, low=low if 8 <= w < 14 or 40 <= w < 46 else 200) for w in range(70)]


def announced(decisions: Sequence[Decision]) -> list[DriftDetected]:
    return [event for event in map(event_of, decisions) if isinstance(event, DriftDetected)]


def test_a_muted_drift_opens_and_recovers_unannounced_with_the_mute_in_its_evidence() -> None:
    decided = decide(life(), muted(mute(5, 30)))
    assert kinds(decided) == ["drift", "recovery", "drift", "retrain", "recovery"]
    first, recovered, second = decided[:3]
    assert first.evidence["muted"] == {
        "mute_id": "m1",
        "effective_from_ms": 5 * LENGTH + 1,
        "until_ms": 30 * LENGTH + 1,
        "actor": "ada",
        "reason": "the feed moves",
    }
    assert recovered.cause == first.key
    assert "muted" not in second.evidence
    assert [event.drift_id for event in announced(decided)] == [decision_id(second.key)]
    without = decide(life())
    assert [d.key for d in of_kind(without, DecisionKind.DRIFT)] == [first.key, second.key]


def test_an_episode_that_outlasts_its_mute_is_not_announced_and_asks_for_retraining_then() -> None:
    rows = [inputs(w, low=360 if w >= 8 else 200) for w in range(30)]
    decided = decide(rows, muted(mute(5, 20)))
    opened, asked = decided
    assert (opened.kind, asked.kind) == (DecisionKind.DRIFT, DecisionKind.RETRAIN)
    assert opened.at_ms == 9 * LENGTH
    assert asked.at_ms == 21 * LENGTH
    assert asked.cause == opened.key
    assert announced(decided) == []


def test_what_an_episode_asked_for_before_its_mute_is_not_asked_again_after_it() -> None:
    rows = [inputs(w, low=360 if w >= 8 else 200) for w in range(30)]
    decided = decide(rows, muted(mute(12, 20)))
    assert [d.at_ms for d in of_kind(decided, DecisionKind.RETRAIN)] == [9 * LENGTH]


def test_the_escalation_of_an_episode_that_opened_muted_is_what_is_announced() -> None:
    rows = [inputs(w, low=270 if w < 12 else 390) for w in range(4, 16)]
    rows = [*(inputs(w) for w in range(4)), *rows]
    opened, escalated = (d for d in decide(rows, muted(mute(2, 8))) if d.kind is not DecisionKind.RETRAIN)
    assert escalated.kind is DecisionKind.ESCALATION
    assert escalated.evidence["opened_muted"] is True
    (event,) = announced([opened, escalated])
    assert event.drift_id == decision_id(opened.key)
    assert event.decision_id == decision_id(escalated.key)
    assert event.severity == "drift"
    plain = [d for d in decide(rows) if d.kind is not DecisionKind.RETRAIN]
    (once,) = announced(plain)
    assert once.event_id == event.event_id, "one id for an episode, whichever of the two is announced"
    still = decide(rows, muted(mute(2)))
    assert announced(still) == []
    assert [("muted" in d.evidence, d.evidence.get("opened_muted")) for d in still] == [
        (True, None),
        (True, True),
    ]


def test_a_mute_of_one_type_leaves_the_others_alone() -> None:
    rows = [inputs(w, low=360 if w >= 8 else 200, predicted_low=380 if w >= 8 else None) for w in range(20)]
    decided = decide(rows, muted(mute(0, drift_type="DATA_DRIFT")))
    assert [event.drift_type for event in announced(decided)] == ["PREDICTION_DRIFT"]
    assert of_kind(decided, DecisionKind.RETRAIN) == []


def test_an_early_end_changes_only_what_comes_after_it() -> None:
    ordered, ended = mute(5), mute(5, ended_ms=30 * LENGTH + 1)
    before, after = decide(life(), muted(ordered)), decide(life(), muted(ended))
    early = [d.body() for d in after if d.at_ms <= 30 * LENGTH]
    assert [d.body() for d in before if d.at_ms <= 30 * LENGTH] == early != []
    assert (len(announced(before)), len(announced(after))) == (0, 1)


def test_of_several_mutes_the_first_to_begin_is_named() -> None:
    mutes = [mute(7, mute_id="b"), mute(5, 10, mute_id="c"), mute(5, mute_id="a", drift_type="DATA_DRIFT")]
    named = [governing(mutes, kind, 9 * LENGTH) for kind in ("DATA_DRIFT", "CONCEPT_DRIFT")]
    assert [found.mute_id for found in named if found] == ["a", "c"]
    assert governing(mutes, "CONCEPT_DRIFT", 5 * LENGTH) is None
    assert not announces(DecisionKind.RECOVERY, {})


_MUTES = st.builds(
    mute,
    st.integers(0, 40),
    st.none() | st.integers(0, 60),
    mute_id=st.sampled_from("abc"),
    drift_type=st.sampled_from([None, "DATA_DRIFT", "PREDICTION_DRIFT"]),
    ended_ms=st.none() | st.integers(0, 60 * LENGTH),
)


@settings(max_examples=15)
@given(st.lists(_MUTES, max_size=3), st.randoms(use_true_random=False))
def test_mutes_change_no_episode_and_at_most_one_event_leaves_for_each(
    mutes: list[DatedMute], r: Random
) -> None:
    rows = in_order(
        [
            inputs(w, low=r.choice([200, 270, 390]) if w % 9 < 5 else 200)
            for w in range(30)
            if r.random() < 0.9
        ]
    )
    plain, configuration = decide(rows), muted(*mutes)
    decided = list(judge(MODEL, ModelState(), rows, configuration))
    episodes = [d.key for d in decided if d.kind is not DecisionKind.RETRAIN]
    assert episodes == [d.key for d in plain if d.kind is not DecisionKind.RETRAIN]
    told = [event.drift_id for event in announced(decided)]
    assert len(set(told)) == len(told)
    state, in_pieces = ModelState(), []
    for row in rows:
        in_pieces += [d.body() for d in judge(MODEL, state, [row], configuration)]
        state = stored(state, r)
    assert in_pieces == [d.body() for d in decided], "no mute is in the state: it can be recomputed"
