"""The model registry: versions, their stages, who is PRODUCTION, and since when.

Stateless: every method works in the caller's transaction and never commits. Moves follow
`domain.registry.stages`; every move is appended to the history and announced with the PRODUCTION pointer that
results from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import orjson

from consumers.services.context import ServiceContext
from consumers.services.identity import order_cause, stage_event_id
from consumers.store.errors import NotFound
from consumers.store.repositories.deployment import DeploymentRepository
from consumers.store.repositories.experiments import ExperimentRepository
from consumers.store.repositories.models import ModelRecord, ModelRepository, Transition, VersionRecord
from consumers.store.repositories.profiles import ProfileRepository
from consumers.store.repositories.tallies import TallyRepository
from consumers.store.session import ReadSession, WriteSession
from consumers.store.types import digest_of
from domain.errors import DomainError
from domain.registry.stages import (
    STAGES,
    STATUS_OF_STAGE,
    Archive,
    Displace,
    ModelStage,
    ModelStatus,
    Move,
    Promote,
    Restore,
    Stage,
)
from domain.registry.version import Lineage, ModelArtifact, ModelMetadata
from domain.transitions import IllegalTransition, after
from domain.windows.profile import ReferenceProfile
from schemas.clock import from_ms
from schemas.events import ModelStage as WireStage
from schemas.events import ModelStageChanged, ProductionPointer

MAX_REASON = 1024


def _named(version: str | None) -> str:
    return "empty" if version is None else f"version {version}"


class StalePromotion(DomainError):
    """Another version is PRODUCTION than the one that the order was made against; nothing was changed."""

    def __init__(self, model: str, version: str, expected: str | None, found: str | None) -> None:
        super().__init__(
            f"version {version} of {model} is not promoted: PRODUCTION was expected to be "
            f"{_named(expected)} and is {_named(found)}"
        )
        self.model, self.version, self.expected, self.found = model, version, expected, found


class WrongStage(IllegalTransition):
    """The version is not where the order takes it from."""

    def __init__(self, version: str, found: WireStage, move: type[Promote | Restore]) -> None:
        super().__init__(ModelStage(found.value), move, ())
        needed, done = ("a STAGING", "promoted") if move is Promote else ("an ARCHIVED", "restored")
        self.args = (f"version {version} is in {found.value}; only {needed} version can be {done}",)
        self.version = version


class ExperimentInTheWay(DomainError):
    """A running experiment compares against the PRODUCTION version; it has to end first."""

    def __init__(self, model: str, experiment: str) -> None:
        super().__init__(f"experiment {experiment} is running on {model}: cancel it first")
        self.model, self.experiment = model, experiment


class ProfileExists(DomainError):
    """A version's reference profile is never replaced: window rows depend on it."""

    def __init__(self, model: str, version: str) -> None:
        super().__init__(
            f"version {version} of {model} has a reference profile already, and window rows depend on it: "
            "register the next version with another one"
        )
        self.model, self.version = model, version


class ProfileOfAnotherTask(DomainError):
    """The reference profile is of a model that predicts something else."""

    def __init__(self, model: str, task: str, found: str) -> None:
        super().__init__(f"{model} is a model of task {task}; the reference profile is of task {found}")
        self.model, self.task, self.found = model, task, found


class _Moved(NamedTuple):
    record: VersionRecord
    """As it was before the move."""
    from_stage: WireStage | None
    to_stage: WireStage


async def closed_through_ms(session: ReadSession) -> int:
    """Event time as the tally workers have closed it, furthest partition; 0 before the first closing.

    Of two workers on a partition one may have closed inputs further than the progress that is kept: its rows
    are in the table all the same, so the rows are asked too.
    """
    tallies = TallyRepository(session)
    through = [progress.inputs_through_ms for progress in await tallies.all_progress()]
    return max([*through, await tallies.last_input_ms() or 0])


async def inputs_closed_ms(session: ReadSession) -> int:
    """Event time up to which every partition has closed its inputs; 0 until all of them have reported."""
    partitions = await DeploymentRepository(session).get("partitions")
    progress = await TallyRepository(session).all_progress()
    if not isinstance(partitions, int) or len(progress) < partitions:
        return 0
    return min(each.inputs_through_ms for each in progress)


