"""Decisions with their evidence: each is made once, and never changed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Select, select

from consumers.store.errors import DecisionConflict
from consumers.store.repositories.base import Repository, SessionT_co, columns_of
from consumers.store.session import ReadSession, WriteSession
from consumers.store.tables import decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a judge decided. Times are event time; `body` is the canonical evidence, `digest` its SHA-256."""

    decision_id: str
    kind: str
    model: str
    subject: str
    """What the decision is about: a version and detector, or an experiment."""
    at_ms: int
    window_start_ms: int
    window_end_ms: int
    body: bytes
    digest: str
    config_hash: str
    code_version: str


_COLUMNS = [column for column in decisions.c if column.name != "recorded_at"]


class DecisionRepository(Repository[SessionT_co]):
    """Decisions by id, and in the order (at_ms, model, decision_id)."""

    async def add(self: "DecisionRepository[WriteSession]", decision: Decision, now: datetime) -> bool:
        """Record a decision; False when it stands already. Raises DecisionConflict if with another digest."""
        if await self._session.insert_if_absent(decisions, {**columns_of(decision), "recorded_at": now}):
            return True
        mine = decisions.c.decision_id == decision.decision_id
        stored = await self._session.scalar(select(decisions.c.digest).where(mine))
        if stored != decision.digest:
            raise DecisionConflict(decision.decision_id, str(stored), decision.digest)
        return False

    async def get(self, decision_id: str) -> Decision | None:
        """The decision, None when there is none."""
        row = await self._session.first(select(*_COLUMNS).where(decisions.c.decision_id == decision_id))
        return None if row is None else Decision(**row._mapping)

    async def latest(
        self, *, model: str | None = None, kind: str | None = None, limit: int
    ) -> list[Decision]:
        """The last `limit` decisions, in order."""
        c = decisions.c
        query = _ordered(model, kind).order_by(None)
        backwards = query.order_by(c.at_ms.desc(), c.model.desc(), c.decision_id.desc())
        return (await _records(self._session, backwards.limit(limit)))[::-1]

    async def of_episode(self, opened_by: str, model: str) -> "list[Decision]":
        """The opening of a drift episode of the model and what followed from it, in order.

        The bytes of every later one name the opening; so drift decisions only, whose number stays small.
        """
        opening = await self.get(opened_by)
        if opening is None:
            return []
        c = decisions.c
        later = _ordered(model, None).where(c.subject == opening.subject, c.at_ms >= opening.at_ms)
        kinds = later.where(c.kind.in_(("escalation", "recovery")))
        cause = ["drift", model, opening.subject, str(opening.window_start_ms), str(opening.at_ms)]
        followed = [
            each
            for each in await _records(self._session, kinds)
            if orjson.loads(each.body)["evidence"].get("cause") == cause
        ]
        return [opening, *followed]

    async def list(
        self,
        *,
        model: str | None = None,
        kind: str | None = None,
        since_ms: int | None = None,
        limit: int | None = None,
    ) -> list[Decision]:
        """Decisions in order, the first `limit` of them, none before `since_ms`."""
        query = _ordered(model, kind).limit(limit)
        query = query if since_ms is None else query.where(decisions.c.at_ms >= since_ms)
        return await _records(self._session, query)


def _ordered(model: str | None, kind: str | None) -> Select[*tuple[Any, ...]]:
    c = decisions.c
    query = select(*_COLUMNS).order_by(c.at_ms, c.model, c.decision_id)
    if model is not None:
        query = query.where(c.model == model)
    return query if kind is None else query.where(c.kind == kind)


async def _records(session: ReadSession, query: Select[*tuple[Any, ...]]) -> list[Decision]:
    return [Decision(**row._mapping) for row in await session.rows(query)]
