"""A model's files into the artifact store, named by their content: publishing twice is publishing once."""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson

from consumers.artifacts.backend import ArtifactError, CloudStorageBackend
from domain.registry.version import ModelArtifact

MANIFEST = "manifest.json"


async def publish(
    store: CloudStorageBackend, model: str, folder: Path, files: Sequence[Path]
) -> ModelArtifact:
    """Uploads `files` (relative to `folder`) and then their manifest, whose SHA-256 names the whole.

    A reader that finds the manifest finds every file. `folder` and what is around it are only read. Raises
    ArtifactError, also for a model file in the manifest's place.
    """
    if Path(MANIFEST) in files:
        raise ArtifactError(
            f"{folder / MANIFEST}: this name is taken by the manifest of the artifact; rename it"
        )
    entries = await asyncio.to_thread(_entries, folder, files)
    manifest = {"files": entries}
    body = orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS)
    digest = hashlib.sha256(body).hexdigest()
    base = f"{model}/{digest}"
    for entry in entries:
        path = str(entry["path"])
        await store.upload_artifact(folder / path, store.uri(f"{base}/{path}"), sha256=str(entry["sha256"]))
    with TemporaryDirectory() as scratch:
        written = Path(scratch) / MANIFEST
        written.write_bytes(body)
        await store.upload_artifact(written, store.uri(f"{base}/{MANIFEST}"), sha256=digest)
    return ModelArtifact(uri=store.uri(base), sha256=digest, manifest=manifest)


def _entries(folder: Path, files: Sequence[Path]) -> list[dict[str, object]]:
    return [_entry(folder, path) for path in sorted(files)]


def _entry(folder: Path, path: Path) -> dict[str, object]:
    with (folder / path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": path.as_posix(), "size": (folder / path).stat().st_size, "sha256": digest}
