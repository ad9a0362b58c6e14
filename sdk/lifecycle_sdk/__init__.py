"""The SDK of the model lifecycle service: publish what was predicted, follow promotions and experiments.

This is all that a PredictionService installs; it knows the service through its contracts only.
"""

from .artifacts import ArtifactClient, ArtifactRefused, VerifiedArtifact
from .contracts import (
    ExperimentChanged,
    FutureTimestamp,
    LogError,
    LogUnavailable,
    ModelStageChanged,
    OffsetOutOfRange,
    OutcomeObserved,
    PredictionMade,
    ProductionPointer,
    Topics,
    UnknownTopic,
)
from .contracts.errors import LogRefused
from .events import EmbeddedEvents, EventSource, InMemoryEvents
from .kafka_connection import KafkaConnection
from .kafka_driver import KafkaMissing
from .kafka_events import KafkaEvents
from .kafka_publisher import KafkaPublisher, PartitionsDiffer, SequencesUnsupported
from .production import ProductionFeed
from .publisher import BatchTooLarge, EmbeddedPublisher, InMemoryPublisher, Publisher, Sent
from .router import Assignment, NothingInProduction, Router

__all__ = [
    "ArtifactClient",
    "ArtifactRefused",
    "Assignment",
    "BatchTooLarge",
    "EmbeddedEvents",
    "EmbeddedPublisher",
    "EventSource",
    "ExperimentChanged",
    "FutureTimestamp",
    "InMemoryEvents",
    "InMemoryPublisher",
    "KafkaConnection",
    "KafkaEvents",
    "KafkaMissing",
    "KafkaPublisher",
    "LogError",
    "LogRefused",
    "LogUnavailable",
    "ModelStageChanged",
    "NothingInProduction",
    "OffsetOutOfRange",
    "OutcomeObserved",
    "PartitionsDiffer",
    "PredictionMade",
    "ProductionFeed",
    "ProductionPointer",
    "Publisher",
    "Router",
    "Sent",
    "SequencesUnsupported",
    "Topics",
    "UnknownTopic",
    "VerifiedArtifact",
]
