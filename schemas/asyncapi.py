"""The AsyncAPI 3 document: every topic, its messages, and who sends and receives them.

Source: AsyncAPI 3.0.0 specification; Kafka bindings 0.5.0.
"""

from inspect import getdoc
from typing import Any, Literal

from pydantic.json_schema import models_json_schema

from .cloudevents import SPEC_VERSION, event_type
from .events import Event
from .topics import COMPACTED_TOPICS, DEAD_LETTER, HOT_TOPICS, TOPIC_EVENTS, Topics

Document = dict[str, Any]
Action = Literal["send", "receive"]

_BINDING = "0.5.0"
_KEYS = {
    "predictions": "prediction_id: predictions and outcomes of one id share a partition number.",
    "outcomes": "prediction_id: predictions and outcomes of one id share a partition number.",
    "experiment-changed": "experiment: the last record per experiment is its state.",
}
_MODEL_KEY = "model: the events of one model stay in order."

# application, action, topic, what for
_OPERATIONS: tuple[tuple[str, Action, str, str], ...] = (
    ("sdk", "send", "predictions", "PredictionService reports each answer."),
    ("sdk", "send", "outcomes", "Whoever learns what really happened reports it."),
    ("sdk", "receive", "model-stage-changed", "ProductionFeed: which version serves."),
    ("sdk", "receive", "experiment-changed", "Router: which variant answers."),
    ("service", "send", "predictions", "The tally worker appends heartbeats to its idle partitions."),
    ("service", "send", "outcomes", "The tally worker appends heartbeats to its idle partitions."),
    ("service", "receive", "predictions", "The tally worker folds them into windows."),
    ("service", "receive", "outcomes", "The tally worker joins them with predictions."),
    ("service", "send", "drift-detected", "The judge opens a drift episode."),
    ("service", "receive", "drift-detected", "The registry worker marks the version."),
    ("service", "send", "retrain-requested", "The judge, a schedule or a person asks for a new version."),
    ("service", "receive", "retrain-requested", "The registry worker opens a job."),
    ("service", "send", "model-promoted", "The judge's verdict that a version shall be PRODUCTION."),
    ("service", "receive", "model-promoted", "The registry worker obeys if its decision exists."),
    ("service", "send", "model-stage-changed", "What the registry did."),
    ("service", "send", "experiment-changed", "An experiment's status and allocation."),
    ("service", "send", "retraining-changed", "A job's progress and outcome."),
    ("service", "send", DEAD_LETTER, "Records that cannot be read, with the reason."),
)


def asyncapi(version: str) -> Document:
    """The document for the default topic prefix; `version` is that of the contracts."""
    _, definitions = models_json_schema(
        [(event, "validation") for event in TOPIC_EVENTS.values()],
        ref_template="#/components/schemas/{model}",
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Model lifecycle",
            "version": version,
            "description": "Predictions and outcomes in; drift, experiments, promotions and retraining out.",
        },
        "defaultContentType": "application/json",
        "channels": {topic: _channel(topic) for topic in (*TOPIC_EVENTS, DEAD_LETTER)},
        "operations": {
            f"{application}.{action}.{topic}": _operation(application, action, topic, summary)
            for application, action, topic, summary in _OPERATIONS
        },
        "components": {
            "messages": {
                **{event.__name__: _message(topic, event) for topic, event in TOPIC_EVENTS.items()},
                "Heartbeat": _heartbeat(),
                "DeadLetter": _dead_letter(),
            },
            "schemas": {**definitions["$defs"], "CloudEventHeaders": _cloudevent_headers()},
        },
    }


def _channel(topic: str) -> Document:
    cleanup = "compact" if topic in COMPACTED_TOPICS else "delete"
    return {
        "address": getattr(Topics(), topic.replace("-", "_")),
        "description": (getdoc(TOPIC_EVENTS[topic]) if topic in TOPIC_EVENTS else None)
        or "Records that could not be read: the original key, value and headers, and why.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _names(topic)},
        "bindings": {
            "kafka": {"topicConfiguration": {"cleanup.policy": [cleanup]}, "bindingVersion": _BINDING}
        },
    }


def _names(topic: str) -> list[str]:
    if topic == DEAD_LETTER:
        return ["DeadLetter"]
    event = TOPIC_EVENTS[topic].__name__
    return [event, "Heartbeat"] if topic in HOT_TOPICS else [event]


def _operation(application: str, action: Action, topic: str, summary: str) -> Document:
    names = _names(topic)
    if topic in HOT_TOPICS and action == "send":
        names = ["Heartbeat"] if application == "service" else [TOPIC_EVENTS[topic].__name__]
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{topic}"},
        "summary": summary,
        "tags": [{"name": application}],
        "messages": [{"$ref": f"#/channels/{topic}/messages/{name}"} for name in names],
    }


def _message(topic: str, event: type[Event]) -> Document:
    message: Document = {
        "name": event.__name__,
        "summary": getdoc(event),
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{event.__name__}"},
        "bindings": _key(_KEYS.get(topic, _MODEL_KEY)),
    }
    if topic not in HOT_TOPICS:
        message["headers"] = {
            "allOf": [
                {"$ref": "#/components/schemas/CloudEventHeaders"},
                {"properties": {"ce_type": {"const": event_type(event)}}},
            ]
        }
    return message


def _heartbeat() -> Document:
    return {
        "name": "Heartbeat",
        "summary": "An empty value: the partition has been quiet until the record's timestamp.",
        "payload": {"type": "string", "maxLength": 0},
    }


def _dead_letter() -> Document:
    text = {"type": "string"}
    return {
        "name": "DeadLetter",
        "summary": "A record that could not be read, as it was.",
        "contentType": "application/octet-stream",
        "headers": {
            "type": "object",
            "properties": {"topic": text, "partition": text, "offset": text, "reason": text},
            "required": ["topic", "partition", "offset", "reason"],
        },
        "payload": {"type": "string", "format": "binary"},
        "bindings": _key("The key of the original record; it may be absent."),
    }


def _cloudevent_headers() -> Document:
    def text(description: str, **more: str) -> Document:
        return {"type": "string", "description": description, **more}

    return {
        "type": "object",
        "description": "CloudEvents 1.0 attributes in Kafka's binary mode; values are UTF-8.",
        "properties": {
            "ce_specversion": {"type": "string", "const": SPEC_VERSION},
            "ce_id": text("The event's id, stable over redelivery."),
            "ce_type": text("The event's type, such as lifecycle.DriftDetected."),
            "ce_source": text("The process that made the event."),
            "ce_time": text("Event time.", format="date-time"),
            "content-type": {"type": "string", "const": "application/json"},
        },
        "required": ["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time"],
    }


def _key(description: str) -> Document:
    return {"kafka": {"key": {"type": "string", "description": description}, "bindingVersion": _BINDING}}
