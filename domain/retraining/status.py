"""A retraining job's life cycle."""

from enum import StrEnum

from domain.transitions import Moves


class RetrainingStatus(StrEnum):
    REQUESTED = "REQUESTED"
    SUPPRESSED = "SUPPRESSED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    VALIDATION_FAILED = "VALIDATION_FAILED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class RetrainingTrigger(StrEnum):
    MANUAL = "MANUAL"
    SCHEDULED = "SCHEDULED"
    DRIFT_DETECTED = "DRIFT_DETECTED"


class Suppress:
    """Another job is open or an experiment is running: the request is recorded, and nothing is trained."""


class Claim:
    """A trainer took the lease; taking over an expired lease is the same move."""


class Succeed:
    """A version was registered."""


class RejectCandidate:
    """There was too little history, or the candidate was worse than the champion on the holdout."""


class Fail:
    """The training command failed, or what it wrote cannot be used."""


class Cancel:
    """A person withdrew the job."""


JOBS: Moves[RetrainingStatus] = {
    RetrainingStatus.REQUESTED: {
        Suppress: RetrainingStatus.SUPPRESSED,
        Claim: RetrainingStatus.RUNNING,
        Cancel: RetrainingStatus.CANCELLED,
    },
    RetrainingStatus.SUPPRESSED: {},
    RetrainingStatus.RUNNING: {
        Claim: RetrainingStatus.RUNNING,
        Succeed: RetrainingStatus.SUCCEEDED,
        RejectCandidate: RetrainingStatus.VALIDATION_FAILED,
        Fail: RetrainingStatus.FAILED,
        Cancel: RetrainingStatus.CANCELLED,
    },
    RetrainingStatus.SUCCEEDED: {},
    RetrainingStatus.VALIDATION_FAILED: {},
    RetrainingStatus.FAILED: {},
    RetrainingStatus.CANCELLED: {},
}
