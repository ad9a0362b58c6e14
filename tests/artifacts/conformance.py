"""What every artifact backend must do; a backend joins by a subclass with a `backend` fixture."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from consumers.artifacts.backend import (
    ArtifactDamaged,
    ArtifactExists,
    ArtifactMissing,
    CloudStorageBackend,
    UnsafeArtifact,
)

TREES = b"trees" * 1_000
SHA = hashlib.sha256(TREES).hexdigest()


def file_of(folder: Path, content: bytes, name: str = "model.ubj") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


class ArtifactBackendConformance:
    """Create-only, verified both ways, contained, and nothing half done is ever visible."""

    async def test_what_was_uploaded_is_downloaded(
        self, backend: CloudStorageBackend, tmp_path: Path
    ) -> None:
        uri = backend.uri("m/1/model.ubj")
        stored = await backend.upload_artifact(file_of(tmp_path, TREES), uri)
        assert (stored.uri, stored.size, stored.sha256) == (uri, len(TREES), SHA)
        fetched = await backend.download_artifact(uri, tmp_path / "fetched.ubj", sha256=SHA)
        assert fetched == stored
        assert (tmp_path / "fetched.ubj").read_bytes() == TREES

    async def test_progress_ends_with_the_size(self, backend: CloudStorageBackend, tmp_path: Path) -> None:
        seen: list[int] = []
        uri = backend.uri("m/1/model.ubj")
        await backend.upload_artifact(file_of(tmp_path, TREES), uri, progress=seen.append)
        await backend.download_artifact(uri, tmp_path / "back.ubj", sha256=SHA, progress=seen.append)
        assert seen[-1] == len(TREES)
        assert seen.count(len(TREES)) == 2

    async def test_uploading_the_same_again_is_success(
        self, backend: CloudStorageBackend, tmp_path: Path
    ) -> None:
        uri = backend.uri("m/1/model.ubj")
        first = await backend.upload_artifact(file_of(tmp_path, TREES), uri)
        assert await backend.upload_artifact(file_of(tmp_path, TREES), uri, sha256=SHA) == first

    async def test_other_content_under_a_taken_name_is_refused_and_changes_nothing(
        self, backend: CloudStorageBackend, tmp_path: Path
    ) -> None:
        uri = backend.uri("m/1/model.ubj")
        await backend.upload_artifact(file_of(tmp_path, TREES), uri)
        with pytest.raises(ArtifactExists, match=SHA):
            await backend.upload_artifact(file_of(tmp_path, b"others", "other.ubj"), uri)
        await backend.download_artifact(uri, tmp_path / "kept.ubj", sha256=SHA)

    async def test_of_many_who_create_at_once_exactly_one_content_wins(
        self, backend: CloudStorageBackend, tmp_path: Path
    ) -> None:
        uri = backend.uri("m/1/model.ubj")
        sources = [file_of(tmp_path, f"content {n}".encode(), f"{n}.ubj") for n in range(8)]
        results = await asyncio.gather(
            *(backend.upload_artifact(source, uri) for source in sources), return_exceptions=True
        )
        refused = [result for result in results if isinstance(result, ArtifactExists)]
        (stored,) = [result for result in results if not isinstance(result, BaseException)]
        assert len(refused) == len(sources) - 1
        await backend.download_artifact(uri, tmp_path / "winner.ubj", sha256=stored.sha256)

    async def test_an_upload_that_is_not_what_was_promised_is_refused(
        self, backend: CloudStorageBackend, tmp_path: Path
    ) -> None:
        uri = backend.uri("m/1/model.ubj")
        with pytest.raises(ArtifactDamaged, match="not " + "0" * 64):
            await backend.upload_artifact(file_of(tmp_path, TREES), uri, sha256="0" * 64)
        assert not await backend.artifact_exists(uri)

    async def test_a_download_that_is_not_what_was_promised_leaves_no_file(
        self, backend: CloudStorageBackend, tmp_path: Path
    ) -> None:
        uri = backend.uri("m/1/model.ubj")
        await backend.upload_artifact(file_of(tmp_path, TREES), uri)
        (tmp_path / "out").mkdir()
        with pytest.raises(ArtifactDamaged):
            await backend.download_artifact(uri, tmp_path / "out/model.ubj", sha256="0" * 64)
        assert list((tmp_path / "out").iterdir()) == []

    async def test_a_failed_download_keeps_the_file_that_was_there(
        self, backend: CloudStorageBackend, tmp_path: Path
    ) -> None:
        uri = backend.uri("m/1/model.ubj")
        await backend.upload_artifact(file_of(tmp_path, TREES), uri)
        before = file_of(tmp_path, b"before", "target.ubj")
        with pytest.raises(ArtifactDamaged):
            await backend.download_artifact(uri, before, sha256="0" * 64)
        assert before.read_bytes() == b"before"

    async def test_a_deleted_artifact_is_gone_and_its_name_free(
        self, backend: CloudStorageBackend, tmp_path: Path
    ) -> None:
        uri = backend.uri("m/1/model.ubj")
        assert not await backend.delete_artifact(uri)
        await backend.upload_artifact(file_of(tmp_path, TREES), uri)
        assert await backend.artifact_exists(uri)
        assert await backend.delete_artifact(uri)
        assert not await backend.artifact_exists(uri)
        await backend.upload_artifact(file_of(tmp_path, b"others"), uri)

    async def test_what_is_not_there_is_missing(self, backend: CloudStorageBackend, tmp_path: Path) -> None:
        uri = backend.uri("m/1/model.ubj")
        with pytest.raises(ArtifactMissing, match=r"m/1/model\.ubj"):
            await backend.download_artifact(uri, tmp_path / "x.ubj", sha256=SHA)
        with pytest.raises(ArtifactMissing, match=r"nowhere\.ubj"):
            await backend.upload_artifact(tmp_path / "nowhere.ubj", uri)
        assert not await backend.artifact_exists(uri)

    @pytest.mark.parametrize("ending", [".pkl", ".joblib", ".pt", ".pickle", ".py", ".UBJ.PKL", ""])
    async def test_a_format_that_may_run_code_is_refused(
        self, backend: CloudStorageBackend, tmp_path: Path, ending: str
    ) -> None:
        with pytest.raises(UnsafeArtifact, match="is refused"):
            await backend.upload_artifact(file_of(tmp_path, TREES), backend.uri(f"m/1/model{ending}"))

    @pytest.mark.parametrize(
        "key", ["../x.ubj", "/x.ubj", "a/../../x.ubj", "a//x.ubj", "./x.ubj", "a\\x", ""]
    )
    async def test_an_address_that_leaves_the_store_is_refused(
        self, backend: CloudStorageBackend, tmp_path: Path, key: str
    ) -> None:
        uri = f"{backend.scheme}:{key}"
        with pytest.raises(UnsafeArtifact, match="not a plain relative path"):
            await backend.upload_artifact(file_of(tmp_path, TREES), uri)
        with pytest.raises(UnsafeArtifact):
            await backend.download_artifact(uri, tmp_path / "x.ubj", sha256=SHA)
        with pytest.raises(UnsafeArtifact):
            await backend.delete_artifact(uri)
        with pytest.raises(UnsafeArtifact):
            await backend.artifact_exists(uri)

    async def test_an_address_of_another_store_is_refused(self, backend: CloudStorageBackend) -> None:
        with pytest.raises(UnsafeArtifact, match="not an address of the"):
            await backend.artifact_exists("other-scheme:m/1/model.ubj")
