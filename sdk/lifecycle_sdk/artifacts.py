"""Fetching a version's files, verified before anything is loaded."""

import asyncio
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

MANIFEST = "manifest.json"
_LOCAL = "local:"
MAX_MANIFEST_BYTES = 1 << 20


class ArtifactRefused(Exception):
    """The files are not those that were promised, or their address leads out of the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedArtifact:
    """A folder whose files have just been verified."""

    folder: Path
    files: tuple[str, ...]

    def path(self, name: str) -> Path:
        """The path of one of `files`. Raises ArtifactRefused for a file that was not verified."""
        if name not in self.files:
            raise ArtifactRefused(f"{name} is not in the manifest (it holds {', '.join(self.files)})")
        return self.folder / name


class ArtifactClient:
    """Fetches from the embedded engine's artifact folder.

    The manifest is checked against the SHA-256 that the registry announced, every file against the manifest.
    Nothing is unpacked and nothing is loaded: that is the caller's, with formats that are only data.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._verified: dict[tuple[str, str], VerifiedArtifact] = {}

    async def fetch(self, uri: str, sha256: str) -> VerifiedArtifact:
        """The files at `uri`, which must have this manifest digest. Raises ArtifactRefused."""
        key = (uri, sha256)
        if key not in self._verified:
            self._verified[key] = await asyncio.to_thread(self._verify, uri, sha256)
        return self._verified[key]

    def _verify(self, uri: str, sha256: str) -> VerifiedArtifact:
        if not uri.startswith(_LOCAL):
            raise ArtifactRefused(f"{uri} is not an address of the local store")
        folder = self._inside(self._root, uri.removeprefix(_LOCAL))
        body = _bytes(folder / MANIFEST)
        found = hashlib.sha256(body).hexdigest()
        if found != sha256:
            raise ArtifactRefused(f"the manifest of {uri} has SHA-256 {found}, {sha256} was announced")
        files = []
        # the manifest is authentic from here on; its paths are checked all the same
        for entry in json.loads(body)["files"]:
            path = self._inside(folder, entry["path"])
            try:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise ArtifactRefused(f"{entry['path']} of {uri} cannot be read: {error.strerror}") from error
            if digest != entry["sha256"]:
                raise ArtifactRefused(f"{entry['path']} of {uri} has SHA-256 {digest}, not {entry['sha256']}")
            files.append(str(entry["path"]))
        return VerifiedArtifact(folder=folder, files=tuple(files))

    @staticmethod
    def _inside(folder: Path, name: str) -> Path:
        parts = name.split("/")
        if any(part in ("", ".", "..") for part in parts) or "\\" in name or "\0" in name:
            raise ArtifactRefused(f"{name!r} is not a plain relative path")
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ArtifactRefused(f"{name!r} leads out of the store")
        return path


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise ArtifactRefused(f"{path.name} is over {MAX_MANIFEST_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise ArtifactRefused(f"{path.name} cannot be read: {error.strerror}") from error
