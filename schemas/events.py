"""The events of every topic, one frozen model each.

Writers are strict (an unknown field is refused when an event is built); readers ignore unknown fields
(`codec.decode`), so that a newer writer never stops an older reader. A field is never renamed or retyped:
a new meaning is a new field, or a new topic.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat

MAX_FEATURES = 512
MAX_VALUES = 64
MAX_SEGMENTS = 64
MAX_PERIOD_MS = 366 * 86_400_000
MAX_HORIZON_S = 366 * 86_400

_NO_NUL = r"^[^\x00]*$"
Name = Annotated[str, Field(min_length=1, max_length=128, pattern=_NO_NUL)]
"""Model, version, variant, experiment, unit, feature, metric names. No NUL: databases refuse it in text."""
PredictionId = Annotated[str, Field(min_length=1, max_length=64)]
Label = Annotated[str, Field(max_length=256)]
"""A class label or a categorical feature's value."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
EventId = Annotated[str, Field(min_length=1, max_length=64, pattern=_NO_NUL)]


class Event(BaseModel):
    """What all events share: frozen, strict when written."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    occurred_at: AwareDatetime
    """Event time; the record's timestamp in the log is the same moment."""


# ---------------------------------------------------------------- the two hot topics


class PredictionMade(Event):
    """One model's answer to one request. In shadow mode several variants answer one `prediction_id`."""

    prediction_id: PredictionId
    """Names the request, not the answer."""
    model: Name
    version: Name
    variant: Name | None = None
    """None outside experiments."""
    experiment: Name | None = None
    epoch: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Allocation epoch of the experiment."""
    served: bool = True
    """False for a shadow answer that nobody acted on."""
    prediction: FiniteFloat | Label
    """A number, a probability, or a class label."""
    features: Annotated[Mapping[Name, FiniteFloat | bool | Label | None], Field(max_length=MAX_FEATURES)] = (
        Field(default_factory=dict)
    )
    unit: Name | None = None
    """Sticky entity (symbol, user) that allocation hashes."""
    covariate: FiniteFloat | None = None
    """Fixed before the variant acts; used for CUPED."""
    horizon_s: Annotated[int, Field(ge=1, le=MAX_HORIZON_S)]
    """Seconds until the outcome is due."""


class OutcomeObserved(Event):
    """What really happened. Of several for one prediction the last before the cutoff counts."""

    prediction_id: PredictionId
    actual: FiniteFloat | Label
    values: Annotated[Mapping[Name, FiniteFloat], Field(max_length=MAX_VALUES)] = Field(default_factory=dict)
    """Extra metrics such as pnl; they belong to the served variant."""


# ---------------------------------------------------------------- lifecycle topics


class DriftType(StrEnum):
    CONCEPT_DRIFT = "CONCEPT_DRIFT"
    DATA_DRIFT = "DATA_DRIFT"
    PREDICTION_DRIFT = "PREDICTION_DRIFT"
    PERFORMANCE_DEGRADATION = "PERFORMANCE_DEGRADATION"


class RetrainingTrigger(StrEnum):
    MANUAL = "MANUAL"
    SCHEDULED = "SCHEDULED"
    DRIFT_DETECTED = "DRIFT_DETECTED"


class ModelStage(StrEnum):
    DEVELOPMENT = "DEVELOPMENT"
    STAGING = "STAGING"
    PRODUCTION = "PRODUCTION"
    ARCHIVED = "ARCHIVED"


class ExperimentStatus(StrEnum):
    CREATED = "CREATED"
    RUNNING = "RUNNING"
    COMPLETED_PROMOTED = "COMPLETED_PROMOTED"
    COMPLETED_ROLLED_BACK = "COMPLETED_ROLLED_BACK"
    CANCELLED = "CANCELLED"


class AllocationStrategy(StrEnum):
    PERCENTAGE_SPLIT = "PERCENTAGE_SPLIT"
    USER_SEGMENT = "USER_SEGMENT"
    NAMED_SEGMENTS = "NAMED_SEGMENTS"
    """USER_SEGMENT among the units of some segments. Routers that do not know it serve the champion."""
    SWITCHBACK = "SWITCHBACK"
    """A unit's arm is drawn anew in every period. Routers that do not know it serve the champion."""
    SHADOW_MODE = "SHADOW_MODE"


class LifecycleEvent(Event):
    """An event of the control plane; `event_id` is stable over redelivery and is what inboxes remember."""

    event_id: EventId
    model: Name


