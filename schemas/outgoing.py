"""An event as the record that a publisher appends."""

from .clock import to_ms
from .cloudevents import headers
from .codec import encode
from .events import Event, LifecycleEvent
from .logrecords import NewRecord
from .topics import Topics, key_of


def record_of(event: Event, topics: Topics, *, source: str) -> NewRecord:
    """The record of `event`: topic, key, value, event time, and on lifecycle topics CloudEvents headers."""
    return NewRecord(
        topic=topics.of(event),
        key=key_of(event),
        value=encode(event),
        timestamp_ms=to_ms(event.occurred_at),
        headers=headers(event, source) if isinstance(event, LifecycleEvent) else (),
    )


def heartbeat(topic: str, partition: int, timestamp_ms: int) -> NewRecord:
    """The empty record that says: this partition has been quiet until `timestamp_ms`."""
    return NewRecord(topic=topic, key=None, value=b"", timestamp_ms=timestamp_ms, partition=partition)
