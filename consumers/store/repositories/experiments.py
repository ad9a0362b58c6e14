"""Experiments: a frozen configuration, a status that moves by compare-and-set, an allocation epoch."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select, update

from consumers.store.errors import (
    ConstraintViolated,
    ExperimentAlreadyRunning,
    ImmutableConflict,
    NotFound,
    StaleExperiment,
)
from consumers.store.repositories.base import Repository, SessionT_co, columns_of
from consumers.store.session import ReadSession, WriteSession
from consumers.store.tables import experiments
from consumers.store.types import Json
from schemas.events import ExperimentStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentRecord:
    """An experiment. Times are event time; `config_hash` is the SHA-256 of the canonical `config`."""

    experiment_id: str
    model: str
    config: Json
    config_hash: str
    status: ExperimentStatus
    epoch: int = 0
    """Allocation epoch; a change of shares is a new one."""
    started_at_ms: int | None = None
    closed_at_ms: int | None = None
    decision_id: str | None = None
    """The verdict that ended it."""


class ExperimentRepository(Repository[SessionT_co]):
    """Experiments by id; at most one is RUNNING for each model."""

    async def add(self: "ExperimentRepository[WriteSession]", experiment: ExperimentRecord) -> bool:
        """Record an experiment; False when it is known already, which changes nothing.

        Raises ImmutableConflict if it is known with another config, ExperimentAlreadyRunning if it is to run
        beside another.
        """
        if await self._session.insert_if_absent(experiments, columns_of(experiment)):
            return True
        stored = await self.get(experiment.experiment_id)
        if stored is None:
            raise await self._already_running(experiment.model, experiment.experiment_id)
        if stored.config_hash != experiment.config_hash:
            raise ImmutableConflict(
                "experiment", experiment.experiment_id, stored.config_hash, experiment.config_hash
            )
        return False

    async def get(self, experiment_id: str) -> ExperimentRecord | None:
        """The experiment, None when there is none."""
        found = await _records(
            self._session, select(experiments).where(experiments.c.experiment_id == experiment_id)
        )
        return found[0] if found else None

    async def running(self, model: str) -> ExperimentRecord | None:
        """The model's RUNNING experiment, None when there is none."""
        c = experiments.c
        found = await _records(
            self._session, select(experiments).where(c.model == model, c.status == ExperimentStatus.RUNNING)
        )
        return found[0] if found else None

    async def set_status(
        self: "ExperimentRepository[WriteSession]",
        experiment_id: str,
        expected: ExperimentStatus,
        status: ExperimentStatus,
        *,
        decision_id: str | None = None,
        started_at_ms: int | None = None,
        closed_at_ms: int | None = None,
    ) -> None:
        """Compare-and-set; what is None stays as it is.

        Raises StaleExperiment when it is not `expected` (or unknown), ExperimentAlreadyRunning when another
        one runs; the transaction stays usable.
        """
        offered = {"decision_id": decision_id, "started_at_ms": started_at_ms, "closed_at_ms": closed_at_ms}
        values = {name: value for name, value in offered.items() if value is not None}
        mine = (experiments.c.experiment_id == experiment_id) & (experiments.c.status == expected)
        try:
            async with self._session.savepoint():
                moved = await self._session.changed(
                    update(experiments).where(mine).values(status=status, **values)
                )
        except ConstraintViolated as error:
            stored = await self.get(experiment_id)
            model = stored.model if stored else ""
            raise await self._already_running(model, experiment_id) from error
        if not moved:
            stored = await self.get(experiment_id)
            raise StaleExperiment(experiment_id, expected, stored.status if stored else None)

    async def raise_epoch(self: "ExperimentRepository[WriteSession]", experiment_id: str) -> int:
        """Begin another allocation epoch; its number. Raises NotFound."""
        statement = update(experiments).where(experiments.c.experiment_id == experiment_id)
        raised = statement.values(epoch=experiments.c.epoch + 1).returning(experiments.c.epoch)
        epoch = (await self._session.execute(raised)).scalar()
        if epoch is None:
            raise NotFound("experiment", experiment_id)
        return int(epoch)

    async def _already_running(self, model: str, experiment_id: str) -> ExperimentAlreadyRunning:
        running = await self.running(model)
        return ExperimentAlreadyRunning(model, experiment_id, running.experiment_id if running else None)

    async def list(self, model: str | None = None) -> list[ExperimentRecord]:
        """Experiments of one model or of all: those that started first, first; those that have not, last."""
        c = experiments.c
        query = select(experiments).order_by(c.started_at_ms.asc().nulls_last(), c.experiment_id)
        return await _records(self._session, query if model is None else query.where(c.model == model))


async def _records(session: ReadSession, query: Select[*tuple[Any, ...]]) -> list[ExperimentRecord]:
    return [ExperimentRecord(**row._mapping) for row in await session.rows(query)]
