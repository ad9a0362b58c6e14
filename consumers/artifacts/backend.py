"""What the service asks of an artifact store, whichever cloud it lies in."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

Progress = Callable[[int], None]
"""Called with the bytes done so far."""

SAFE_FORMATS = frozenset({".ubj", ".json", ".onnx", ".safetensors", ".parquet", ".txt"})
"""Formats that are data. Pickles and their relatives run code when they are loaded, and are refused."""


class ArtifactError(Exception):
    """An artifact could not be stored or fetched; the message says why, in one line."""


class ArtifactExists(ArtifactError):
    """Artifacts are created once; another content is there already."""


class ArtifactMissing(ArtifactError):
    """There is no such artifact."""


class ArtifactDamaged(ArtifactError):
    """The bytes are not those that were promised."""


class UnsafeArtifact(ArtifactError):
    """The address leaves the store, or the format may run code when it is loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactInfo:
    """A stored file."""

    uri: str
    size: int
    sha256: str


class CloudStorageBackend(ABC):
    """Immutable files by URI. Creating again with equal content is success, with other ArtifactExists.

    No operation leaves a partial file under its final name.
    """

    scheme: str

    def uri(self, key: str) -> str:
        """The address of `key`, a relative path with forward slashes. Raises UnsafeArtifact."""
        return f"{self.scheme}:{checked_key(key)}"

    def key(self, uri: str) -> str:
        """The key of one of our addresses. Raises UnsafeArtifact for any other."""
        scheme, _, key = uri.partition(":")
        if scheme != self.scheme:
            raise UnsafeArtifact(f"{uri!r} is not an address of the {self.scheme} store")
        return checked_key(key)

    @abstractmethod
    async def upload_artifact(
        self,
        local_path: Path,
        remote_uri: str,
        *,
        sha256: str | None = None,
        progress: Progress | None = None,
    ) -> ArtifactInfo:
        """Store a file. `sha256` is checked against its bytes. Raises ArtifactExists, ArtifactDamaged,
        ArtifactMissing (no local file), UnsafeArtifact."""

    @abstractmethod
    async def download_artifact(
        self, remote_uri: str, local_path: Path, *, sha256: str, progress: Progress | None = None
    ) -> ArtifactInfo:
        """Fetch a file and verify it before it appears under `local_path`. Raises ArtifactMissing,
        ArtifactDamaged, UnsafeArtifact."""

    @abstractmethod
    async def delete_artifact(self, remote_uri: str) -> bool:
        """Remove a file; False if there was none. Raises UnsafeArtifact."""

    @abstractmethod
    async def artifact_exists(self, remote_uri: str) -> bool:
        """Whether there is such a file. Raises UnsafeArtifact."""


def checked_key(key: str) -> str:
    """`key` if it is a plain relative path with forward slashes. Raises UnsafeArtifact."""
    strange = any(part in ("", ".", "..") for part in key.split("/")) or "\\" in key or "\0" in key
    if strange or PurePosixPath(key).is_absolute():
        raise UnsafeArtifact(f"{key!r} is not a plain relative path")
    return key


def checked_format(key: str) -> None:
    """Raises UnsafeArtifact unless the file's ending names a format that is only data."""
    suffix = PurePosixPath(key).suffix.lower()
    if suffix not in SAFE_FORMATS:
        allowed = " ".join(sorted(SAFE_FORMATS))
        raise UnsafeArtifact(f"{key}: format {suffix or 'without ending'} is refused (allowed: {allowed})")
