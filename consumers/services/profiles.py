"""Reference profiles as the store keeps them, as files hold them and as windows read them."""

from pathlib import Path

import orjson

from consumers.services.reference_error import ReferenceUnusable
from consumers.store.errors import NotFound
from consumers.store.repositories.models import ModelRepository
from consumers.store.repositories.profiles import ProfileRepository, StoredProfile
from consumers.store.session import ReadSession
from domain.errors import DomainError
from domain.windows.profile import ReferenceProfile
from domain.windows.profile_error import ProfileError
from domain.windows.rows import canonical


class NoProfile(DomainError):
    """The version has no reference profile."""

    def __init__(self, model: str, version: str) -> None:
        super().__init__(
            f"version {version} of {model} has no reference profile: lifecycle profile learn or attach gives "
            "it one"
        )
        self.model, self.version = model, version


def profile_of(stored: StoredProfile) -> ReferenceProfile:
    """The profile whose canonical JSON the store keeps."""
    return ReferenceProfile.from_json(orjson.loads(stored.body))


async def stored_profile(session: ReadSession, model: str, version: str) -> StoredProfile:
    """The profile of a version. Raises NotFound, NoProfile."""
    if await ModelRepository(session).get_version(model, version) is None:
        raise NotFound("version", f"{version} of {model}")
    found = await ProfileRepository(session).get_many([(model, version)])
    if not found:
        raise NoProfile(model, version)
    return found[model, version]


def profile_document(profile: ReferenceProfile) -> str:
    """What a file of the profile holds: its canonical JSON, one line."""
    return canonical(profile.to_json()).decode() + "\n"


def read_profile(path: Path) -> ReferenceProfile:
    """The profile that a file holds. Raises ReferenceUnusable, OSError."""
    try:
        document = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise ReferenceUnusable(path, f"is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise ReferenceUnusable(path, "is not a reference profile: a JSON object was expected")
    try:
        return ReferenceProfile.from_json(document)
    except ProfileError as error:
        raise ReferenceUnusable(path, f"is not a reference profile: {error}") from error
