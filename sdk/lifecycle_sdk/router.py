"""Who answers a request: the PRODUCTION version, or the arms of a running experiment."""

from dataclasses import dataclass
from datetime import datetime

from .allocation.assign import Allocation
from .allocation.split import Arm
from .contracts import ExperimentChanged, ExperimentStatus
from .contracts.clock import to_ms
from .events import EventSource, Follower
from .production import ProductionFeed


class NothingInProduction(LookupError):
    """The registry has not announced a PRODUCTION version of this model yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One answer to give. Its fields go into `PredictionMade` as they are."""

    version: str
    variant: str | None
    """None outside experiments."""
    experiment: str | None
    epoch: int
    """Allocation epoch of the experiment; 0 outside."""
    served: bool
    """Act on this answer. A shadow answer is published and not acted on."""
    artifact_uri: str
    artifact_sha256: str


class Router:
    """Follows promotions and experiments of one model; assignments are pure functions of what it has read.

    Every router that has read the same events gives the same answers, on any machine.
    """

    def __init__(self, source: EventSource, model: str) -> None:
        self.production = ProductionFeed(source, model)
        self._model = model
        self._follower = Follower(source, source.topics.experiment_changed, ExperimentChanged)
        self._experiments: dict[str, ExperimentChanged] = {}
        self._allocations: dict[tuple[str, int], Allocation] = {}

    async def poll(self) -> bool:
        """Read what is new; whether assignments may have changed. Raises LogUnavailable."""
        changed = await self.production.poll()
        for event in await self._follower.new():
            if event.model == self._model and self._is_newer(event):
                self._experiments[event.experiment] = event
                changed = True
        return changed

    @property
    def experiment(self) -> ExperimentChanged | None:
        """The experiment that allocates requests now; None outside experiments.

        One whose champion is not the PRODUCTION version has been overtaken by a promotion and is ignored.
        """
        current = self.production.current
        running = [
            event
            for event in self._experiments.values()
            if event.status is ExperimentStatus.RUNNING
            and current is not None
            and any(offer.champion and offer.version == current.version for offer in event.variants)
        ]
        return min(running, key=lambda event: event.experiment, default=None)

    def route(
        self,
        prediction_id: str,
        unit: str | None = None,
        *,
        segment: str | None = None,
        at: datetime | None = None,
    ) -> tuple[Assignment, ...]:
        """The answers to give to one request; exactly one is served.

        `segment` is the unit's, for experiments among named segments: where it is none of theirs, the
        PRODUCTION version answers outside the experiment. `at` is the prediction's `occurred_at`, for
        experiments that switch by time.

        Raises NothingInProduction; UnitMissing or TimeMissing if the experiment allocates by it and there
        is none.
        """
        current = self.production.current
        if current is None:
            raise NothingInProduction(f"{self._model} has no PRODUCTION version yet")
        experiment = self.experiment
        answers = (
            ()
            if experiment is None
            else self._allocation(experiment).answers(
                prediction_id, unit, segment=segment, at_ms=None if at is None else to_ms(at)
            )
        )
        if experiment is None or not answers:
            return (
                Assignment(
                    version=current.version,
                    variant=None,
                    experiment=None,
                    epoch=0,
                    served=True,
                    artifact_uri=current.artifact_uri,
                    artifact_sha256=current.artifact_sha256,
                ),
            )
        offers = {offer.name: offer for offer in experiment.variants}
        return tuple(
            Assignment(
                version=offers[answer.arm].version,
                variant=answer.arm,
                experiment=experiment.experiment,
                epoch=experiment.epoch,
                served=answer.served,
                artifact_uri=offers[answer.arm].artifact_uri,
                artifact_sha256=offers[answer.arm].artifact_sha256,
            )
            for answer in answers
        )

    def _allocation(self, experiment: ExperimentChanged) -> Allocation:
        key = (experiment.experiment, experiment.epoch)
        if key not in self._allocations:
            arms = [
                Arm(name=offer.name, share=offer.share, champion=offer.champion)
                for offer in experiment.variants
            ]
            self._allocations[key] = Allocation(
                experiment.strategy.value,
                experiment.salt,
                arms,
                segments=experiment.segments,
                period_ms=experiment.period_ms,
            )
        return self._allocations[key]

    def _is_newer(self, event: ExperimentChanged) -> bool:
        known = self._experiments.get(event.experiment)
        if known is None:
            return True
        # what has ended stays ended, whatever is delivered again
        return known.status is ExperimentStatus.RUNNING and event.epoch >= known.epoch
