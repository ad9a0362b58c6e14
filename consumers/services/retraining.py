"""Retraining jobs: opened by requests, and ended by what a trainer made of them.

The handler only opens a job; the trainer process claims it, works outside any transaction, and comes back
here to record the end. Registration, the experiment and the job's end are one transaction: a crash before it
repeats the work, a crash after it finds the job done.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from consumers.services.calibrations import NotCalibrated
from consumers.services.context import ServiceContext
from consumers.services.experiments import ExperimentManager, plan_from_template
from consumers.services.identity import experiment_id, job_event_id, job_id
from consumers.services.registry import Registry, closed_through_ms
from consumers.store.errors import JobAlreadyOpen
from consumers.store.repositories.deployment import DeploymentRepository
from consumers.store.repositories.experiments import ExperimentRepository
from consumers.store.repositories.models import ModelRepository, VersionRecord
from consumers.store.repositories.retraining import JobRecord, NewJob, RetrainingRepository
from consumers.store.repositories.tallies import TallyRepository
from consumers.store.session import ReadSession, WriteSession
from domain.experiments.budget import AlphaBudgetSpent
from domain.registry.version import Lineage, ModelArtifact, ModelMetadata
from domain.retraining.status import JOBS, Fail, RejectCandidate, RetrainingStatus, Succeed
from domain.transitions import after
from domain.windows.profile import ReferenceProfile
from schemas.clock import from_ms, to_ms
from schemas.events import RetrainingChanged, RetrainingTrigger, RetrainRequested
from schemas.events import RetrainingStatus as WireStatus

ACTOR = "trainer"
_MAX_DETAIL = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What training made, uploaded and validated, ready to be registered."""

    metadata: ModelMetadata
    artifact: ModelArtifact
    profile: ReferenceProfile
    lineage: Lineage
    detail: str
    experiment_template: Mapping[str, object] | None
    """The policy's `experiment` section; None leaves the version in STAGING."""


