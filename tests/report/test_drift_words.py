"""An episode in sentences, whatever its detectors were."""

from datetime import UTC, datetime
from typing import Any

from consumers.report.drift_words import findings, headline, history
from consumers.services.episode_stories import EpisodeStory, ListedEpisode, Retraining
from consumers.store.repositories.episodes import Acknowledgement, Episode
from consumers.store.repositories.mutes import Mute
from consumers.store.repositories.retraining import JobRecord
from domain.judgement.decision import Decision, DecisionKind
from schemas.events import DriftType, RetrainingStatus, RetrainingTrigger

MINUTE = 60_000
MUTE = {"mute_id": "m1", "actor": "ada", "reason": "x", "effective_from_ms": 0, "until_ms": None}


def decided(kind: str, minute: int, **evidence: Any) -> Decision:
    values = {"version": "1", "drift_type": "PERFORMANCE_DEGRADATION", **evidence}
    return Decision(
        kind=DecisionKind(kind),
        model="m",
        subject="1/PERFORMANCE_DEGRADATION",
        at_ms=minute * MINUTE,
        window_start_ms=0,
        window_end_ms=minute * MINUTE,
        config_hash="c",
        evidence=values,
    )


def found(**other: Any) -> dict[str, Any]:
    return {
        "detector": "e-sr-promise",
        "severity": "warn",
        "statistic": 11.5,
        "log_e": 11.5,
        "threshold": 9.21034037198,
        "tolerance": 0.02,
        "sample_size": 1_200,
        "block_windows": 12,
        "metric": "hit",
        "mean_before": 0.9,
        "mean_after": 0.85,
        **other,
    }


def told(*decisions: Decision, **other: Any) -> EpisodeStory:
    episode = Episode(
        episode_id="d1",
        model="m",
        version="1",
        drift_type=DriftType(decisions[0].evidence["drift_type"]) if decisions else DriftType.DATA_DRIFT,
        severity="warn",
        opened_at_ms=60 * MINUTE,
    )
    known = Acknowledgement(
        episode_id="d1", actor="bob", reason="seen", acknowledged_at=datetime(2026, 3, 1, 12, 5, tzinfo=UTC)
    )
    listed = ListedEpisode(episode=episode, acknowledgement=known, opened_muted=True, muted_now=False)
    return EpisodeStory(
        **{"listed": listed, "decisions": decisions, "mutes": (), "retraining": (), **other},
    )


def test_a_broken_promise_is_told_with_its_e_value_and_what_was_promised() -> None:
    story = told(decided("drift", 60, **found()))
    assert headline(story) == "PERFORMANCE_DEGRADATION (warn) of version 1 of m, open"
    assert findings(story) == [
        "The model does worse than it was promised to.",
        "Found by the e-detector against the promise on 1970-01-01 01:00 over 12 windows (1,200 items): "
        "e-value 98,716, and 10,000 is an alarm, with a tolerance of 0.02.",
        "hit went from 0.9 to 0.85.",
    ]


def test_errors_are_told_beside_what_the_inputs_explain_and_who_alarmed_too() -> None:
    relation = {"realised": 0.12, "explained": 0.05, "outcomes": 640, "p_value": 1e-9}
    plain = {name: value for name, value in found().items() if name not in ("log_e", "tolerance")}
    evidence = plain | {
        "detector": "bucket-adwin",
        "drift_type": "CONCEPT_DRIFT",
        "inputs_drifted": False,
        "relation": relation,
        "also": [{"detector": "e-sr-promise"}, {"detector": "KSWIN"}],
    }
    said = findings(told(decided("drift", 60, **evidence)))
    assert said[0] == "The errors grew, and the inputs do not explain it."
    assert "statistic 11.5 against a threshold of 9.2103." in said[1]
    assert said[2] == "The inputs did not move."
    assert "12% of 640 outcomes were wrong, and the inputs explain 5% (p = 1e-09)." in said
    assert said[-1] == "Alarmed too at that instant: the e-detector against the promise, KSWIN."


def test_features_beyond_those_that_are_measured_are_named() -> None:
    names = [f"x{number}" for number in range(12)]
    measures = [
        {"name": name, "effect_sizes": {"js": 0.2, "psi": 0.3, "own": 1.0}, "bins": []} for name in names[:2]
    ]
    evidence = found(drift_type="DATA_DRIFT", features=names, measures=measures, p_value=1e-7)
    said = findings(told(decided("drift", 60, **evidence)))
    assert "x0 moved: PSI 0.3, JS 0.2, own 1." in said
    assert "x9 moved." in said
    assert "So did x10, x11." in said


def test_the_numbers_are_those_of_the_escalation_and_the_history_has_everything() -> None:
    opening = decided("drift", 60, muted=MUTE, held_alarms=2, **found())
    escalated = decided("escalation", 90, opened_muted=True, **found(severity="drift", sample_size=9))
    recovered = decided("recovery", 200, reason="quiet long enough")
    mute = Mute(
        mute_id="m1",
        model="m",
        drift_type=None,
        effective_from_ms=30 * MINUTE,
        until_ms=None,
        actor="ada",
        reason="feed moves",
        ordered_at=datetime(2026, 1, 1, tzinfo=UTC),
        ended_ms=80 * MINUTE,
        ended_by="bob",
        ended_because="back",
    )
    job = JobRecord(
        job_id="j1",
        model="m",
        trigger=RetrainingTrigger.DRIFT_DETECTED,
        reason="drift",
        request={},
        as_of_ms=0,
        opened_at_ms=0,
        status=RetrainingStatus.SUCCEEDED,
        lease_owner=None,
        lease_until=None,
        attempts=1,
        version="2",
        result=None,
    )
    asked = decided("retrain", 95)
    story = told(
        opening, escalated, recovered, mutes=(mute,), retraining=(Retraining(decision=asked, job=job),)
    )
    assert "(9 items)" in findings(story)[1]
    assert history(story) == [
        ("1970-01-01 00:30", "all drift of m muted by ada: feed moves"),
        ("1970-01-01 01:00", "opened as warn, muted by ada; 2 alarms before in the cooldown"),
        ("1970-01-01 01:20", "mute ended by bob: back"),
        ("1970-01-01 01:30", "became drift and announced"),
        ("1970-01-01 01:35", "retraining requested: job j1 SUCCEEDED, version 2"),
        ("1970-01-01 03:20", "recovered: quiet long enough"),
        ("2026-03-01 12:05", "acknowledged by bob: seen (wall clock)"),
    ]


def test_an_episode_whose_opening_is_not_stored_says_so() -> None:
    assert findings(told()) == ["The decision that opened it is not in the store."]
