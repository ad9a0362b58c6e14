"""Reference profiles that were parsed before.

The judge reads a version's profile in every transaction; parsing one of 500 features takes as long as judging
a window of them. Profiles are immutable, and what is remembered is only used for the same bytes again.
"""

from collections import OrderedDict

from consumers.services.profiles import profile_of
from consumers.store.repositories.profiles import StoredProfile
from domain.windows.profile import ReferenceProfile

LIMIT_BYTES = 16 * 2**20
"""Of JSON; parsed it takes some five times that."""


class RememberedProfiles:
    """At most `limit_bytes` of JSON, the least recently wanted forgotten first."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._bytes = 0
        self._kept: OrderedDict[tuple[str, str], tuple[bytes, ReferenceProfile]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, stored: StoredProfile) -> ReferenceProfile:
        """As `profile_of`. Raises ProfileError."""
        key = (stored.model, stored.version)
        known = self._kept.get(key)
        if known is not None and known[0] == stored.body:
            self._kept.move_to_end(key)
            return known[1]
        profile = profile_of(stored)
        if known is not None:
            self._forget(key)
        self._kept[key] = (stored.body, profile)
        self._bytes += len(stored.body)
        while self._bytes > self._limit:
            self._forget(next(iter(self._kept)))
        return profile

    def _forget(self, key: tuple[str, str]) -> None:
        body, _ = self._kept.pop(key)
        self._bytes -= len(body)
