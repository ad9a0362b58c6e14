"""The topics, the event that each carries, and the key that each event is placed by."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .errors import UnknownTopic
from .events import (
    DriftDetected,
    Event,
    ExperimentChanged,
    LifecycleEvent,
    ModelPromoted,
    ModelStageChanged,
    OutcomeObserved,
    PredictionMade,
    RetrainingChanged,
    RetrainRequested,
)
from .logrecords import TopicSpec

DEFAULT_PREFIX = "lifecycle."
DEAD_LETTER = "dead-letter"

TOPIC_EVENTS: Mapping[str, type[Event]] = MappingProxyType(
    {
        "predictions": PredictionMade,
        "outcomes": OutcomeObserved,
        "drift-detected": DriftDetected,
        "retrain-requested": RetrainRequested,
        "model-promoted": ModelPromoted,
        "model-stage-changed": ModelStageChanged,
        "experiment-changed": ExperimentChanged,
        "retraining-changed": RetrainingChanged,
    }
)
"""Event of each topic, by the topic's name without prefix."""

HOT_TOPICS = frozenset({"predictions", "outcomes"})
COMPACTED_TOPICS = frozenset({"model-stage-changed", "experiment-changed"})
_NAMES = MappingProxyType({event: name for name, event in TOPIC_EVENTS.items()})
_EVENT_NAMES = MappingProxyType({event.__name__: event for event in TOPIC_EVENTS.values()})


@dataclass(frozen=True, slots=True)
class Topics:
    """The full topic names of one deployment. The prefix is empty or ends with a dot."""

    prefix: str = DEFAULT_PREFIX

    def __post_init__(self) -> None:
        if self.prefix and not self.prefix.endswith("."):
            raise ValueError(f"the topic prefix {self.prefix!r} must end with a dot")

    @property
    def predictions(self) -> str:
        return f"{self.prefix}predictions"

    @property
    def outcomes(self) -> str:
        return f"{self.prefix}outcomes"

    @property
    def drift_detected(self) -> str:
        return f"{self.prefix}drift-detected"

    @property
    def retrain_requested(self) -> str:
        return f"{self.prefix}retrain-requested"

    @property
    def model_promoted(self) -> str:
        return f"{self.prefix}model-promoted"

    @property
    def model_stage_changed(self) -> str:
        return f"{self.prefix}model-stage-changed"

    @property
    def experiment_changed(self) -> str:
        return f"{self.prefix}experiment-changed"

    @property
    def retraining_changed(self) -> str:
        return f"{self.prefix}retraining-changed"

    @property
    def dead_letter(self) -> str:
        return f"{self.prefix}{DEAD_LETTER}"

    def of(self, event: Event | type[Event]) -> str:
        """The topic that `event` belongs to."""
        kind = event if isinstance(event, type) else type(event)
        return f"{self.prefix}{_NAMES[kind]}"

    def specs(
        self, partitions: int, *, lifecycle_partitions: int = 1, hot_retention_ms: int = -1
    ) -> list[TopicSpec]:
        """Every topic as it should be created; predictions and outcomes always get equal partition counts."""
        return [
            TopicSpec(
                name=f"{self.prefix}{name}",
                partitions=partitions if name in HOT_TOPICS else lifecycle_partitions,
                cleanup="compact" if name in COMPACTED_TOPICS else "delete",
                retention_ms=hot_retention_ms if name in HOT_TOPICS else -1,
            )
            for name in (*TOPIC_EVENTS, DEAD_LETTER)
        ]


def event_of(topic_or_type: str) -> type[Event]:
    """The event of a topic (with any prefix or none) or of an event's name. Raises UnknownTopic."""
    named = _EVENT_NAMES.get(topic_or_type) or TOPIC_EVENTS.get(topic_or_type.rpartition(".")[2])
    if named is None:
        raise UnknownTopic(topic_or_type)
    return named


def key_of(event: Event) -> bytes:
    """The record key: the prediction's id, the experiment, or the model."""
    match event:
        case PredictionMade() | OutcomeObserved():
            key = event.prediction_id
        case ExperimentChanged():
            key = event.experiment
        case LifecycleEvent():
            key = event.model
        case _:
            raise TypeError(f"{type(event).__name__} has no topic")
    return key.encode()
