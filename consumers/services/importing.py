"""A version that was made elsewhere: its files into the store, it and its profile into the registry."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from consumers.artifacts.backend import CloudStorageBackend
from consumers.services.publishing import publish
from consumers.services.reference_error import ReferenceUnusable
from consumers.services.registry import Registry
from consumers.store.repositories.models import ModelRepository, VersionRecord
from consumers.store.session import WriteSession
from domain.errors import DomainError
from domain.registry.version import Lineage, ModelArtifact, ModelMetadata
from domain.windows.profile import ReferenceProfile, Task


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
    artifacts: CloudStorageBackend, model: str, folder: Path, profile: ReferenceProfile | None, task: Task
) -> Import:
    """Store the files of `folder`. Raises ArtifactError, and ReferenceUnusable for a folder without files."""
    files = await asyncio.to_thread(_files, folder)
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


def _files(folder: Path) -> list[Path]:
    found = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    if not found:
        raise ReferenceUnusable(folder, "holds no file")
    return found
