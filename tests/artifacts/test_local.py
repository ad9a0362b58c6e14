"""The local backend: the conformance suite, and what only a folder can do wrong."""

from pathlib import Path

import pytest

from consumers.artifacts.backend import ArtifactMissing, CloudStorageBackend, UnsafeArtifact
from consumers.artifacts.local import LocalBackend
from tests.artifacts.conformance import SHA, TREES, ArtifactBackendConformance, file_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    path.mkdir()
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def backend(root: Path) -> CloudStorageBackend:
    return LocalBackend(root)


class TestLocalBackend(ArtifactBackendConformance):
    """The whole suite on a folder."""


async def test_nothing_but_the_artifact_is_left_in_the_store(
    backend: CloudStorageBackend, root: Path, tmp_path: Path
) -> None:
    uri = backend.uri("m/1/model.ubj")
    for _ in range(2):
        await backend.upload_artifact(file_of(tmp_path, TREES), uri)
    assert names_in(root) == ["model.ubj"]


async def test_a_linked_folder_does_not_lead_out_of_the_store(
    backend: CloudStorageBackend, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    file_of(tmp_path / "outside", TREES)
    (root / "m").symlink_to(tmp_path / "outside")
    with pytest.raises(UnsafeArtifact, match="leads out of the store"):
        await backend.download_artifact("local:m/model.ubj", tmp_path / "x.ubj", sha256=SHA)
    with pytest.raises(UnsafeArtifact):
        await backend.upload_artifact(file_of(tmp_path, TREES), "local:m/new.ubj")
    assert names_in(tmp_path / "outside") == ["model.ubj"]


async def test_a_linked_file_is_not_an_artifact(
    backend: CloudStorageBackend, root: Path, tmp_path: Path
) -> None:
    (root / "model.ubj").symlink_to(file_of(tmp_path, TREES))
    with pytest.raises(UnsafeArtifact, match="leads out of the store"):
        await backend.download_artifact("local:model.ubj", tmp_path / "x.ubj", sha256=SHA)


async def test_a_download_into_a_folder_that_is_not_there_says_so(
    backend: CloudStorageBackend, tmp_path: Path
) -> None:
    await backend.upload_artifact(file_of(tmp_path, TREES), "local:m/model.ubj")
    with pytest.raises(ArtifactMissing, match="there is no folder"):
        await backend.download_artifact("local:m/model.ubj", tmp_path / "no/where.ubj", sha256=SHA)
