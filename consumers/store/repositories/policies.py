"""Each model's drift, retraining and experiment policy, in force from an event time on."""

from dataclasses import dataclass

import orjson
from sqlalchemy import func, select

from consumers.store.errors import ImmutableConflict
from consumers.store.repositories.base import Repository, SessionT_co
from consumers.store.session import WriteSession
from consumers.store.tables import policies
from consumers.store.types import Json, digest_of


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPolicy:
    """A policy and the SHA-256 of its canonical JSON."""

    model: str
    effective_from_ms: int
    body: Json
    hash: str


class PolicyRepository(Repository[SessionT_co]):
    """Policies by (model, start). They are never changed, only followed by others."""

    async def add(
        self: "PolicyRepository[WriteSession]", *, model: str, effective_from_ms: int, body: Json
    ) -> StoredPolicy:
        """Put `body` in force from `effective_from_ms` on. Again is harmless; another body for the same start
        raises ImmutableConflict."""
        digest = digest_of(orjson.dumps(body, option=orjson.OPT_SORT_KEYS))
        row = {"model": model, "effective_from_ms": effective_from_ms, "body": body, "hash": digest}
        if not await self._session.insert_if_absent(policies, row):
            key = (policies.c.model == model) & (policies.c.effective_from_ms == effective_from_ms)
            stored = await self._session.scalar(select(policies.c.hash).where(key))
            if stored != digest:
                raise ImmutableConflict("policy", f"{model} from {effective_from_ms}", str(stored), digest)
        return StoredPolicy(model=model, effective_from_ms=effective_from_ms, body=body, hash=digest)

    async def in_force(self, model: str, at_ms: int) -> StoredPolicy | None:
        """The model's policy at the event time `at_ms`, None before its first."""
        c = policies.c
        query = select(policies).where(c.model == model, c.effective_from_ms <= at_ms)
        row = await self._session.first(query.order_by(c.effective_from_ms.desc()).limit(1))
        return None if row is None else StoredPolicy(**row._mapping)

    async def newest(self) -> list[StoredPolicy]:
        """The policy of each model that was put in force last."""
        c = policies.c
        last = select(c.model, func.max(c.effective_from_ms).label("start")).group_by(c.model).subquery()
        of_last = (c.model == last.c.model) & (c.effective_from_ms == last.c.start)
        query = select(policies).join(last, of_last).order_by(c.model)
        return [StoredPolicy(**row._mapping) for row in await self._session.rows(query)]

    async def all(self, model: str) -> list[StoredPolicy]:
        """The model's policies, first to last."""
        query = select(policies).where(policies.c.model == model).order_by(policies.c.effective_from_ms)
        return [StoredPolicy(**row._mapping) for row in await self._session.rows(query)]
