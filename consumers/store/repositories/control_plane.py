"""Orders on their way: promised in the outbox, and not yet in the inbox of whom they are for."""

from collections.abc import Mapping

from sqlalchemy import and_, func, literal, or_, select

from consumers.store.repositories.base import Repository, SessionT_co
from consumers.store.tables import inbox, outbox


class ControlPlaneRepository(Repository[SessionT_co]):
    """What the outbox and the inboxes say together."""

    async def unhandled(self, consumers: Mapping[str, str]) -> int:
        """How many events of the given topics are in no inbox; `consumers` names each topic's consumer."""
        addressed = or_(
            *(
                and_(outbox.c.topic == topic, inbox.c.consumer == literal(consumer))
                for topic, consumer in consumers.items()
            )
        )
        query = (
            select(func.count())
            .select_from(outbox.outerjoin(inbox, and_(inbox.c.event_id == outbox.c.event_id, addressed)))
            .where(outbox.c.topic.in_(list(consumers)), inbox.c.event_id.is_(None))
        )
        return int(await self._session.scalar(query) or 0)
