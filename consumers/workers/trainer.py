"""The trainer: claims a retraining job, makes a candidate outside any transaction, and records the end.

The lease says who works; a heartbeat extends it, and losing it stops the work. A trainer that dies leaves
nothing but a lease that runs out: the next one repeats the work from the start and registers once. What was
made is not made again because the store was away for a moment: recording the end is tried for a whole lease.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from consumers.artifacts.backend import CloudStorageBackend
from consumers.logger import get_logger
from consumers.services.history import HistoricalDataService, HistoryNotClosed
from consumers.services.identity import stable_id
from consumers.services.processes import is_dead, this_process
from consumers.services.retraining import Candidate, RetrainingPipeline
from consumers.services.training import CandidateRejected, Order, Training, TrainingFailed
from consumers.store.engine import Store
from consumers.store.errors import LeaseLost, StoreUnavailable
from consumers.store.repositories.models import ModelRepository, VersionRecord
from consumers.store.repositories.policies import PolicyRepository, StoredPolicy
from consumers.store.repositories.retraining import LEASE_S, JobRecord, RetrainingRepository
from consumers.store.session import ReadSession, WriteSession
from domain.errors import DomainError
from domain.retraining.history import LabelledRow
from schemas.errors import LogUnavailable, UnreadableBatch
from schemas.events import RetrainingStatus, RetrainingTrigger

_log = get_logger("trainer")
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 5.0

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Trainer:
    """`await step()` as often as you like; one that returns False found nothing to do."""

    store: Store
    history: HistoricalDataService
    artifacts: CloudStorageBackend
    pipeline: RetrainingPipeline
    jobs_path: Path
    now: Callable[[], datetime]
    lease_s: float = LEASE_S
    owner: str = field(default_factory=this_process)
    max_attempts: int = 100
    _opened: bool = False

    async def step(self) -> bool:
        """Works on one job to its end.

        StoreUnavailable, LogUnavailable and UnreadableBatch pass through; the job is given back.
        """
        if not self._opened:
            await self._take_back()
            self._opened = True
        async with self.store.write() as session:
            job = await RetrainingRepository(session).claim(self.owner, self.now(), self.lease_s)
            if job is None:
                return False
            await self.pipeline.announce(session, job, detail="training", at_ms=job.as_of_ms)
        try:
            await self._holding(job, self._work(job))
        except LeaseLost as error:
            _log.warning("trainer.lease_lost", message=str(error), job=job.job_id)
        except HistoryNotClosed as error:
            _log.info("trainer.waiting", message=str(error), job=job.job_id)
            await self._give_back(job, attempted=False)
            return False
        except (StoreUnavailable, LogUnavailable, UnreadableBatch, asyncio.CancelledError):
            # nothing that the job could help: it is tried again, and that does not count as another attempt
            await asyncio.shield(self._give_back(job, attempted=False))
            raise
        except BaseException:
            await self._give_back(job)
            raise
        return True

    async def bootstrap(
        self,
        model: str,
        rows: Sequence[LabelledRow],
        *,
        policy: Mapping[str, object],
        as_of_ms: int,
        actor: str,
        reason: str,
    ) -> VersionRecord:
        """Trains a first version on `rows` and promotes it in the name of `actor`; repeated, it is done once.

        Raises TrainingFailed, CandidateRejected, StalePromotion if another version is PRODUCTION already.
        """
        job_id = stable_id("bootstrap", model)
        async with self.store.read() as session:
            existing = await ModelRepository(session).version_by_job(job_id)
        if existing is not None:
            return existing
        order = Order(
            job_id=job_id,
            attempt=1,
            model=model,
            as_of_ms=as_of_ms,
            policy=policy,
            champion=None,
            source="bootstrap",
        )
        candidate = await self.training.candidate(order, rows)
        registry = self.pipeline.registry
        async with self.store.write() as session:
            version = await registry.register_version(
                session,
                candidate.metadata,
                candidate.artifact,
                profile=candidate.profile,
                lineage=candidate.lineage,
                actor=actor,
                reason=reason,
                at_ms=as_of_ms,
                job_id=job_id,
            )
            await registry.stage(session, model, version.version, actor=actor, reason=reason, at_ms=as_of_ms)
            await registry.promote(
                session,
                model,
                version.version,
                expected_production=None,
                actor=actor,
                reason=reason,
                at_ms=as_of_ms,
            )
        return version

    @property
    def training(self) -> Training:
        windows = self.pipeline.context.windows
        return Training(
            history=self.history, artifacts=self.artifacts, jobs_path=self.jobs_path, windows=windows
        )

    # ------------------------------------------------------------ one job

    async def _work(self, job: JobRecord) -> None:
        if job.attempts > self.max_attempts:
            await self._fail(job, f"given up after {self.max_attempts} attempts", "")
            return
        try:
            candidate = await self.training.candidate(await self._order(job))
            await self._register(job, candidate)
        except TrainingFailed as error:
            await self._fail(job, error.detail, error.tail)
        except CandidateRejected as error:
            await self._reject(job, error)

    async def _order(self, job: JobRecord) -> Order:
        async with self.store.read() as session:
            policy = await self._policy(session, job)
            production = await ModelRepository(session).production(job.model)
        return Order(
            job_id=job.job_id,
            attempt=job.attempts,
            model=job.model,
            as_of_ms=job.as_of_ms,
            policy=policy.body if policy else {},
            champion=production.version if production else None,
        )

    async def _policy(self, session: ReadSession, job: JobRecord) -> StoredPolicy | None:
        policies = PolicyRepository(session)
        if job.trigger is RetrainingTrigger.MANUAL:
            # Who asks by hand may just have written the policy: it begins after what is judged, after as_of.
            return next(reversed(await policies.all(job.model)), None)
        return await policies.in_force(job.model, job.as_of_ms)

    # ------------------------------------------------------------ its end

    async def _register(self, job: JobRecord, candidate: Candidate) -> None:
        async def register(session: WriteSession) -> VersionRecord:
            return await self.pipeline.register(session, job, self.owner, candidate)

        try:
            version = await self._recorded(job, register)
        except DomainError as error:
            raise TrainingFailed(f"the candidate cannot be registered: {error}") from error
        _log.info("trainer.registered", message=candidate.detail, job=job.job_id, version=version.version)

    async def _reject(self, job: JobRecord, rejected: CandidateRejected) -> None:
        async def reject(session: WriteSession) -> None:
            await self.pipeline.reject(session, job, self.owner, rejected.detail, rejected.evidence)

        await self._recorded(job, reject)
        _log.info("trainer.rejected", message=rejected.detail, job=job.job_id, model=job.model)

    async def _fail(self, job: JobRecord, detail: str, tail: str) -> None:
        async def fail(session: WriteSession) -> None:
            await self.pipeline.fail(session, job, self.owner, detail, tail)

        await self._recorded(job, fail)
        _log.error("trainer.failed", message=detail, job=job.job_id, model=job.model)

    async def _recorded(self, job: JobRecord, end: Callable[[WriteSession], Awaitable[T]]) -> T:
        """`end` in one transaction, done again while the store is in the way, for as long as a lease lasts.

        Each try raises LeaseLost if the job is not ours any more; also after a commit whose answer was lost,
        for the job has ended then.
        """
        loop = asyncio.get_running_loop()
        give_up, wait_s = loop.time() + self.lease_s, _FIRST_WAIT_S
        while True:
            try:
                async with self.store.write() as session:
                    return await end(session)
            except StoreUnavailable as error:
                if loop.time() + wait_s > give_up:
                    raise
                _log.warning("trainer.waiting_for_store", message=str(error), job=job.job_id, seconds=wait_s)
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)

    # ------------------------------------------------------------ the lease

    async def _holding(self, job: JobRecord, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work` while the lease is ours; stops it and raises LeaseLost as soon as it is not."""
        working, beating = asyncio.create_task(work), asyncio.create_task(self._beat(job))
        try:
            await asyncio.wait({working, beating}, return_when=asyncio.FIRST_COMPLETED)
            # The heartbeat ends only by an error; work that ended at the same moment has the last word.
            await (working if working.done() else beating)
        finally:
            for task in (working, beating):
                task.cancel()
            await asyncio.gather(working, beating, return_exceptions=True)

    async def _beat(self, job: JobRecord) -> None:
        while True:
            await asyncio.sleep(self.lease_s / 3)
            with suppress(StoreUnavailable):  # the next beat may succeed; until then the lease still holds
                async with self.store.write() as session:
                    jobs = RetrainingRepository(session)
                    await jobs.heartbeat(job.job_id, self.owner, self.now(), self.lease_s)

    async def _take_back(self) -> None:
        """Frees the jobs of trainers that died on this machine, before their leases run out."""
        async with self.store.write() as session:
            jobs = RetrainingRepository(session)
            for job in await jobs.list(status=RetrainingStatus.RUNNING):
                if job.lease_owner is not None and (
                    job.lease_owner == self.owner or is_dead(job.lease_owner)
                ):
                    await jobs.release(job.job_id, job.lease_owner)

    async def _give_back(self, job: JobRecord, *, attempted: bool = True) -> None:
        # Best effort: what cannot be given back now is free when the lease runs out.
        with suppress(LeaseLost, StoreUnavailable):
            async with self.store.write() as session:
                await RetrainingRepository(session).release(job.job_id, self.owner, attempted=attempted)
