"""Reference profiles as the store keeps them and as windows read them."""

import orjson

from consumers.store.repositories.profiles import StoredProfile
from domain.windows.profile import ReferenceProfile


def profile_of(stored: StoredProfile) -> ReferenceProfile:
    """The profile whose canonical JSON the store keeps."""
    return ReferenceProfile.from_json(orjson.loads(stored.body))
