"""A version's stages and status, and the only moves between them."""

from dataclasses import dataclass
from enum import StrEnum

from domain.transitions import Moves


class ModelStage(StrEnum):
    DEVELOPMENT = "DEVELOPMENT"
    STAGING = "STAGING"
    PRODUCTION = "PRODUCTION"
    ARCHIVED = "ARCHIVED"


class ModelStatus(StrEnum):
    """Where a version is in its own registration; orthogonal to its stage."""

    PENDING_REGISTRATION = "PENDING_REGISTRATION"
    REGISTERED = "REGISTERED"
    VALIDATION_FAILED = "VALIDATION_FAILED"
    DEPLOYMENT_ACTIVE = "DEPLOYMENT_ACTIVE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """An order to move one version; it names who, why and when (event time)."""

    actor: str
    reason: str
    at_ms: int
    decision_id: str | None = None


class Stage(Move):
    """DEVELOPMENT to STAGING: ready to be compared."""

    __slots__ = ()


class Promote(Move):
    """STAGING to PRODUCTION: by a verdict or by a person."""

    __slots__ = ()


class Displace(Move):
    """PRODUCTION to ARCHIVED: only ever in the transaction that promotes or restores another version."""

    __slots__ = ()


class Archive(Move):
    """A version that never served is put away."""

    __slots__ = ()


class Restore(Move):
    """ARCHIVED to PRODUCTION: a person or a hold-back rolls back to a version that served before."""

    __slots__ = ()


STAGES: Moves[ModelStage] = {
    ModelStage.DEVELOPMENT: {Stage: ModelStage.STAGING, Archive: ModelStage.ARCHIVED},
    ModelStage.STAGING: {Promote: ModelStage.PRODUCTION, Archive: ModelStage.ARCHIVED},
    ModelStage.PRODUCTION: {Displace: ModelStage.ARCHIVED},
    ModelStage.ARCHIVED: {Restore: ModelStage.PRODUCTION},
}

# Entering PRODUCTION deploys a version, leaving it withdraws it; nothing else changes its status.
STATUS_OF_STAGE = {
    ModelStage.DEVELOPMENT: ModelStatus.REGISTERED,
    ModelStage.STAGING: ModelStatus.REGISTERED,
    ModelStage.PRODUCTION: ModelStatus.DEPLOYMENT_ACTIVE,
    ModelStage.ARCHIVED: ModelStatus.REGISTERED,
}
