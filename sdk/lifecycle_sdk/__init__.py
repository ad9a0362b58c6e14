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
    OutcomeObserved,
    PredictionMade,
    ProductionPointer,
    Topics,
)
from .events import EmbeddedEvents, EventSource, InMemoryEvents
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
    "LogError",
    "LogUnavailable",
    "ModelStageChanged",
    "NothingInProduction",
    "OutcomeObserved",
    "PredictionMade",
    "ProductionFeed",
    "ProductionPointer",
    "Publisher",
    "Router",
    "Sent",
    "Topics",
    "VerifiedArtifact",
]
