"""How far each model is judged, and the state of its detectors and experiments."""

from dataclasses import asdict, dataclass

from sqlalchemy import select

from consumers.store.errors import StaleJudgement
from consumers.store.repositories.base import Repository, SessionT_co
from consumers.store.session import WriteSession
from consumers.store.tables import judgement_states
from consumers.store.types import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A model's judge after the window that ends at `judged_through_ms`."""

    model: str
    judged_through_ms: int
    state: Json
    tallies_digest: str
    """Digest of all tallies judged so far."""


class JudgementRepository(Repository[SessionT_co]):
    """One judgement a model."""

    async def load(self, model: str, *, for_update: bool = True) -> Judgement | None:
        """The model's judgement, None before its first window.

        `for_update` keeps other judges off the row until the transaction ends; in a read session pass False
        on engines with row locks.
        """
        query = select(judgement_states).where(judgement_states.c.model == model)
        row = await self._session.first(query.with_for_update() if for_update else query)
        return None if row is None else Judgement(**row._mapping)

    async def save(self: "JudgementRepository[WriteSession]", judgement: Judgement) -> None:
        """Store the judgement. Raises StaleJudgement if the stored one has gone further.

        That happens only to two judges that start on a new model at once: there was no row to lock.
        """
        insert = self._session.upsert(judgement_states).values(asdict(judgement))
        statement = insert.on_conflict_do_update(
            index_elements=["model"],
            set_={name: insert.excluded[name] for name in ("judged_through_ms", "state", "tallies_digest")},
            where=judgement_states.c.judged_through_ms <= insert.excluded.judged_through_ms,
        )
        if not await self._session.changed(statement):
            raise StaleJudgement(judgement.model, judgement.judged_through_ms)

    async def all(self) -> list[Judgement]:
        """Every model's judgement, by name."""
        rows = await self._session.rows(select(judgement_states).order_by(judgement_states.c.model))
        return [Judgement(**row._mapping) for row in rows]