class DriftMetrics(BaseModel):
    """What a detector measured when it alarmed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    statistic: FiniteFloat
    threshold: FiniteFloat
    p_value: FiniteFloat | None = None
    sample_size: int
    features: tuple[Name, ...] = ()
    """Features named by the detector, strongest first."""
    effect_sizes: Mapping[str, FiniteFloat] = Field(default_factory=dict)
    """Of the strongest of them."""
    log_e: FiniteFloat | None = None
    """Natural logarithm of the e-value, of detectors that have one; it alarms at `threshold`."""
    tolerance: FiniteFloat | None = None
    """Change that the detector tolerates, in its own unit."""
    reference_size: FiniteFloat | None = None
    """Reference items that the sample was compared with."""
    phi: FiniteFloat | None = None
    """Overdispersion of window means that was allowed for, at least 1."""


class DriftDetected(LifecycleEvent):
    """One per drift episode."""

    drift_id: EventId
    version: Name
    drift_type: DriftType
    severity: Literal["warn", "drift"]
    detector: Name
    window_start: AwareDatetime
    window_end: AwareDatetime
    metrics: DriftMetrics
    decision_id: EventId
    estimate: bool = False
    """It rests on expected performance, before outcomes arrived; its severity is warn."""


class RetrainRequested(LifecycleEvent):
    """An order to retrain `model` on history up to `as_of`."""

    version: Name
    """The version that drifted or that a person wants replaced."""
    trigger: RetrainingTrigger
    reason: Annotated[str, Field(max_length=1024)]
    as_of: AwareDatetime
    drift_id: EventId | None = None
    decision_id: EventId | None = None
    """None only for requests made by people or by a schedule."""


class ModelPromoted(LifecycleEvent):
    """The verdict that `version` shall be PRODUCTION. Obeyed only if its decision row exists and agrees."""

    version: Name
    expected_production: Name | None
    """Compare-and-set: the PRODUCTION version that the verdict was measured against."""
    experiment: Name | None
    decision_id: EventId
    evidence_digest: Sha256


class ProductionPointer(BaseModel):
    """Which version is PRODUCTION, and where its verified bytes are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Name
    artifact_uri: Annotated[str, Field(max_length=1024)]
    artifact_sha256: Sha256
    """SHA-256 of the artifact's manifest, which holds the SHA-256 of each file."""
    epoch: Annotated[int, Field(ge=0)]
    """Raised by every promotion; followers never go back."""


class ModelStageChanged(LifecycleEvent):
    """What the registry did. Always carries the resulting PRODUCTION pointer."""

    version: Name
    from_stage: ModelStage | None
    to_stage: ModelStage
    actor: Name
    reason: Annotated[str, Field(max_length=1024)]
    decision_id: EventId | None = None
    production: ProductionPointer | None


class VariantOffer(BaseModel):
    """One arm of an experiment as routers need it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Name
    version: Name
    champion: bool
    share: Annotated[float, Field(ge=0, le=1)]
    """Share of traffic in this epoch; in shadow mode every variant answers and the champion is served."""
    artifact_uri: Annotated[str, Field(max_length=1024)]
    artifact_sha256: Sha256


class ExperimentChanged(LifecycleEvent):
    """An experiment's status and allocation; the last record per experiment is its state."""

    experiment: Name
    status: ExperimentStatus
    strategy: AllocationStrategy
    epoch: Annotated[int, Field(ge=0)]
    salt: Name
    variants: tuple[VariantOffer, ...]
    """While it is paused: the champion alone."""
    config_hash: Sha256
    decision_id: EventId | None = None
    segments: Annotated[tuple[Name, ...], Field(max_length=MAX_SEGMENTS)] = ()
    """Of NAMED_SEGMENTS: requests of other segments, or of none, have no part in it."""
    period_ms: Annotated[int, Field(ge=1, le=MAX_PERIOD_MS)] | None = None
    """Of SWITCHBACK."""


class RetrainingStatus(StrEnum):
    REQUESTED = "REQUESTED"
    SUPPRESSED = "SUPPRESSED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    VALIDATION_FAILED = "VALIDATION_FAILED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class RetrainingChanged(LifecycleEvent):
    """A retraining job's progress and outcome."""

    job_id: EventId
    status: RetrainingStatus
    trigger: RetrainingTrigger
    version: Name | None = None
    """The version that the job registered."""
    detail: Annotated[str, Field(max_length=1024)] = ""
    metrics: Mapping[str, FiniteFloat] = Field(default_factory=dict)
