"""How far each model is judged, and the state of its detectors and experiments."""

from dataclasses import dataclass
from functools import cache

from sqlalchemy import Select, bindparam, func, select

from consumers.store.errors import StaleJudgement
from consumers.store.locks import model_lock
from consumers.store.repositories.base import Repository, SessionT_co, columns_of
from consumers.store.session import Upsert, WriteSession, upsert
from consumers.store.tables import judgement_states, window_tallies
from consumers.store.types import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A model's judge after the window that ends at `judged_through_ms`."""

    model: str
    judged_through_ms: int
    state: Json
    tallies_digest: str
    """Digest of all tallies judged so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedWindows:
    """Windows of a model that are judged and not pruned."""

    count: int
    first_due_ms: int | None
    """None without any."""


_LOAD = select(judgement_states).where(judgement_states.c.model == bindparam("of_model"))


class JudgementRepository(Repository[SessionT_co]):
    """One judgement a model."""

    async def claim(self: "JudgementRepository[WriteSession]", model: str) -> bool:
        """Keep everybody else off the model until the transaction ends; False when somebody is at it."""
        return await self._session.try_lock(model_lock(model))

    async def load(self, model: str, *, for_update: bool = True) -> Judgement | None:
        """The model's judgement, None before its first window.

        `for_update` keeps others off the model until the transaction ends, also before there is a row to
        lock: what is judged depends on policies and experiments, and nobody may date one back meanwhile. A
        read session locks nothing: pass False.
        """
        if for_update and isinstance(self._session, WriteSession):
            await self._session.lock(model_lock(model))
        row = await self._session.first(_LOAD, {"of_model": model})
        return None if row is None else Judgement(**row._mapping)

    async def save(self: "JudgementRepository[WriteSession]", judgement: Judgement) -> None:
        """Store the judgement. Raises StaleJudgement if the stored one has gone further: it was not loaded
        for update."""
        statement = _save(self._session.dialect)
        if not (await self._session.execute(statement, columns_of(judgement))).rowcount:
            raise StaleJudgement(judgement.model, judgement.judged_through_ms)

    async def windows(self) -> dict[str, JudgedWindows]:
        """By model, of those that are judged: how many windows with predictions the store still holds."""
        row, judged = window_tallies.c, judgement_states.c
        mine = (row.model == judged.model) & (row.due_ms <= judged.judged_through_ms)
        query: Select[str, int, int | None] = (
            select(judged.model, func.count(row.window_start_ms.distinct()), func.min(row.due_ms))
            .join_from(judgement_states, window_tallies, mine & (row.kind == "input"), isouter=True)
            .group_by(judged.model)
        )
        rows = await self._session.rows(query)
        return {model: JudgedWindows(count=count, first_due_ms=first) for model, count, first in rows}

    async def all(self) -> list[Judgement]:
        """Every model's judgement, by name."""
        rows = await self._session.rows(select(judgement_states).order_by(judgement_states.c.model))
        return [Judgement(**row._mapping) for row in rows]


@cache
def _save(dialect: str) -> Upsert:
    insert = upsert(dialect, judgement_states)
    return insert.on_conflict_do_update(
        index_elements=["model"],
        set_={name: insert.excluded[name] for name in ("judged_through_ms", "state", "tallies_digest")},
        where=judgement_states.c.judged_through_ms <= insert.excluded.judged_through_ms,
    )
