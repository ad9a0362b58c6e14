"""No byte of a model is used that the registry did not promise."""

import hashlib
import json
from pathlib import Path

import pytest

from lifecycle_sdk import ArtifactClient, ArtifactRefused

URI = "local:brent-move/1"


def store(root: Path, files: dict[str, bytes], *, named: dict[str, str] | None = None) -> str:
    """Writes a version's folder; `named` replaces paths in the manifest. Returns the manifest's digest."""
    folder = root / "brent-move" / "1"
    folder.mkdir(parents=True)
    entries = []
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        entries.append({"path": (named or {}).get(name, name), "size": len(content), "sha256": digest})
    body = json.dumps({"files": entries}).encode()
    (folder / "manifest.json").write_bytes(body)
    return hashlib.sha256(body).hexdigest()


async def test_verified_files_are_handed_out(tmp_path: Path) -> None:
    digest = store(tmp_path, {"model.ubj": b"trees", "extra/features.json": b"[]"})
    found = await ArtifactClient(tmp_path).fetch(URI, digest)
    assert found.files == ("model.ubj", "extra/features.json")
    assert found.path("model.ubj").read_bytes() == b"trees"


async def test_a_file_beside_the_manifest_is_not_handed_out(tmp_path: Path) -> None:
    digest = store(tmp_path, {"model.ubj": b"trees"})
    (tmp_path / "brent-move/1/planted.ubj").write_bytes(b"evil")
    found = await ArtifactClient(tmp_path).fetch(URI, digest)
    with pytest.raises(ArtifactRefused, match=r"planted\.ubj is not in the manifest"):
        found.path("planted.ubj")


async def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    digest = store(tmp_path, {"model.ubj": b"trees"})
    (tmp_path / "brent-move/1/model.ubj").write_bytes(b"tree5")
    with pytest.raises(ArtifactRefused, match=r"model\.ubj .* has SHA-256"):
        await ArtifactClient(tmp_path).fetch(URI, digest)


async def test_a_changed_manifest_is_refused_even_if_it_fits_its_files(tmp_path: Path) -> None:
    store(tmp_path, {"model.ubj": b"trees"})
    with pytest.raises(ArtifactRefused, match=r"the manifest of .* was announced"):
        await ArtifactClient(tmp_path).fetch(URI, "0" * 64)


async def test_a_missing_file_or_version_is_refused(tmp_path: Path) -> None:
    digest = store(tmp_path, {"model.ubj": b"trees"})
    with pytest.raises(ArtifactRefused, match=r"manifest\.json cannot be read"):
        await ArtifactClient(tmp_path).fetch("local:brent-move/2", digest)
    (tmp_path / "brent-move/1/model.ubj").unlink()
    with pytest.raises(ArtifactRefused, match=r"model\.ubj .* cannot be read"):
        await ArtifactClient(tmp_path).fetch(URI, digest)


@pytest.mark.parametrize(
    "uri", ["s3://bucket/key", "local:../outside", "local:/etc", "local:", "local:a//b", "local:a\\b"]
)
async def test_an_address_outside_the_store_is_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(ArtifactRefused, match=r"not an address|not a plain relative path"):
        await ArtifactClient(tmp_path).fetch(uri, "0" * 64)


@pytest.mark.parametrize("name", ["../../secret.ubj", "/etc/hostname", "a/../model.ubj", "./model.ubj"])
async def test_a_manifest_that_names_a_path_outside_is_refused(tmp_path: Path, name: str) -> None:
    digest = store(tmp_path, {"model.ubj": b"trees"}, named={"model.ubj": name})
    with pytest.raises(ArtifactRefused, match="not a plain relative path"):
        await ArtifactClient(tmp_path).fetch(URI, digest)


async def test_a_link_that_leads_out_of_the_store_is_refused(tmp_path: Path) -> None:
    digest = store(tmp_path / "store", {"model.ubj": b"trees"})
    (tmp_path / "outside.ubj").write_bytes(b"trees")
    path = tmp_path / "store/brent-move/1/model.ubj"
    path.unlink()
    path.symlink_to(tmp_path / "outside.ubj")
    with pytest.raises(ArtifactRefused, match="leads out of the store"):
        await ArtifactClient(tmp_path / "store").fetch(URI, digest)


async def test_a_huge_manifest_is_not_read(tmp_path: Path) -> None:
    store(tmp_path, {"model.ubj": b"trees"})
    with (tmp_path / "brent-move/1/manifest.json").open("r+b") as file:
        file.truncate(2 << 20)
    with pytest.raises(ArtifactRefused, match=r"manifest\.json is over"):
        await ArtifactClient(tmp_path).fetch(URI, "0" * 64)
