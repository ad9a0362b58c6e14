"""Artifacts in a local folder: written beside their final name, synced, verified, then linked into place."""

import asyncio
import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from consumers.artifacts.backend import (
    ArtifactDamaged,
    ArtifactError,
    ArtifactExists,
    ArtifactInfo,
    ArtifactMissing,
    CloudStorageBackend,
    Progress,
    UnsafeArtifact,
    checked_format,
)

_CHUNK = 1 << 20


class LocalBackend(CloudStorageBackend):
    """Files under `root`, at `local:` addresses. The root is made with the first upload."""

    scheme = "local"

    def __init__(self, root: Path) -> None:
        self._root = root

    async def upload_artifact(
        self,
        local_path: Path,
        remote_uri: str,
        *,
        sha256: str | None = None,
        progress: Progress | None = None,
    ) -> ArtifactInfo:
        checked_format(self.key(remote_uri))
        return await asyncio.to_thread(self._upload, local_path, remote_uri, sha256, progress)

    async def download_artifact(
        self, remote_uri: str, local_path: Path, *, sha256: str, progress: Progress | None = None
    ) -> ArtifactInfo:
        return await asyncio.to_thread(self._download, remote_uri, local_path, sha256, progress)

    async def delete_artifact(self, remote_uri: str) -> bool:
        path = self._path(remote_uri)

        def delete() -> bool:
            try:
                path.unlink()
            except FileNotFoundError:
                return False
            return True

        return await asyncio.to_thread(delete)

    async def artifact_exists(self, remote_uri: str) -> bool:
        return await asyncio.to_thread(self._path(remote_uri).is_file)

    def _path(self, uri: str) -> Path:
        path = self._root / self.key(uri)
        root = self._root.resolve()
        # a link inside the store must not lead out of it
        if not path.parent.resolve().is_relative_to(root) or path.is_symlink():
            raise UnsafeArtifact(f"{uri!r} leads out of the store")
        return path

    def _upload(self, source: Path, uri: str, sha256: str | None, progress: Progress | None) -> ArtifactInfo:
        target = self._path(uri)
        target.parent.mkdir(parents=True, exist_ok=True)
        with _opened(source, str(source)) as reader, _Unfinished(target) as writer:
            size, digest = _copy(reader, writer.file, progress)
            if sha256 not in (None, digest):
                raise ArtifactDamaged(f"{source.name} has SHA-256 {digest}, not {sha256}")
            try:
                writer.link()
            except FileExistsError:
                there = _digest(target)
                if there != digest:
                    raise ArtifactExists(
                        f"{uri} is there already with SHA-256 {there}, not {digest}"
                    ) from None
        return ArtifactInfo(uri=uri, size=size, sha256=digest)

    def _download(self, uri: str, target: Path, sha256: str, progress: Progress | None) -> ArtifactInfo:
        with _opened(self._path(uri), uri) as reader, _Unfinished(target) as writer:
            size, digest = _copy(reader, writer.file, progress)
            if digest != sha256:
                raise ArtifactDamaged(f"{uri} has SHA-256 {digest}, not {sha256}")
            writer.replace()
        return ArtifactInfo(uri=uri, size=size, sha256=digest)


class _Unfinished:
    """A temporary file beside `target`; it is gone afterwards unless it took the target's name."""

    def __init__(self, target: Path) -> None:
        self._target = target
        try:
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        except FileNotFoundError as error:
            raise ArtifactMissing(f"there is no folder {target.parent}") from error
        self._path = Path(name)
        self.file: BinaryIO = os.fdopen(handle, "wb")

    def __enter__(self) -> "_Unfinished":
        return self

    def __exit__(self, *failure: object) -> None:
        self.file.close()
        with suppress(FileNotFoundError):
            self._path.unlink()

    def link(self) -> None:
        """Take the name only if it is free."""
        self._sync()
        os.link(self._path, self._target)

    def replace(self) -> None:
        """Take the name from whoever has it."""
        self._sync()
        self._path.replace(self._target)

    def _sync(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())


def _opened(path: Path, name: str) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise ArtifactMissing(f"there is no artifact {name}") from None
    except OSError as error:
        raise ArtifactError(f"{name} cannot be read: {error.strerror}") from error


def _copy(reader: BinaryIO, writer: BinaryIO, progress: Progress | None) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    while chunk := reader.read(_CHUNK):
        digest.update(chunk)
        size += writer.write(chunk)
        if progress is not None:
            progress(size)
    return size, digest.hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
