"""Which events a consumer has handled: at-least-once delivery becomes exactly-once effects."""

from datetime import datetime

from sqlalchemy import select, update

from consumers.store.errors import NotFound
from consumers.store.repositories.base import Repository, SessionT_co
from consumers.store.session import WriteSession
from consumers.store.tables import inbox


class InboxRepository(Repository[SessionT_co]):
    """Events by (consumer, event id)."""

    async def first_time(
        self: "InboxRepository[WriteSession]", consumer: str, event_id: str, now: datetime
    ) -> bool:
        """Note that `consumer` handles the event; False when it did so in an earlier transaction.

        Call it first, in the transaction of the effects: both are committed or neither is.
        """
        return bool(
            await self._session.insert_if_absent(
                inbox, {"consumer": consumer, "event_id": event_id, "handled_at": now}
            )
        )

    async def set_result(
        self: "InboxRepository[WriteSession]", consumer: str, event_id: str, result: str
    ) -> None:
        """Say in a few words what came of the event. Raises NotFound for one that was not noted."""
        mine = (inbox.c.consumer == consumer) & (inbox.c.event_id == event_id)
        if not await self._session.changed(update(inbox).where(mine).values(result=result)):
            raise NotFound("inbox entry", f"{consumer}/{event_id}")

    async def result(self, consumer: str, event_id: str) -> str | None:
        """What came of the event, None when it is unknown or nothing was said."""
        mine = (inbox.c.consumer == consumer) & (inbox.c.event_id == event_id)
        found: str | None = await self._session.scalar(select(inbox.c.result).where(mine))
        return found
