"""The relay: what transactions promised in the outbox goes to the log, in the order of the promises.

Appending and marking are two steps, so a relay that dies between them sends again: at least once. Every
reader of these topics keeps an inbox or follows epochs, so the effect is once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from consumers.log.port import EventLog, NewRecord
from consumers.store.engine import Store
from consumers.store.repositories.outbox import OutboxRepository


@dataclass(slots=True, kw_only=True)
class Relay:
    """`await step()` sends one batch and returns its size; 0 means nothing was waiting.

    LogUnavailable and StoreUnavailable pass through: nothing is lost, the next step sends the batch again.
    """

    store: Store
    log: EventLog
    now: Callable[[], datetime]
    batch: int = 500
    sent: int = 0
    """Records appended since the start, repetitions included."""

    async def step(self) -> int:
        async with self.store.read() as session:
            waiting = await OutboxRepository(session).unsent(self.batch)
        if not waiting:
            return 0
        await self.log.append(
            [
                NewRecord(
                    topic=record.topic,
                    key=record.key,
                    value=record.value,
                    timestamp_ms=record.timestamp_ms,
                    headers=record.headers,
                )
                for record in waiting
            ]
        )
        self.sent += len(waiting)
        async with self.store.write() as session:
            await OutboxRepository(session).mark_sent([record.id for record in waiting], self.now())
        return len(waiting)
