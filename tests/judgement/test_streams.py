"""The detectors of one stream drive one episode: who leads, who is named beside, and what is an echo."""

from collections.abc import Sequence

from domain.drift.episodes import EpisodeState, Severity
from domain.drift.metrics import DriftMetrics
from domain.judgement.alarms import Alarm
from domain.judgement.decision import Decision
from domain.judgement.rows import Instant
from domain.judgement.state import Watch
from domain.judgement.streams import Context, step
from tests.judgement.rows import LENGTH, POLICY


def alarm(detector: str, severity: Severity = "drift", windows: int = 1) -> Alarm:
    def describe() -> DriftMetrics:
        return DriftMetrics(
            detector=detector,
            severity=severity,
            statistic=2.0,
            threshold=1.0,
            sample_size=9,
            block_windows=windows,
        )

    return Alarm(severity=severity, evidence_windows=windows, describe=describe)


def taken(watch: Watch, alarms: Sequence[Alarm], recent: Sequence[int] = ()) -> list[Decision]:
    instant = Instant(due_ms=10 * LENGTH, kind="input", window_start_ms=9 * LENGTH, horizon_s=0, rows=())
    context = Context(
        model="m",
        version="1",
        policy=POLICY,
        profile=None,
        instant=instant,
        length_ms=LENGTH,
        digest="d",
    )
    return list(step(context, watch, "DATA_DRIFT", alarms, recent))


def test_the_worst_leads_and_the_others_are_named_in_their_order() -> None:
    alarms = [alarm("a", "warn", 8), alarm("b", "drift", 2), alarm("c", "drift", 4), alarm("d", "drift", 4)]
    (made,) = taken(
        Watch(served_at_ms=0), alarms, [5 * LENGTH, 6 * LENGTH, 7 * LENGTH, 8 * LENGTH, 9 * LENGTH]
    )
    assert made.evidence["detector"] == "c"
    assert [each["detector"] for each in made.evidence["also"]] == ["a", "b", "d"]
    assert (made.window_start_ms, made.window_end_ms) == (6 * LENGTH, 10 * LENGTH)


def test_one_alarm_alone_names_nobody() -> None:
    (made,) = taken(Watch(served_at_ms=0), [alarm("a")])
    assert "also" not in made.evidence
    assert made.window_start_ms == 9 * LENGTH


def test_evidence_that_looks_back_further_than_is_remembered_begins_with_what_is() -> None:
    (made,) = taken(Watch(served_at_ms=0), [alarm("a", windows=100)], [3 * LENGTH, 9 * LENGTH])
    assert made.window_start_ms == 3 * LENGTH


def test_an_echo_of_the_last_drift_neither_leads_nor_is_named() -> None:
    watch = Watch(served_at_ms=0, episodes={"DATA_DRIFT": EpisodeState(since_recovery=3)})
    (made,) = taken(watch, [alarm("long", "drift", 16), alarm("short", "warn", 2), alarm("other", "warn", 1)])
    assert made.evidence["detector"] == "short"
    assert [each["detector"] for each in made.evidence["also"]] == ["other"]
    still = Watch(served_at_ms=0, episodes={"DATA_DRIFT": EpisodeState(since_recovery=3)})
    assert taken(still, [alarm("long", "drift", 16)]) == []


def test_an_escalation_is_of_the_alarm_that_escalates() -> None:
    watch = Watch(served_at_ms=0)
    taken(watch, [alarm("a", "warn")])
    (made,) = taken(watch, [alarm("a", "warn", 8), alarm("b", "drift", 1)])
    assert made.kind.value == "escalation"
    assert made.evidence["detector"] == "b"
