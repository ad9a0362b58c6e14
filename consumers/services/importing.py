"""A version that was made elsewhere: its files into the store, its reference profile from training data."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from consumers.artifacts.backend import CloudStorageBackend
from consumers.services.publishing import publish
from consumers.services.registry import Registry
from consumers.services.training import error_clip
from consumers.services.training_files import FEATURE_PREFIX
from consumers.store.repositories.models import ModelRepository, VersionRecord
from consumers.store.session import WriteSession
from domain.errors import DomainError
from domain.registry.version import Lineage, ModelArtifact, ModelMetadata
from domain.windows.build import build_profile
from domain.windows.profile import ReferenceProfile, Task

NOT_FEATURES = ("prediction", "actual", "prediction_id", "occurred_at_ms", "horizon_s", "version")


class ReferenceUnusable(DomainError):
    """The reference data cannot make a profile."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path, self.problem = path, problem


class SameFiles(DomainError):
    """The model has a version made of the very same files."""

    def __init__(self, model: str, version: str) -> None:
        super().__init__(f"these are the same files as version {version} of {model}; nothing is registered")
        self.model, self.version = model, version


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """What is brought in, read and stored before the transaction begins."""

    model: str
    task: Task
    artifact: ModelArtifact
    profile: ReferenceProfile | None


async def prepare(
    artifacts: CloudStorageBackend, model: str, folder: Path, reference: Path | None, task: Task
) -> Import:
    """Store the files of `folder` and build the profile of `reference` (Parquet, rows in time order).

    Columns of `reference`: the features (a prefix `feature.` is dropped) and, if there are, `prediction` and
    `actual`. Raises ArtifactError, ReferenceUnusable.
    """
    files = await asyncio.to_thread(_files, folder)
    profile = None if reference is None else await asyncio.to_thread(profile_from, reference, task)
    artifact = await publish(artifacts, model, folder, files)
    return Import(model=model, task=task, artifact=artifact, profile=profile)


async def register(
    registry: Registry, session: WriteSession, brought: Import, *, actor: str, reason: str, at_ms: int
) -> VersionRecord:
    """Register what was prepared and put it into STAGING. Raises SameFiles."""
    for known in await ModelRepository(session).versions(brought.model):
        if known.artifact_sha256 == brought.artifact.sha256:
            raise SameFiles(brought.model, known.version)
    version = await registry.register_version(
        session,
        ModelMetadata(
            model=brought.model,
            task=brought.task,
            created_at_ms=at_ms,
            features=tuple(brought.profile.features) if brought.profile else (),
        ),
        brought.artifact,
        profile=brought.profile,
        lineage=Lineage(source="import"),
        actor=actor,
        reason=reason,
        at_ms=at_ms,
    )
    await registry.stage(session, brought.model, version.version, actor=actor, reason=reason, at_ms=at_ms)
    return version


def profile_from(path: Path, task: Task) -> ReferenceProfile:
    """The reference profile of a Parquet file. Raises ReferenceUnusable."""
    try:
        columns: dict[str, list[Any]] = pq.read_table(path).to_pydict()
    except (OSError, pa.ArrowException) as error:
        raise ReferenceUnusable(path, f"is not a readable Parquet file ({error})") from error
    features = {
        name.removeprefix(FEATURE_PREFIX): values
        for name, values in columns.items()
        if name not in NOT_FEATURES
    }
    if not features or not next(iter(features.values())):
        raise ReferenceUnusable(path, "holds no feature column with rows")
    predictions, actuals = columns.get("prediction"), columns.get("actual")
    clip = None
    if task == "regression" and predictions and actuals:
        pairs = [(p, a) for p, a in zip(predictions, actuals, strict=True) if p is not None and a is not None]
        clip = error_clip([p for p, _ in pairs], [a for _, a in pairs])
    return build_profile(
        # the registry fills in who it belongs to and from when on it counts
        model="",
        version="",
        task=task,
        features=features,
        predictions=predictions,
        error_clip=clip,
    )


def _files(folder: Path) -> list[Path]:
    found = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    if not found:
        raise ReferenceUnusable(folder, "holds no file")
    return found