def pointer_to(version: VersionRecord | None, epoch: int) -> ProductionPointer | None:
    """What followers of the model need to know; None while nothing is PRODUCTION."""
    if version is None:
        return None
    return ProductionPointer(
        version=version.version,
        artifact_uri=version.artifact_uri,
        artifact_sha256=version.artifact_sha256,
        epoch=epoch,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    context: ServiceContext

    async def register_version(
        self,
        session: WriteSession,
        metadata: ModelMetadata,
        artifact: ModelArtifact,
        *,
        profile: ReferenceProfile | None,
        lineage: Lineage,
        actor: str,
        reason: str,
        at_ms: int,
        job_id: str | None = None,
    ) -> VersionRecord:
        """A new version in DEVELOPMENT, numbered next; the model is created with its first one.

        With `job_id` the version is registered once: a repetition returns what is there. The profile takes
        effect from the first window that no partition has closed, so no row that is written already depends
        on it; whatever model, version and start it carries are replaced.
        """
        models = ModelRepository(session)
        await models.create_model(name=metadata.model, task=metadata.task, created_at_ms=at_ms)
        model = await self._locked(session, metadata.model)
        existing = await models.version_by_job(job_id) if job_id is not None else None
        if existing is not None:
            return existing
        record = VersionRecord(
            model=metadata.model,
            version=str(await models.next_version_number(metadata.model)),
            stage=WireStage.DEVELOPMENT,
            status=ModelStatus.REGISTERED.value,
            artifact_uri=artifact.uri,
            artifact_sha256=artifact.sha256,
            manifest=dict(artifact.manifest),
            metadata=_plain(asdict(metadata)),
            lineage=_plain(asdict(lineage)),
            job_id=job_id,
            registered_at_ms=at_ms,
        )
        await models.add_version(record)
        if profile is not None:
            await self._attach(session, record, profile)
        move = Stage(actor=actor, reason=reason, at_ms=at_ms)
        born = _Moved(record, None, record.stage)
        await self._remember(session, born, move, model.epoch)
        await self._announce(session, model, [born], move)
        return record

    async def stage(
        self, session: WriteSession, model: str, version: str, *, actor: str, reason: str, at_ms: int
    ) -> None:
        """DEVELOPMENT to STAGING. Raises IllegalTransition, NotFound."""
        await self._move_one(session, model, version, Stage(actor=actor, reason=reason, at_ms=at_ms))

    async def archive(
        self,
        session: WriteSession,
        model: str,
        version: str,
        *,
        actor: str,
        reason: str,
        at_ms: int,
        decision_id: str | None = None,
    ) -> None:
        """Puts a version away that never served. Raises IllegalTransition, NotFound."""
        move = Archive(actor=actor, reason=reason, at_ms=at_ms, decision_id=decision_id)
        await self._move_one(session, model, version, move)

    async def promote(
        self,
        session: WriteSession,
        model: str,
        version: str,
        *,
        expected_production: str | None,
        actor: str,
        reason: str,
        at_ms: int,
        decision_id: str | None = None,
    ) -> int:
        """STAGING to PRODUCTION, the old PRODUCTION to ARCHIVED, in one compare-and-set; the new epoch.

        Raises WrongStage, StalePromotion, ExperimentInTheWay, NotFound; then nothing is changed.
        """
        move = Promote(actor=actor, reason=reason, at_ms=at_ms, decision_id=decision_id)
        return await self._enter_production(session, model, version, expected_production, move)

    async def restore(
        self,
        session: WriteSession,
        model: str,
        version: str,
        *,
        expected_production: str | None,
        actor: str,
        reason: str,
        at_ms: int,
        decision_id: str | None = None,
    ) -> int:
        """A person or a hold-back rolls back: ARCHIVED to PRODUCTION, otherwise like `promote`."""
        move = Restore(actor=actor, reason=reason, at_ms=at_ms, decision_id=decision_id)
        return await self._enter_production(session, model, version, expected_production, move)

    async def attach_profile(
        self, session: WriteSession, model: str, version: str, profile: ReferenceProfile
    ) -> ReferenceProfile:
        """Give a version that has no reference profile one, as it is stored from then on.

        It takes effect like that of a new version. Raises NotFound, ProfileExists, ProfileOfAnotherTask; then
        nothing is changed.
        """
        known = await self._locked(session, model)
        record = await self._version(session, model, version)
        if profile.task != known.task:
            raise ProfileOfAnotherTask(model, known.task, profile.task)
        stored = await ProfileRepository(session).get_many([(model, version)])
        if stored:
            raise ProfileExists(model, version)
        return await self._attach(session, record, profile)

    async def freeze(self, session: WriteSession, model: str) -> None:
        """Automation only records from now on. Raises NotFound."""
        await ModelRepository(session).set_frozen(model, True)

    async def unfreeze(self, session: WriteSession, model: str) -> None:
        """Automation acts again. Raises NotFound."""
        await ModelRepository(session).set_frozen(model, False)

    async def at(self, session: ReadSession, model: str, at_ms: int) -> VersionRecord | None:
        """The version that was PRODUCTION at event time `at_ms`, by the history."""
        models = ModelRepository(session)
        version = await models.production_at(model, at_ms)
        return None if version is None else await models.get_version(model, version)

    # ------------------------------------------------------------ how moves are made

    async def _enter_production(
        self, session: WriteSession, model: str, version: str, expected: str | None, move: Promote | Restore
    ) -> int:
        models = ModelRepository(session)
        locked = await self._locked(session, model)
        old, new = await models.production(model), await self._version(session, model, version)
        # Everything is checked before anything is written: a refusal leaves the transaction as it was.
        try:
            after(STAGES, ModelStage(new.stage.value), type(move))
        except IllegalTransition as error:
            raise WrongStage(version, new.stage, type(move)) from error
        found = old.version if old else None
        if found != expected:
            raise StalePromotion(model, version, expected, found)
        running = await ExperimentRepository(session).running(model)
        if running is not None:
            raise ExperimentInTheWay(model, running.experiment_id)
        epoch = await models.raise_epoch(model)
        moved = []
        if old is not None:
            displaced = Displace(
                actor=move.actor,
                reason=f"replaced by version {version}"[:MAX_REASON],
                at_ms=move.at_ms,
                decision_id=move.decision_id,
            )
            moved.append(await self._move(session, old, displaced, epoch))
        moved.append(await self._move(session, new, move, epoch))
        await self._announce(session, replace(locked, epoch=epoch), moved, move)
        return epoch

    async def _move_one(self, session: WriteSession, model: str, version: str, move: Move) -> None:
        locked = await self._locked(session, model)
        record = await self._version(session, model, version)
        await self._announce(session, locked, [await self._move(session, record, move, locked.epoch)], move)

    async def _move(self, session: WriteSession, record: VersionRecord, move: Move, epoch: int) -> _Moved:
        to_stage = after(STAGES, ModelStage(record.stage.value), type(move))
        moved = _Moved(record, record.stage, WireStage(to_stage.value))
        models = ModelRepository(session)
        await models.set_stage(record.model, record.version, record.stage, moved.to_stage)
        await models.set_status(record.model, record.version, STATUS_OF_STAGE[to_stage].value)
        await self._remember(session, moved, move, epoch)
        return moved

    async def _remember(self, session: WriteSession, moved: _Moved, move: Move, epoch: int) -> None:
        transition = Transition(
            model=moved.record.model,
            version=moved.record.version,
            from_stage=moved.from_stage,
            to_stage=moved.to_stage,
            actor=move.actor,
            reason=move.reason[:MAX_REASON],
            decision_id=move.decision_id,
            epoch=epoch,
            at_ms=move.at_ms,
        )
        await ModelRepository(session).add_transition(transition, self.context.now())

    async def _announce(
        self,
        session: WriteSession,
        model: ModelRecord,
        moved: Sequence[_Moved],
        move: Move,
    ) -> None:
        production = pointer_to(await ModelRepository(session).production(model.name), model.epoch)
        cause = move.decision_id or order_cause(move.actor, move.at_ms)
        for one in moved:
            version, to_stage = one.record.version, one.to_stage
            await self.context.promise(
                session,
                ModelStageChanged(
                    event_id=stage_event_id(model.name, version, to_stage.value, cause, model.epoch),
                    occurred_at=from_ms(move.at_ms),
                    model=model.name,
                    version=version,
                    from_stage=one.from_stage,
                    to_stage=to_stage,
                    actor=move.actor,
                    reason=move.reason[:MAX_REASON],
                    decision_id=move.decision_id,
                    production=production,
                ),
            )

    async def _attach(
        self, session: WriteSession, record: VersionRecord, profile: ReferenceProfile
    ) -> ReferenceProfile:
        await ProfileRepository(session).hold_closings()
        start_ms = self.context.windows.window_start(await closed_through_ms(session))
        dated = replace(
            profile, model=record.model, version=record.version, effective_from_ms=max(0, start_ms)
        )
        body = orjson.dumps(dated.to_json(), option=orjson.OPT_SORT_KEYS)
        await ProfileRepository(session).add(
            model=record.model,
            version=record.version,
            body=body,
            digest=digest_of(body),
            effective_from_ms=dated.effective_from_ms,
        )
        return dated

    async def _locked(self, session: WriteSession, model: str) -> ModelRecord:
        record = await ModelRepository(session).get_model(model, for_update=True)
        if record is None:
            raise NotFound("model", model)
        return record

    async def _version(self, session: WriteSession, model: str, version: str) -> VersionRecord:
        record = await ModelRepository(session).get_version(model, version)
        if record is None:
            raise NotFound("version", f"{version} of {model}")
        return record


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Tuples to lists, as the store will give them back."""
    plain: dict[str, Any] = orjson.loads(orjson.dumps(value))
    return plain
