"""Publishing reads the user's folder, writes to the store, and touches nothing else."""

from pathlib import Path

import pytest

from consumers.artifacts.backend import ArtifactError
from consumers.artifacts.local import LocalBackend
from consumers.services.importing import Import, SameFiles, prepare, register
from domain.registry.version import ModelArtifact
from tests.services.world import MODEL, World


def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "site" / "model"
    folder.mkdir(parents=True)
    (folder / "m.json").write_text("{}")
    (folder.parent / "manifest.json").write_text("somebody else's")
    return folder


async def test_a_manifest_beside_the_model_folder_is_left_alone(tmp_path: Path) -> None:
    folder, store = model_folder(tmp_path), LocalBackend(tmp_path / "store")
    brought = await prepare(store, MODEL, folder, None, "regression")
    assert (folder.parent / "manifest.json").read_text() == "somebody else's"
    assert sorted(path.name for path in folder.parent.rglob("*")) == ["m.json", "manifest.json", "model"]
    assert (tmp_path / "store" / MODEL / brought.artifact.sha256 / "manifest.json").is_file()


async def test_a_model_file_in_the_place_of_the_manifest_is_refused_by_name(tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"model/manifest\.json: this name is taken"):
        await prepare(LocalBackend(tmp_path / "store"), MODEL, folder, None, "regression")
    assert not (tmp_path / "store" / MODEL).exists()


async def test_the_same_files_are_not_registered_as_two_versions(registry_world: World) -> None:
    artifact = ModelArtifact(uri="local:brent/x", sha256="b" * 64, manifest={"files": []})
    brought = Import(model=MODEL, task="regression", artifact=artifact, profile=None)
    async with registry_world.store.write() as session:
        await registry_world.register(session)
        second = await register(registry_world.registry, session, brought, actor="ada", reason="new", at_ms=5)
    async with registry_world.store.write() as session:
        with pytest.raises(SameFiles, match=f"same files as version {second.version}"):
            await register(registry_world.registry, session, brought, actor="ada", reason="again", at_ms=6)
