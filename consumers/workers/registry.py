"""The registry worker: reads the orders of the control plane and has each obeyed once.

A record's effects are committed to the store first, the position in the log afterwards: a crash between the
two delivers the record again, and the inbox knows it.
"""

from dataclasses import dataclass, field

from consumers.log.port import EventLog
from consumers.services.handlers import CONSUMER, Handlers
from consumers.services.results import Results
from consumers.services.schedules import Schedules
from consumers.store.engine import Store
from schemas import Topics


@dataclass(slots=True, kw_only=True)
class RegistryWorker:
    """`await step()` handles what has arrived and returns how many records; 0 means nothing was waiting.

    What `schedules` find due is asked for first, and counts as a record.

    LogUnavailable and StoreUnavailable pass through: the record is read again at the next step.
    """

    store: Store
    log: EventLog
    topics: Topics
    handlers: Handlers
    schedules: Schedules | None = None
    group: str = CONSUMER
    batch: int = 100
    results: Results = field(default_factory=Results)

    async def step(self) -> int:
        known = await self.log.topics()
        handled = await self.schedules.fire(self.handlers.context.now()) if self.schedules else 0
        # Drift before retraining before promotion: the order in which one cause leads to the next.
        for topic in (self.topics.drift_detected, self.topics.retrain_requested, self.topics.model_promoted):
            for partition in range(known[topic].partitions):
                handled += await self._drain(topic, partition)
        return handled

    async def _drain(self, topic: str, partition: int) -> int:
        position = await self.log.position(self.group, topic, partition)
        offset = await self.log.begin(topic, partition) if position is None else position
        records = await self.log.read(topic, partition, offset, self.batch)
        for record in records:
            async with self.store.write() as session:
                result = await self.handlers.handle(session, record)
            await self.log.commit(self.group, topic, partition, record.offset + 1)
            self.results.note(record, result)
        return len(records)
