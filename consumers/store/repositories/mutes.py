"""Which drift of which model people said not to announce, and until when."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select, update

from consumers.store.errors import NotFound
from consumers.store.repositories.base import Repository, SessionT_co, columns_of
from consumers.store.session import ReadSession, WriteSession
from consumers.store.tables import drift_mutes
from schemas.events import DriftType


@dataclass(frozen=True, slots=True, kw_only=True)
class Mute:
    """An order; `*_ms` are event time, `ordered_at` is the wall clock."""

    mute_id: str
    model: str
    drift_type: DriftType | None
    """None: of every type."""
    effective_from_ms: int
    until_ms: int | None
    """None: until somebody ends it."""
    actor: str
    reason: str
    ordered_at: datetime
    ended_ms: int | None = None
    """From when on somebody ended it, if somebody did."""
    ended_by: str | None = None
    ended_because: str | None = None


class MuteRepository(Repository[SessionT_co]):
    """Mutes by id, and in the order (model, effective_from_ms, mute_id). All that ever changes is the end."""

    async def add(self: "MuteRepository[WriteSession]", mute: Mute) -> bool:
        """Record a mute; False when its id is known, which changes nothing."""
        return bool(await self._session.insert_if_absent(drift_mutes, columns_of(mute)))

    async def end(
        self: "MuteRepository[WriteSession]", mute_id: str, *, ended_ms: int, actor: str, reason: str
    ) -> bool:
        """End it early; False when somebody did already, which changes nothing. Raises NotFound."""
        c = drift_mutes.c
        statement = update(drift_mutes).where(c.mute_id == mute_id, c.ended_ms.is_(None))
        values = {"ended_ms": ended_ms, "ended_by": actor, "ended_because": reason}
        if await self._session.changed(statement.values(**values)):
            return True
        if await self.get(mute_id) is None:
            raise NotFound("mute", mute_id)
        return False

    async def get(self, mute_id: str) -> Mute | None:
        """The mute, None when there is none."""
        found = await _records(self._session, select(drift_mutes).where(drift_mutes.c.mute_id == mute_id))
        return found[0] if found else None

    async def all(self, model: str | None = None) -> list[Mute]:
        """Every mute that was ordered, of one model or of all, in order."""
        c = drift_mutes.c
        query = select(drift_mutes).order_by(c.model, c.effective_from_ms, c.mute_id)
        return await _records(self._session, query if model is None else query.where(c.model == model))


async def _records(session: ReadSession, query: Select[*tuple[Any, ...]]) -> list[Mute]:
    return [Mute(**row._mapping) for row in await session.rows(query)]
