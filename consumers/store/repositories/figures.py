"""Counts for metrics. Each query answers from an index or from a table that stays small."""

from sqlalchemy import Select, func, select

from consumers.store.repositories.base import Repository, SessionT_co
from consumers.store.tables import drift_episodes, experiments, partition_progress, retraining_jobs
from schemas.events import DriftType, ExperimentStatus, RetrainingStatus


class FigureRepository(Repository[SessionT_co]):
    """How many there are of what."""

    async def jobs_by_status(self) -> dict[RetrainingStatus, int]:
        """Retraining jobs; a status without any is 0."""
        c = retraining_jobs.c
        query: Select[RetrainingStatus, int] = select(c.status, func.count()).group_by(c.status)
        found = {row[0]: row[1] for row in await self._session.rows(query)}
        return {status: found.get(status, 0) for status in RetrainingStatus}

    async def open_episodes_by_type(self) -> dict[DriftType, int]:
        """Drift episodes that have not ended; a type without any is 0."""
        c = drift_episodes.c
        query: Select[DriftType, int] = select(c.drift_type, func.count()).where(c.closed_at_ms.is_(None))
        found = {row[0]: row[1] for row in await self._session.rows(query.group_by(c.drift_type))}
        return {kind: found.get(kind, 0) for kind in DriftType}

    async def running_experiments(self) -> int:
        """Experiments that run."""
        c = experiments.c
        query = select(func.count()).where(c.status == ExperimentStatus.RUNNING)
        return int(await self._session.scalar(query))

    async def stored_through(self) -> dict[tuple[int, str], int]:
        """(partition, side) → event time up to which closed windows are stored, of partitions with any."""
        c = partition_progress.c
        query: Select[int, int, int] = select(c.partition, c.inputs_through_ms, c.outcomes_through_ms)
        return {
            (partition, side): through_ms
            for partition, inputs_ms, outcomes_ms in await self._session.rows(query)
            for side, through_ms in (("predictions", inputs_ms), ("outcomes", outcomes_ms))
        }
