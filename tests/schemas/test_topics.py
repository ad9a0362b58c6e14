"""Topic names, keys, headers and the records that publishers append."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from schemas import PredictionMade, Topics, decode, event_of, from_ms, heartbeat, key_of, record_of, to_ms
from schemas.cloudevents import event_id, headers
from schemas.events import LifecycleEvent
from schemas.topics import TOPIC_EVENTS

from .examples import AT, FULL

LIFECYCLE = [event for event in FULL if isinstance(event, LifecycleEvent)]


def test_topics_have_the_prefix_and_events_know_theirs() -> None:
    topics = Topics()
    assert topics.predictions == "lifecycle.predictions"
    assert topics.dead_letter == "lifecycle.dead-letter"
    for name, event in TOPIC_EVENTS.items():
        assert topics.of(event) == getattr(topics, name.replace("-", "_")) == f"lifecycle.{name}"
        assert event_of(topics.of(event)) is event
    assert Topics("").outcomes == "outcomes"
    with pytest.raises(ValueError, match="must end with a dot"):
        Topics("lifecycle")


def test_predictions_and_outcomes_have_equal_partition_counts_and_states_are_compacted() -> None:
    specs = {spec.name: spec for spec in Topics().specs(4, hot_retention_ms=1_000)}
    assert len(specs) == 9
    for name, spec in specs.items():
        hot = name in {"lifecycle.predictions", "lifecycle.outcomes"}
        assert (spec.partitions, spec.retention_ms) == ((4, 1_000) if hot else (1, -1))
    compacted = {name for name, spec in specs.items() if spec.cleanup == "compact"}
    assert compacted == {"lifecycle.model-stage-changed", "lifecycle.experiment-changed"}


def test_the_key_is_the_prediction_the_experiment_or_the_model() -> None:
    assert {type(event).__name__: key_of(event) for event in FULL} == {
        "PredictionMade": b"brent-1994-03-17",
        "OutcomeObserved": b"brent-1994-03-17",
        "ExperimentChanged": b"exp-1",
        "DriftDetected": b"brent",
        "RetrainRequested": b"brent",
        "ModelPromoted": b"brent",
        "ModelStageChanged": b"brent",
        "RetrainingChanged": b"brent",
    }


def test_lifecycle_events_carry_cloudevents_headers() -> None:
    found = dict(headers(LIFECYCLE[0], "lifecycle/judge"))
    assert found == {
        "ce_specversion": b"1.0",
        "ce_id": b"e-1",
        "ce_type": b"lifecycle.DriftDetected",
        "ce_source": b"lifecycle/judge",
        "ce_time": b"1994-03-17T12:30:15.250000+00:00",
        "content-type": b"application/json",
    }
    assert event_id(headers(LIFECYCLE[0], "x")) == "e-1"
    assert event_id((("ce_id", b"\xff"),)) is None
    assert event_id(()) is None


def test_a_record_is_stamped_with_its_event_time_and_reads_back() -> None:
    for event in FULL:
        record = record_of(event, Topics(), source="test")
        assert record.timestamp_ms == to_ms(event.occurred_at)
        assert record.value is not None
        assert decode(record.topic, record.value) == event
        assert bool(record.headers) == isinstance(event, LifecycleEvent)


def test_a_heartbeat_is_empty_and_goes_to_its_partition() -> None:
    beat = heartbeat("lifecycle.outcomes", 3, 7)
    assert (beat.key, beat.value, beat.partition, beat.timestamp_ms) == (None, b"", 3, 7)


def test_milliseconds_are_exact_before_and_after_the_epoch() -> None:
    for ms in (0, -1, 1, 1_700_000_000_123, -62_135_596_800_000):
        assert to_ms(from_ms(ms)) == ms
    assert to_ms(AT) == 763907415250
    assert to_ms(datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))) == 0
    assert to_ms(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)) == -1
    with pytest.raises(ValueError, match="without a time zone"):
        to_ms(datetime(2024, 1, 1))  # noqa: DTZ001


def test_numbers_become_floats_and_truth_values_stay() -> None:
    made = PredictionMade(
        occurred_at=AT,
        prediction_id="a",
        model="m",
        version="1",
        prediction=1,
        features={"n": 1, "b": True},
        horizon_s=1,
    )
    assert [type(value) for value in made.features.values()] == [float, bool]
