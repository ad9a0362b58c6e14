"""The model registry: models, their versions with stages, and who moved which version when."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select, tuple_, update

from consumers.store.errors import ConstraintViolated, NotFound, ProductionTaken, StaleStage, VersionExists
from consumers.store.locks import model_lock
from consumers.store.repositories.base import Repository, SessionT_co, columns_of
from consumers.store.session import WriteSession
from consumers.store.tables import model_versions, models, transitions
from consumers.store.types import Json
from schemas.events import ModelStage


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """A model. `epoch` counts its promotions; automation leaves a `frozen` one alone."""

    name: str
    task: str
    epoch: int
    frozen: bool
    created_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRecord:
    """A version. `artifact_sha256` is that of the canonical `manifest`, which lists the files."""

    model: str
    version: str
    stage: ModelStage
    status: str
    """A `ModelStatus`."""
    artifact_uri: str
    artifact_sha256: str
    manifest: Json
    metadata: Json
    lineage: Json
    job_id: str | None = None
    """The retraining job that made it; a job registers at most one version."""
    registered_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One move of a version; `from_stage` is None at registration, `epoch` the model's after the move."""

    model: str
    version: str
    from_stage: ModelStage | None
    to_stage: ModelStage
    actor: str
    reason: str
    decision_id: str | None = None
    epoch: int
    at_ms: int


_TRANSITION = [column for column in transitions.c if column.name not in ("id", "recorded_at")]


