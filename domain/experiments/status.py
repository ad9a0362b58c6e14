"""An experiment's life cycle."""

from enum import StrEnum

from domain.transitions import Moves


class ExperimentStatus(StrEnum):
    CREATED = "CREATED"
    RUNNING = "RUNNING"
    COMPLETED_PROMOTED = "COMPLETED_PROMOTED"
    COMPLETED_ROLLED_BACK = "COMPLETED_ROLLED_BACK"
    CANCELLED = "CANCELLED"


class Start:
    """The plan is frozen, hashed and offered to routers."""


class ConcludePromoted:
    """The challenger won."""


class ConcludeRolledBack:
    """The champion stays: it won, or the horizon came without enough evidence."""


class Cancel:
    """A person, or a champion that changed underneath, ended the experiment without a verdict."""


EXPERIMENTS: Moves[ExperimentStatus] = {
    ExperimentStatus.CREATED: {Start: ExperimentStatus.RUNNING, Cancel: ExperimentStatus.CANCELLED},
    ExperimentStatus.RUNNING: {
        ConcludePromoted: ExperimentStatus.COMPLETED_PROMOTED,
        ConcludeRolledBack: ExperimentStatus.COMPLETED_ROLLED_BACK,
        Cancel: ExperimentStatus.CANCELLED,
    },
    ExperimentStatus.COMPLETED_PROMOTED: {},
    ExperimentStatus.COMPLETED_ROLLED_BACK: {},
    ExperimentStatus.CANCELLED: {},
}
