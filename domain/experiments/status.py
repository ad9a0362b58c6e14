"""An experiment's life cycle."""

from enum import StrEnum

from domain.transitions import Moves


class ExperimentStatus(StrEnum):
    CREATED = "CREATED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    """Runs, and the champion has all traffic: to routers it is RUNNING with one arm."""
    COMPLETED_PROMOTED = "COMPLETED_PROMOTED"
    COMPLETED_ROLLED_BACK = "COMPLETED_ROLLED_BACK"
    CANCELLED = "CANCELLED"


class Start:
    """The plan is frozen, hashed and offered to routers."""


class Ramp:
    """Other shares of the traffic, in a new allocation epoch."""


class Pause:
    """All traffic goes back to the champion; the evidence stays."""


class Resume:
    """The challengers get the shares back that they had, in a new allocation epoch."""


class ConcludePromoted:
    """The challenger won."""


class ConcludeRolledBack:
    """The champion stays: it won, or the horizon came without enough evidence."""


class Stop:
    """A person ended it without a verdict: the champion stays, challengers are archived."""


class Cancel:
    """A person, or a champion that changed underneath, ended the experiment without a verdict."""


EXPERIMENTS: Moves[ExperimentStatus] = {
    ExperimentStatus.CREATED: {Start: ExperimentStatus.RUNNING, Cancel: ExperimentStatus.CANCELLED},
    ExperimentStatus.RUNNING: {
        Ramp: ExperimentStatus.RUNNING,
        Pause: ExperimentStatus.PAUSED,
        ConcludePromoted: ExperimentStatus.COMPLETED_PROMOTED,
        ConcludeRolledBack: ExperimentStatus.COMPLETED_ROLLED_BACK,
        Stop: ExperimentStatus.COMPLETED_ROLLED_BACK,
        Cancel: ExperimentStatus.CANCELLED,
    },
    ExperimentStatus.PAUSED: {
        Resume: ExperimentStatus.RUNNING,
        ConcludePromoted: ExperimentStatus.COMPLETED_PROMOTED,
        ConcludeRolledBack: ExperimentStatus.COMPLETED_ROLLED_BACK,
        Stop: ExperimentStatus.COMPLETED_ROLLED_BACK,
        Cancel: ExperimentStatus.CANCELLED,
    },
    ExperimentStatus.COMPLETED_PROMOTED: {},
    ExperimentStatus.COMPLETED_ROLLED_BACK: {},
    ExperimentStatus.CANCELLED: {},
}