class ModelRepository(Repository[SessionT_co]):
    """Models, versions and transitions.

    Whoever changes a model's versions locks the model first (`get_model(…, for_update=True)`): then
    concurrent promotions queue instead of failing. The schema guarantees one PRODUCTION either way.
    """

    # ------------------------------------------------------------ models

    async def create_model(
        self: "ModelRepository[WriteSession]", *, name: str, task: str, created_at_ms: int
    ) -> bool:
        """Add a model at epoch 0, not frozen; False when there is one of that name, which stays as it is."""
        row = {"name": name, "task": task, "epoch": 0, "frozen": False, "created_at_ms": created_at_ms}
        return bool(await self._session.insert_if_absent(models, row))

    async def get_model(self, name: str, *, for_update: bool = False) -> ModelRecord | None:
        """The model, None when there is none.

        `for_update` keeps others off it until the transaction ends, judges too; a read session locks nothing.
        """
        if for_update and isinstance(self._session, WriteSession):
            await self._session.lock(model_lock(name))
        row = await self._session.first(select(models).where(models.c.name == name))
        return None if row is None else ModelRecord(**row._mapping)

    async def list_models(self) -> list[ModelRecord]:
        """Every model, by name."""
        rows = await self._session.rows(select(models).order_by(models.c.name))
        return [ModelRecord(**row._mapping) for row in rows]

    async def raise_epoch(self: "ModelRepository[WriteSession]", name: str) -> int:
        """Count a promotion; the new epoch. Raises NotFound."""
        statement = update(models).where(models.c.name == name).values(epoch=models.c.epoch + 1)
        epoch = (await self._session.execute(statement.returning(models.c.epoch))).scalar()
        if epoch is None:
            raise NotFound("model", name)
        return int(epoch)

    async def set_frozen(self: "ModelRepository[WriteSession]", name: str, frozen: bool) -> None:
        """Keep automation off the model, or let it back. Raises NotFound."""
        if not await self._session.changed(update(models).where(models.c.name == name).values(frozen=frozen)):
            raise NotFound("model", name)

    # ------------------------------------------------------------ versions

    async def add_version(self: "ModelRepository[WriteSession]", version: VersionRecord) -> None:
        """Register a version. Raises VersionExists if the version, or one of the same job, is there;
        ProductionTaken if it claims a PRODUCTION that is taken; ConstraintViolated for an unknown model."""
        if await self._session.insert_if_absent(model_versions, columns_of(version)):
            return
        production = await self.production(version.model)
        if version.stage is ModelStage.PRODUCTION and production and production.version != version.version:
            raise ProductionTaken(version.model, version.version, version.stage, production.version)
        raise VersionExists(version.model, version.version)

    async def get_version(self, model: str, version: str) -> VersionRecord | None:
        """The version, None when there is none."""
        return await self._version(model_versions.c.model == model, model_versions.c.version == version)

    async def version_by_job(self, job_id: str) -> VersionRecord | None:
        """The version that a retraining job registered, None when it has not yet."""
        return await self._version(model_versions.c.job_id == job_id)

    async def production(self, model: str) -> VersionRecord | None:
        """The model's PRODUCTION version, None when it has none."""
        return await self._version(
            model_versions.c.model == model, model_versions.c.stage == ModelStage.PRODUCTION
        )

    async def versions(self, model: str, stage: ModelStage | None = None) -> list[VersionRecord]:
        """The model's versions, lowest number first."""
        c = model_versions.c
        query = select(model_versions).where(c.model == model)
        if stage is not None:
            query = query.where(c.stage == stage)
        rows = await self._session.rows(query.order_by(func.length(c.version), c.version))
        return [VersionRecord(**row._mapping) for row in rows]

    async def next_version_number(self, model: str) -> int:
        """One more than the highest version number. Lock the model first, or another may get the same."""
        c = model_versions.c
        rows = await self._session.rows(select(c.version).where(c.model == model))
        return 1 + max((int(row.version) for row in rows if row.version.isdecimal()), default=0)

    async def set_stage(
        self: "ModelRepository[WriteSession]",
        model: str,
        version: str,
        from_stage: ModelStage,
        to_stage: ModelStage,
    ) -> None:
        """Compare-and-set. Raises StaleStage when the version is not in `from_stage` (or unknown), and
        ProductionTaken when another version is PRODUCTION; the transaction stays usable."""
        c = model_versions.c
        mine = (c.model == model) & (c.version == version)
        try:
            async with self._session.savepoint():
                moved = await self._session.changed(
                    update(model_versions).where(mine, c.stage == from_stage).values(stage=to_stage)
                )
        except ConstraintViolated as error:
            holder = await self.production(model)
            raise ProductionTaken(model, version, from_stage, holder.version if holder else None) from error
        if not moved:
            found = await self._session.scalar(select(c.stage).where(mine))
            raise StaleStage(model, version, from_stage, found)

    async def set_status(
        self: "ModelRepository[WriteSession]", model: str, version: str, status: str
    ) -> None:
        """Set a version's `ModelStatus`. Raises NotFound."""
        mine = (model_versions.c.model == model) & (model_versions.c.version == version)
        if not await self._session.changed(update(model_versions).where(mine).values(status=status)):
            raise NotFound("version", f"{model}/{version}")

    # ------------------------------------------------------------ history

    async def add_transition(
        self: "ModelRepository[WriteSession]", transition: Transition, now: datetime
    ) -> None:
        """Append a move to the history."""
        await self._session.execute(
            transitions.insert().values(**columns_of(transition), recorded_at=now),
        )

    async def transitions(self, model: str) -> list[Transition]:
        """The model's moves in the order (at_ms, recorded)."""
        c = transitions.c
        query = select(*_TRANSITION).where(c.model == model).order_by(c.at_ms, c.id)
        return [Transition(**row._mapping) for row in await self._session.rows(query)]

    async def production_at(self, model: str, at_ms: int) -> str | None:
        """The version that was PRODUCTION at the event time `at_ms`, by the history."""
        found: str | None = await self._session.scalar(_production_at(model, at_ms))
        return found

    async def _version(self, *conditions: Any) -> VersionRecord | None:
        row = await self._session.first(select(model_versions).where(*conditions))
        return None if row is None else VersionRecord(**row._mapping)


def _production_at(model: str, at_ms: int) -> Select[str]:
    # The last arrival in PRODUCTION, unless the same version left again. A promotion's two moves carry the
    # same time and may be recorded in either order.
    arrived, left = transitions.alias("arrived"), transitions.alias("left")
    last = (
        select(arrived.c.version, arrived.c.at_ms, arrived.c.id)
        .where(
            arrived.c.model == model, arrived.c.to_stage == ModelStage.PRODUCTION, arrived.c.at_ms <= at_ms
        )
        .order_by(arrived.c.at_ms.desc(), arrived.c.id.desc())
        .limit(1)
        .subquery("last")
    )
    gone = select(left.c.id).where(
        left.c.model == model,
        left.c.version == last.c.version,
        left.c.from_stage == ModelStage.PRODUCTION,
        left.c.at_ms <= at_ms,
        tuple_(left.c.at_ms, left.c.id) > tuple_(last.c.at_ms, last.c.id),
    )
    return select(last.c.version).where(~gone.exists())
