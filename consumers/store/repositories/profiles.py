"""Reference profiles of versions: immutable, because window rows depend on them."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select, tuple_

from consumers.store.errors import ImmutableConflict
from consumers.store.repositories.base import Repository, SessionT_co
from consumers.store.session import WriteSession
from consumers.store.tables import reference_profiles

_CLOSINGS = "closings"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredProfile:
    """A profile's canonical JSON and its SHA-256."""

    model: str
    version: str
    body: bytes
    digest: str
    effective_from_ms: int
    """First window start that it counts for."""


class ProfileRepository(Repository[SessionT_co]):
    """One profile a version."""

    async def add(
        self: "ProfileRepository[WriteSession]",
        *,
        model: str,
        version: str,
        body: bytes,
        digest: str,
        effective_from_ms: int,
    ) -> None:
        """Attach a profile to a registered version. Again is harmless; another one raises ImmutableConflict,
        an unknown version ConstraintViolated."""
        row = {
            "model": model,
            "version": version,
            "body": body,
            "digest": digest,
            "effective_from_ms": effective_from_ms,
        }
        if await self._session.insert_if_absent(reference_profiles, row):
            return
        stored = (await self.get_many([(model, version)]))[model, version]
        if (stored.digest, stored.effective_from_ms) != (digest, effective_from_ms):
            raise ImmutableConflict(
                "reference profile",
                f"{model}/{version}",
                f"{stored.digest} from {stored.effective_from_ms}",
                f"{digest} from {effective_from_ms}",
            )

    async def hold_closings(self: "ProfileRepository[WriteSession]") -> None:
        """Let no window close until the transaction ends: for whoever adds a profile that takes effect where
        windows are not closed yet. Call it before asking how far they are."""
        await self._session.lock(_CLOSINGS)

    async def for_closing(
        self: "ProfileRepository[WriteSession]", versions: Collection[tuple[str, str]]
    ) -> dict[tuple[str, str], StoredProfile]:
        """As `get_many`, for the transaction that closes windows with these profiles or without: any number
        of them run at once, and no profile appears before the last has ended."""
        await self._session.lock(_CLOSINGS, shared=True)
        return await self.get_many(versions)

    async def get_many(self, versions: Collection[tuple[str, str]]) -> dict[tuple[str, str], StoredProfile]:
        """The profiles of these (model, version) pairs; pairs without one are absent."""
        if not versions:
            return {}
        c = reference_profiles.c
        query = select(reference_profiles).where(tuple_(c.model, c.version).in_(sorted(versions)))
        profiles = [StoredProfile(**row._mapping) for row in await self._session.rows(query)]
        return {(profile.model, profile.version): profile for profile in profiles}
