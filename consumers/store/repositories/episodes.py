"""Drift episodes, from alarm to recovery, and who knows of them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select, update

from consumers.store.errors import NotFound
from consumers.store.repositories.base import Repository, SessionT_co, columns_of
from consumers.store.session import ReadSession, WriteSession
from consumers.store.tables import drift_episodes, episode_acknowledgements
from schemas.events import DriftType

_IDS_AT_ONCE = 1_000
"""In one statement: databases have a limit of bound values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One stretch of drift of a version. Times are event time; open while `closed_at_ms` is None."""

    episode_id: str
    model: str
    version: str
    drift_type: DriftType
    severity: str
    """`warn` or `drift`."""
    opened_at_ms: int
    closed_at_ms: int | None = None
    opened_by: str | None = None
    """Decision that opened it."""
    closed_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """Somebody knows of an episode. `acknowledged_at` is the wall clock."""

    episode_id: str
    actor: str
    reason: str
    acknowledged_at: datetime


class EpisodeRepository(Repository[SessionT_co]):
    """Episodes by id, and in the order (opened_at_ms, episode_id)."""

    async def open(self: "EpisodeRepository[WriteSession]", episode: Episode) -> bool:
        """Record an episode; False when it is known already, which changes nothing."""
        return bool(await self._session.insert_if_absent(drift_episodes, columns_of(episode)))

    async def close(
        self: "EpisodeRepository[WriteSession]", episode_id: str, *, closed_at_ms: int, closed_by: str | None
    ) -> bool:
        """End an episode; False when it is ended already, which changes nothing. Raises NotFound."""
        c = drift_episodes.c
        statement = update(drift_episodes).where(c.episode_id == episode_id, c.closed_at_ms.is_(None))
        if await self._session.changed(statement.values(closed_at_ms=closed_at_ms, closed_by=closed_by)):
            return True
        if await self.get(episode_id) is None:
            raise NotFound("drift episode", episode_id)
        return False

    async def escalate(self: "EpisodeRepository[WriteSession]", episode_id: str, *, severity: str) -> None:
        """Raise the severity of an episode. Raises NotFound."""
        c = drift_episodes.c
        statement = update(drift_episodes).where(c.episode_id == episode_id).values(severity=severity)
        if not await self._session.changed(statement):
            raise NotFound("drift episode", episode_id)

    async def acknowledge(
        self: "EpisodeRepository[WriteSession]", acknowledgement: Acknowledgement
    ) -> Acknowledgement:
        """Keep that somebody knows of an episode, open or not; the first who did, if somebody did before.

        Raises NotFound.
        """
        episode_id = acknowledgement.episode_id
        if await self.get(episode_id) is None:
            raise NotFound("drift episode", episode_id)
        await self._session.insert_if_absent(episode_acknowledgements, columns_of(acknowledgement))
        return (await self.acknowledgements([episode_id]))[episode_id]

    async def acknowledgements(self, episode_ids: Collection[str]) -> dict[str, Acknowledgement]:
        """By episode, of those that somebody acknowledged."""
        ids, found = sorted(episode_ids), {}
        for start in range(0, len(ids), _IDS_AT_ONCE):
            some = ids[start : start + _IDS_AT_ONCE]
            query = select(episode_acknowledgements).where(episode_acknowledgements.c.episode_id.in_(some))
            for row in await self._session.rows(query):
                found[row.episode_id] = Acknowledgement(**row._mapping)
        return found

    async def get(self, episode_id: str) -> Episode | None:
        """The episode, None when there is none."""
        found = await _records(
            self._session, select(drift_episodes).where(drift_episodes.c.episode_id == episode_id)
        )
        return found[0] if found else None

    async def open_episodes(self, model: str) -> "list[Episode]":
        """The model's episodes that have not ended."""
        return await _records(self._session, _ordered(model).where(drift_episodes.c.closed_at_ms.is_(None)))

    async def list(
        self,
        model: str | None = None,
        *,
        drift_type: DriftType | None = None,
        since_ms: int | None = None,
        only_open: bool = False,
    ) -> list[Episode]:
        """Episodes in order, of one model or of all; `since_ms`: that opened or were open at or after it."""
        c = drift_episodes.c
        query = _ordered(model)
        if drift_type is not None:
            query = query.where(c.drift_type == drift_type)
        if since_ms is not None:
            query = query.where(
                (c.opened_at_ms >= since_ms) | c.closed_at_ms.is_(None) | (c.closed_at_ms >= since_ms)
            )
        return await _records(self._session, query.where(c.closed_at_ms.is_(None)) if only_open else query)


def _ordered(model: str | None) -> Select[*tuple[Any, ...]]:
    c = drift_episodes.c
    query = select(drift_episodes).order_by(c.opened_at_ms, c.episode_id)
    return query if model is None else query.where(c.model == model)


async def _records(session: ReadSession, query: Select[*tuple[Any, ...]]) -> list[Episode]:
    return [Episode(**row._mapping) for row in await session.rows(query)]
