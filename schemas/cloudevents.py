"""CloudEvents 1.0 headers in Kafka's binary mode, for the lifecycle topics.

Source: CloudEvents 1.0.2, Kafka protocol binding, section 3.2 (attributes become headers `ce_…`).
"""

from .events import Event, LifecycleEvent
from .logrecords import Headers

SPEC_VERSION = "1.0"
TYPE_PREFIX = "lifecycle."


def headers(event: LifecycleEvent, source: str) -> Headers:
    """The headers of `event`; `source` names the process that made it, such as `lifecycle/judge`."""
    return (
        ("ce_specversion", SPEC_VERSION.encode()),
        ("ce_id", event.event_id.encode()),
        ("ce_type", event_type(type(event)).encode()),
        ("ce_source", source.encode()),
        ("ce_time", event.occurred_at.isoformat().encode()),
        ("content-type", b"application/json"),
    )


def event_type(event: type[Event]) -> str:
    """The CloudEvents type, such as `lifecycle.DriftDetected`."""
    return f"{TYPE_PREFIX}{event.__name__}"


def event_id(headers: Headers) -> str | None:
    """The event id in a record's headers, None without one or if it is not UTF-8."""
    for name, value in headers:
        if name == "ce_id":
            try:
                return value.decode()
            except UnicodeDecodeError:
                return None
    return None
