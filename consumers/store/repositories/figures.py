"""Counts for metrics. Each query answers from an index or from a table that stays small."""

from sqlalchemy import ColumnElement, Select, exists, func, or_, select

from consumers.store.repositories.base import Repository, SessionT_co
from consumers.store.tables import (
    drift_episodes,
    drift_mutes,
    episode_acknowledgements,
    experiments,
    judgement_states,
    partition_progress,
    retraining_jobs,
)
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
        return await self._open_episodes()

    async def muted_episodes_by_type(self) -> dict[DriftType, int]:
        """Those of them that a mute governs; a type without any is 0."""
        return await self._open_episodes(_muted())

    async def unacknowledged_episodes_by_type(self) -> dict[DriftType, int]:
        """Those of them that nobody acknowledged and no mute governs; a type without any is 0."""
        c = episode_acknowledgements.c
        known = exists().where(c.episode_id == drift_episodes.c.episode_id)
        return await self._open_episodes(~known, ~_muted())

    async def _open_episodes(self, *conditions: ColumnElement[bool]) -> dict[DriftType, int]:
        c = drift_episodes.c
        query: Select[DriftType, int] = select(c.drift_type, func.count())
        query = query.where(c.closed_at_ms.is_(None), *conditions).group_by(c.drift_type)
        found = {row[0]: row[1] for row in await self._session.rows(query)}
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


def _muted() -> ColumnElement[bool]:
    """Whether a mute governs the episode's model and type at what is judged next."""
    episode, mute, judged = drift_episodes.c, drift_mutes.c, judgement_states.c
    next_ms = judged.judged_through_ms + 1
    return (
        exists()
        .where(judged.model == episode.model)
        .where(mute.model == episode.model)
        .where(or_(mute.drift_type.is_(None), mute.drift_type == episode.drift_type))
        .where(mute.effective_from_ms <= next_ms)
        .where(or_(mute.until_ms.is_(None), next_ms < mute.until_ms))
        .where(or_(mute.ended_ms.is_(None), next_ms < mute.ended_ms))
    )