async def fully_closed_ms(session: ReadSession) -> int:
    """Event time up to which both sides of every partition are closed; 0 until all of them have reported."""
    partitions = await DeploymentRepository(session).get("partitions")
    progress = await TallyRepository(session).all_progress()
    if not isinstance(partitions, int) or len(progress) < partitions:
        return 0
    return min((min(p.inputs_through_ms, p.outcomes_through_ms) for p in progress), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingPipeline:
    context: ServiceContext
    registry: Registry
    experiments: ExperimentManager

    async def open(self, session: WriteSession, request: RetrainRequested) -> JobRecord:
        """The job that `request` opens, or its SUPPRESSED record when there is a reason not to train now.

        `as_of` is brought back to what the windows have closed: history beyond it could still change.
        """
        asked_ms = to_ms(request.as_of)
        job = NewJob(
            job_id=job_id(request.event_id),
            model=request.model,
            trigger=request.trigger,
            reason=request.reason,
            request=orjson.loads(request.model_dump_json()),
            as_of_ms=max(0, min(asked_ms, await fully_closed_ms(session))),
            opened_at_ms=to_ms(request.occurred_at),
        )
        jobs = RetrainingRepository(session)
        refusal = await self._refusal(session, request)
        if refusal is None:
            try:
                await jobs.open(job)
            except JobAlreadyOpen as error:
                refusal = f"job {error.open_job_id} is open"
        if refusal is not None:
            await jobs.add_suppressed(job, {"detail": refusal})
        recorded = await jobs.get(job.job_id)
        assert recorded is not None  # noqa: S101 - written above
        await self.announce(session, recorded, detail=refusal or request.reason, at_ms=job.opened_at_ms)
        return recorded

    async def announce(
        self,
        session: WriteSession,
        job: JobRecord,
        *,
        detail: str,
        at_ms: int,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Tells the world the job's status; each status of a job once."""
        await self.context.promise(
            session,
            RetrainingChanged(
                event_id=job_event_id(job.job_id, job.status.value),
                occurred_at=from_ms(at_ms),
                model=job.model,
                job_id=job.job_id,
                status=job.status,
                trigger=job.trigger,
                version=job.version,
                detail=detail[:_MAX_DETAIL],
                metrics=metrics or {},
            ),
        )

    async def register(
        self, session: WriteSession, job: JobRecord, owner: str, candidate: Candidate
    ) -> VersionRecord:
        """Registers the candidate in STAGING, starts its experiment by policy, and ends the job as SUCCEEDED.

        Raises LeaseLost, writing nothing, when the job is not `owner`'s any more.
        """
        jobs = RetrainingRepository(session)
        # the model before the job, as the handler that opens jobs does: the other order could be a deadlock
        await ModelRepository(session).get_model(job.model, for_update=True)
        await jobs.heartbeat(job.job_id, owner, self.context.now())
        at_ms = max(job.as_of_ms, await closed_through_ms(session))
        reason = f"retraining job {job.job_id}: {candidate.detail}"
        version = await self.registry.register_version(
            session,
            candidate.metadata,
            candidate.artifact,
            profile=candidate.profile,
            lineage=candidate.lineage,
            actor=ACTOR,
            reason=reason,
            at_ms=at_ms,
            job_id=job.job_id,
        )
        await self.registry.stage(
            session, job.model, version.version, actor=ACTOR, reason=reason, at_ms=at_ms
        )
        trial = await self._try_out(session, version, candidate.experiment_template, at_ms)
        result = {
            "detail": f"{candidate.detail}; {trial}",
            "validation": dict(candidate.lineage.validation),
            "metrics": dict(candidate.metadata.metrics),
        }
        await self._end(session, job, owner, Succeed, result, at_ms, version.version)
        return version

    async def reject(
        self, session: WriteSession, job: JobRecord, owner: str, detail: str, evidence: Mapping[str, object]
    ) -> None:
        """Ends the job as VALIDATION_FAILED. Raises LeaseLost."""
        result = {"detail": detail, "validation": dict(evidence)}
        await self._end(session, job, owner, RejectCandidate, result, await self._now_ms(session, job))

    async def fail(self, session: WriteSession, job: JobRecord, owner: str, detail: str, tail: str) -> None:
        """Ends the job as FAILED, with the end of the command's complaints. Raises LeaseLost."""
        result = {"detail": detail, "stderr": tail}
        await self._end(session, job, owner, Fail, result, await self._now_ms(session, job))

    # ------------------------------------------------------------ how

    async def _refusal(self, session: WriteSession, request: RetrainRequested) -> str | None:
        model = await ModelRepository(session).get_model(request.model, for_update=True)
        if model is None:
            return f"the registry has no model {request.model}"
        if model.frozen and request.trigger is not RetrainingTrigger.MANUAL:
            return f"model {request.model} is frozen"
        running = await ExperimentRepository(session).running(request.model)
        return None if running is None else f"experiment {running.experiment_id} is running"

    async def _try_out(
        self, session: WriteSession, version: VersionRecord, template: Mapping[str, object] | None, at_ms: int
    ) -> str:
        """Starts the experiment that policy wants; says what was done."""
        if template is None:
            return "left in STAGING"
        model = await ModelRepository(session).get_model(version.model)
        production = await ModelRepository(session).production(version.model)
        running = await ExperimentRepository(session).running(version.model)
        if model is None or model.frozen:
            return "left in STAGING: the model is frozen"
        if production is None:
            return "left in STAGING: nothing is PRODUCTION"
        if running is not None:
            return f"left in STAGING: experiment {running.experiment_id} is running"
        name = experiment_id(version.model, version.version, production.version)
        plan = plan_from_template(
            template,
            experiment=name,
            model=version.model,
            champion=production.version,
            challenger=version.version,
        )
        try:
            async with session.savepoint():
                await self.experiments.create(session, plan)
                await self.experiments.start(session, name, at_ms=at_ms)
        except (AlphaBudgetSpent, NotCalibrated) as refusal:
            return f"left in STAGING: {refusal}"
        return f"experiment {name} started"

    async def _end(
        self,
        session: WriteSession,
        job: JobRecord,
        owner: str,
        move: type[object],
        result: Mapping[str, object],
        at_ms: int,
        version: str | None = None,
    ) -> None:
        to = WireStatus(after(JOBS, RetrainingStatus(job.status.value), move).value)
        jobs = RetrainingRepository(session)
        await jobs.finish(job.job_id, owner, to, version=version, result=dict(result))
        ended = await jobs.get(job.job_id)
        assert ended is not None  # noqa: S101 - finished above
        metrics = result.get("metrics")
        await self.announce(
            session,
            ended,
            detail=str(result["detail"]),
            at_ms=at_ms,
            metrics=metrics if isinstance(metrics, dict) else None,
        )

    async def _now_ms(self, session: ReadSession, job: JobRecord) -> int:
        return max(job.as_of_ms, await closed_through_ms(session))
