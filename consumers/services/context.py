"""What every service of one process shares: topic names, window rules, its own name and the wall clock."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from consumers.store.repositories.outbox import OutboxRepository
from consumers.store.session import WriteSession
from domain.windows.policy import WindowPolicy
from schemas import Topics
from schemas.events import LifecycleEvent
from schemas.outgoing import record_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceContext:
    topics: Topics
    windows: WindowPolicy
    source: str
    """CloudEvents source of what this process promises, such as `lifecycle/registry`."""
    now: Callable[[], datetime]
    """Wall clock, for `recorded_at` columns only; event time is always passed in."""

    async def promise(self, session: WriteSession, event: LifecycleEvent) -> bool:
        """Puts `event` into the outbox of this transaction; False when its id is promised already."""
        record = record_of(event, self.topics, source=self.source)
        assert record.key is not None  # noqa: S101 - lifecycle events are keyed
        assert record.value is not None  # noqa: S101 - and have a body
        return await OutboxRepository(session).add(
            event_id=event.event_id,
            topic=record.topic,
            key=record.key,
            value=record.value,
            headers=record.headers,
            timestamp_ms=record.timestamp_ms,
            now=self.now(),
        )
