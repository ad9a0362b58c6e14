"""Retraining jobs: opened by requests, claimed by trainers for the time of a lease."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select, update

from consumers.store.errors import JobAlreadyOpen, LeaseLost
from consumers.store.repositories.base import Repository, SessionT_co, columns_of
from consumers.store.session import WriteSession
from consumers.store.tables import retraining_jobs
from consumers.store.types import Json
from schemas.events import RetrainingStatus, RetrainingTrigger

LEASE_S = 60.0
"""A trainer that has not sent a heartbeat for this long is taken for dead."""

OPEN = (RetrainingStatus.REQUESTED, RetrainingStatus.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """An order to retrain. Times are event time."""

    job_id: str
    model: str
    trigger: RetrainingTrigger
    reason: str
    request: Json
    """The request as it came, for the trainer and the record."""
    as_of_ms: int
    """History up to here."""
    opened_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord(NewJob):
    """A job and what has become of it. The lease is wall clock."""

    status: RetrainingStatus
    lease_owner: str | None
    lease_until: datetime | None
    attempts: int
    """How often it was claimed."""
    version: str | None
    """The version that it registered."""
    result: Json | None


class RetrainingRepository(Repository[SessionT_co]):
    """Jobs by id, and in the order (opened_at_ms, job_id); at most one is open for each model."""

    async def open(self: "RetrainingRepository[WriteSession]", job: NewJob) -> bool:
        """Open a job; False when it is known already, which changes nothing.

        Raises JobAlreadyOpen when the model has another open job; the transaction stays usable.
        """
        if await self._insert(job, RetrainingStatus.REQUESTED):
            return True
        if await self.get(job.job_id) is not None:
            return False
        other = await self.open_job(job.model)
        raise JobAlreadyOpen(job.model, job.job_id, other.job_id if other else None)

    async def add_suppressed(
        self: "RetrainingRepository[WriteSession]", job: NewJob, result: Json | None = None
    ) -> bool:
        """Record a request that policy refused; False when it is known already, which changes nothing."""
        return await self._insert(job, RetrainingStatus.SUPPRESSED, result)

    async def get(self, job_id: str) -> JobRecord | None:
        """The job, None when there is none."""
        return await self._one(select(retraining_jobs).where(retraining_jobs.c.job_id == job_id))

    async def open_job(self, model: str) -> JobRecord | None:
        """The model's REQUESTED or RUNNING job, None when there is none."""
        c = retraining_jobs.c
        return await self._one(select(retraining_jobs).where(c.model == model, c.status.in_(OPEN)))

    async def list(
        self, *, model: str | None = None, status: RetrainingStatus | None = None
    ) -> list[JobRecord]:
        """Jobs in order."""
        c = retraining_jobs.c
        query = select(retraining_jobs).order_by(c.opened_at_ms, c.job_id)
        if model is not None:
            query = query.where(c.model == model)
        if status is not None:
            query = query.where(c.status == status)
        return [JobRecord(**row._mapping) for row in await self._session.rows(query)]

    async def claim(
        self: "RetrainingRepository[WriteSession]", owner: str, now: datetime, lease_s: float = LEASE_S
    ) -> JobRecord | None:
        """Take the oldest job that is REQUESTED, or RUNNING on a lease that ran out; None when there is none.

        It becomes RUNNING in `owner`'s hands until `now + lease_s`, and `attempts` goes up.
        """
        c = retraining_jobs.c
        lapsed = and_(c.status == RetrainingStatus.RUNNING, c.lease_until <= now)
        oldest = (
            select(c.job_id)
            .where(or_(c.status == RetrainingStatus.REQUESTED, lapsed))
            .order_by(c.opened_at_ms, c.job_id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        job_id = await self._session.scalar(oldest)
        if job_id is None:
            return None
        taken = {
            "status": RetrainingStatus.RUNNING,
            "lease_owner": owner,
            "lease_until": now + timedelta(seconds=lease_s),
            "attempts": c.attempts + 1,
        }
        await self._session.execute(update(retraining_jobs).where(c.job_id == job_id).values(taken))
        return await self.get(job_id)

    async def heartbeat(
        self: "RetrainingRepository[WriteSession]",
        job_id: str,
        owner: str,
        now: datetime,
        lease_s: float = LEASE_S,
    ) -> None:
        """Extend the lease to `now + lease_s`. Raises LeaseLost."""
        await self._change_mine(job_id, owner, {"lease_until": now + timedelta(seconds=lease_s)})

    async def finish(
        self: "RetrainingRepository[WriteSession]",
        job_id: str,
        owner: str,
        status: RetrainingStatus,
        *,
        version: str | None = None,
        result: Json | None = None,
    ) -> None:
        """End the job with a final status. Raises LeaseLost."""
        ended = {
            "status": status,
            "version": version,
            "result": result,
            "lease_owner": None,
            "lease_until": None,
        }
        await self._change_mine(job_id, owner, ended)

    async def release(
        self: "RetrainingRepository[WriteSession]", job_id: str, owner: str, *, attempted: bool = True
    ) -> None:
        """Give the job back as REQUESTED, for anybody to claim. Raises LeaseLost.

        One that was only looked at (`attempted` False) has not used up an attempt.
        """
        given_back: dict[str, Any] = {
            "status": RetrainingStatus.REQUESTED,
            "lease_owner": None,
            "lease_until": None,
        }
        if not attempted:
            given_back["attempts"] = retraining_jobs.c.attempts - 1
        await self._change_mine(job_id, owner, given_back)

    async def cancel(self: "RetrainingRepository[WriteSession]", job_id: str) -> bool:
        """End an open job; its trainer learns of it by LeaseLost. False when it is not open."""
        ended = {"status": RetrainingStatus.CANCELLED, "lease_owner": None, "lease_until": None}
        mine = (retraining_jobs.c.job_id == job_id) & retraining_jobs.c.status.in_(OPEN)
        return await self._session.changed(update(retraining_jobs).where(mine).values(ended)) == 1

    async def _insert(
        self: "RetrainingRepository[WriteSession]",
        job: NewJob,
        status: RetrainingStatus,
        result: Json | None = None,
    ) -> bool:
        row = {**columns_of(job), "status": status, "attempts": 0, "result": result}
        return bool(await self._session.insert_if_absent(retraining_jobs, row))

    async def _change_mine(
        self: "RetrainingRepository[WriteSession]", job_id: str, owner: str, values: dict[str, Any]
    ) -> None:
        if not await self._session.changed(
            update(retraining_jobs).where(_held(job_id, owner)).values(values)
        ):
            raise LeaseLost(job_id, owner)

    async def _one(self, query: Select[*tuple[Any, ...]]) -> JobRecord | None:
        row = await self._session.first(query)
        return None if row is None else JobRecord(**row._mapping)


def _held(job_id: str, owner: str) -> ColumnElement[bool]:
    c = retraining_jobs.c
    return and_(c.job_id == job_id, c.status == RetrainingStatus.RUNNING, c.lease_owner == owner)
