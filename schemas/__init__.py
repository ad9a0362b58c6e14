"""The wire contracts: events, topics, codec, and the file format of the embedded log.

Imports only pydantic and the standard library, and only relatively: the SDK ships the same files.
"""

from .clock import from_ms, to_ms
from .codec import decode, encode
from .errors import (
    FutureTimestamp,
    InvalidRecord,
    LogError,
    LogUnavailable,
    OffsetOutOfRange,
    TopicMismatch,
    UnknownTopic,
)
from .events import (
    AllocationStrategy,
    DriftDetected,
    DriftMetrics,
    DriftType,
    Event,
    ExperimentChanged,
    ExperimentStatus,
    LifecycleEvent,
    ModelPromoted,
    ModelStage,
    ModelStageChanged,
    OutcomeObserved,
    PredictionMade,
    ProductionPointer,
    RetrainingChanged,
    RetrainingStatus,
    RetrainingTrigger,
    RetrainRequested,
    VariantOffer,
)
from .logfile import LogFile
from .logrecords import Headers, LogRecord, NewRecord, TopicSpec
from .outgoing import heartbeat, record_of
from .partitioner import murmur2, partition_for
from .topics import Topics, event_of, key_of

__all__ = [
    "AllocationStrategy",
    "DriftDetected",
    "DriftMetrics",
    "DriftType",
    "Event",
    "ExperimentChanged",
    "ExperimentStatus",
    "FutureTimestamp",
    "Headers",
    "InvalidRecord",
    "LifecycleEvent",
    "LogError",
    "LogFile",
    "LogRecord",
    "LogUnavailable",
    "ModelPromoted",
    "ModelStage",
    "ModelStageChanged",
    "NewRecord",
    "OffsetOutOfRange",
    "OutcomeObserved",
    "PredictionMade",
    "ProductionPointer",
    "RetrainRequested",
    "RetrainingChanged",
    "RetrainingStatus",
    "RetrainingTrigger",
    "TopicMismatch",
    "TopicSpec",
    "Topics",
    "UnknownTopic",
    "VariantOffer",
    "decode",
    "encode",
    "event_of",
    "from_ms",
    "heartbeat",
    "key_of",
    "murmur2",
    "partition_for",
    "record_of",
    "to_ms",
]
