"""Which version is PRODUCTION, as the registry announces it."""

from .contracts import ModelStageChanged, ProductionPointer
from .events import EventSource, Follower


class ProductionFeed:
    """Follows model-stage-changed for one model. Never goes back: an older epoch is ignored."""

    def __init__(self, source: EventSource, model: str) -> None:
        self.current: ProductionPointer | None = None
        """The PRODUCTION version, its artifact's address and SHA-256, its epoch; None before the first."""
        self._model = model
        self._follower = Follower(source, source.topics.model_stage_changed, ModelStageChanged)

    async def poll(self) -> bool:
        """Read what is new; whether `current` changed. Raises LogUnavailable."""
        before = self.current
        for event in await self._follower.new():
            if event.model == self._model and event.production is not None:
                self._offer(event.production)
        return self.current != before

    def _offer(self, pointer: ProductionPointer) -> None:
        if self.current is None or pointer.epoch > self.current.epoch:
            self.current = pointer
