"""Damaged batches of the log that a person said to read past."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from consumers.store.repositories.base import Repository, SessionT_co, columns_of
from consumers.store.session import WriteSession
from consumers.store.tables import skipped_ranges


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedRange:
    """Offsets from `first_offset` up to, and not with, `next_offset`, that no reader reads."""

    topic: str
    partition: int
    first_offset: int
    next_offset: int
    tallied: int
    """So many of them were in arrival rows by then: they had been read before they were damaged."""
    actor: str
    reason: str
    recorded_at: datetime

    @property
    def lost(self) -> int:
        """Records that no row accounts for."""
        return self.next_offset - self.first_offset - self.tallied


class SkippedRepository(Repository[SessionT_co]):
    """Ranges by (topic, partition, first offset). They are never changed: rows were made without them."""

    async def add(self: "SkippedRepository[WriteSession]", skipped: SkippedRange) -> bool:
        """Skip a range; False when one that begins there is skipped already."""
        return bool(await self._session.insert_if_absent(skipped_ranges, columns_of(skipped)))

    async def of(self, topic: str, partition: int) -> list[SkippedRange]:
        """What is skipped of a partition, in order."""
        c = skipped_ranges.c
        query = select(skipped_ranges).where(c.topic == topic, c.partition == partition)
        rows = await self._session.rows(query.order_by(c.first_offset))
        return [SkippedRange(**row._mapping) for row in rows]

    async def all(self) -> list[SkippedRange]:
        """Everything that is skipped, by topic, partition and offset."""
        c = skipped_ranges.c
        query = select(skipped_ranges).order_by(c.topic, c.partition, c.first_offset)
        return [SkippedRange(**row._mapping) for row in await self._session.rows(query)]
