"""Experiments: a frozen configuration, a status that moves by compare-and-set, an allocation epoch."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select, update

from consumers.store.errors import (
    ConstraintViolated,
    ExperimentAlreadyRunning,
    ImmutableConflict,
    NotFound,
    StaleExperiment,
)
from consumers.store.repositories.base import Repository, SessionT_co, columns_of, names_of
from consumers.store.session import ReadSession, WriteSession
from consumers.store.tables import experiment_moves, experiments
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

    @property
    def reverses(self) -> bool:
        """Whether it is a hold-back: its winner is restored, not promoted."""
        return self.config.get("reverses") is not None

    @property
    def ended_by_person(self) -> bool:
        """Whether it was cancelled or stopped: what falls due later is no evidence."""
        stopped = self.status is ExperimentStatus.COMPLETED_ROLLED_BACK and self.decision_id is None
        return stopped or self.status is ExperimentStatus.CANCELLED


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentMove:
    """One order that changed an experiment; `at_ms` is event time, later than what was judged then."""

    experiment_id: str
    move: str
    """Its name in the table of `domain.experiments.status`."""
    epoch: int
    """Allocation epoch that it led to, or in which it was given."""
    at_ms: int
    actor: str
    reason: str
    shares: Mapping[str, float] | None = None
    """By variant, of the epoch that it began; None where it began none or gave all to the champion."""


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

    async def add_move(
        self: "ExperimentRepository[WriteSession]", move: ExperimentMove, now: datetime
    ) -> None:
        """Append to the history. The same move of the same epoch a second time raises ConstraintViolated."""
        await self._session.execute(
            experiment_moves.insert().values(**columns_of(move), recorded_at=now),
        )

    async def moves(self, experiment_id: str) -> list[ExperimentMove]:
        """The experiment's moves, in the order in which they were recorded."""
        return await self._moves(experiment_moves.c.experiment_id == experiment_id)

    async def allocations(self, model: str) -> dict[str, list[ExperimentMove]]:
        """By experiment of the model: the moves that began epochs with shares of their own."""
        mine = select(experiments.c.experiment_id).where(experiments.c.model == model)
        c = experiment_moves.c
        found: dict[str, list[ExperimentMove]] = {}
        for move in await self._moves(c.experiment_id.in_(mine) & c.shares.is_not(None)):
            found.setdefault(move.experiment_id, []).append(move)
        return found

    async def last_moves(self) -> dict[str, str]:
        """The newest move of each experiment that had any, by id."""
        c = experiment_moves.c
        newest = select(func.max(c.id)).group_by(c.experiment_id)
        rows = await self._session.rows(select(c.experiment_id, c.move).where(c.id.in_(newest)))
        return {row.experiment_id: row.move for row in rows}

    async def _moves(self, condition: ColumnElement[bool]) -> list[ExperimentMove]:
        columns = [experiment_moves.c[name] for name in names_of(ExperimentMove)]
        query = select(*columns).where(condition).order_by(experiment_moves.c.id)
        return [ExperimentMove(**row._mapping) for row in await self._session.rows(query)]

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
