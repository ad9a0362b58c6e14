"""Damaged batches of the log: a person has them skipped, and what is left of them is kept."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from consumers.log.port import BatchedLog, DamagedBatch, EventLog, LogRecord, LogRefused, UnreadableBatch
from consumers.log.skips import Ranges
from consumers.services.dead_letters import dead_letter
from consumers.services.identity import skipped_id
from consumers.services.reconciling import stored_counts
from consumers.store.engine import Store
from consumers.store.repositories.skipped import SkippedRange, SkippedRepository
from consumers.store.repositories.tallies import TallyRepository
from consumers.store.session import ReadSession
from domain.errors import DomainError
from schemas.clock import to_ms
from schemas.topics import Topics

# the dead-letter topic takes 16 MiB with headers, brokers by default 1 MiB a batch
MOST_BYTES = 8 << 20
MOST_ACTOR = 128


class NotSkipped(DomainError):
    """The range is not what is damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipping:
    """Says which ranges are skipped, and skips one."""

    store: Store
    log: EventLog
    topics: Topics
    group: str
    """Of the tally workers."""
    now: Callable[[], datetime]

    async def skip(
        self, topic: str, partition: int, first_offset: int, next_offset: int, *, actor: str, reason: str
    ) -> SkippedRange | None:
        """Have every reader go on at `next_offset`; None if they do already. Its bytes are dead-lettered.

        Raises NotSkipped unless the range is exactly what is damaged there, so that nothing sound is lost,
        and while there are tally workers: one that read it before the damage would go on with its records,
        and a window must not depend on who closes it.
        """
        self._check_order(topic, actor)
        where = f"{topic}[{partition}]"
        if not isinstance(self.log, BatchedLog):
            raise NotSkipped("the embedded log has no batches: there is nothing to skip in it")
        async with self.store.read() as session:
            for known in await SkippedRepository(session).of(topic, partition):
                if (known.first_offset, known.next_offset) == (first_offset, next_offset):
                    return None
                if known.first_offset < next_offset and first_offset < known.next_offset:
                    already = f"--from {known.first_offset} --to {known.next_offset}"
                    raise NotSkipped(f"{where}: {already} is skipped already")
        damaged = await self.log.damaged(topic, partition, first_offset)
        if damaged is None:
            raise NotSkipped(f"{where}: offset {first_offset} is not damaged, so nothing is skipped")
        await self._check_range(topic, partition, first_offset, next_offset, damaged)
        now = self.now()
        async with self.store.write() as session:
            skipped = SkippedRange(
                topic=topic,
                partition=partition,
                first_offset=first_offset,
                next_offset=next_offset,
                tallied=await self._tallied(session, topic, partition, first_offset, next_offset),
                actor=actor,
                reason=reason,
                recorded_at=now,
            )
            if not await SkippedRepository(session).add(skipped):
                return None
            # what a damaged header says of times is worth nothing
            value, at_ms = damaged.raw[:MOST_BYTES], to_ms(now)
            record = LogRecord(topic, partition, first_offset, at_ms, None, value, (), at_ms)
            why, identity = _why(skipped, damaged), skipped_id(topic, partition, first_offset)
            await dead_letter(session, self.topics.dead_letter, record, why, now, identity=identity)
            try:
                # lag tools see it, and it is refused while the group has members
                await self.log.commit(self.group, topic, partition, next_offset)
            except LogRefused as error:
                raise NotSkipped(
                    f"stop every tally worker first, one that was killed counts until its session has "
                    f"timed out ({error.problem})"
                ) from error
        return skipped

    def _check_order(self, topic: str, actor: str) -> None:
        hot = (self.topics.predictions, self.topics.outcomes)
        if topic not in hot:
            raise NotSkipped(f"only batches of {' and '.join(hot)} can be skipped, not of {topic}")
        if not 0 < len(actor) <= MOST_ACTOR or "\0" in actor:
            raise NotSkipped(f"--actor must have 1 to {MOST_ACTOR} characters and no NUL")

    async def _tallied(
        self, session: ReadSession, topic: str, partition: int, first_offset: int, next_offset: int
    ) -> int:
        """How many of the range are in arrival rows: rows account for the partition's first records."""
        side = "predictions" if topic == self.topics.predictions else "outcomes"
        progress = {each.partition: each for each in await TallyRepository(session).all_progress()}
        counts = (await stored_counts(session, progress)).get((side, partition), Counter())
        through = counts["read"] + counts["heartbeat"]
        for known in await SkippedRepository(session).of(topic, partition):
            if known.first_offset <= through:
                through += known.lost
        return max(0, min(through, next_offset) - first_offset)

    async def _check_range(
        self, topic: str, partition: int, first_offset: int, next_offset: int, damaged: DamagedBatch
    ) -> None:
        where = f"{topic}[{partition}]"
        if damaged.next_offset is not None:
            if (first_offset, next_offset) != (damaged.first_offset, damaged.next_offset):
                exact = f"--from {damaged.first_offset} --to {damaged.next_offset}"
                raise NotSkipped(f"{where}: what cannot be read is {exact}, neither less nor more is skipped")
            return
        # nobody knows where it ends, but where something can be read it has ended
        end = await self.log.end(topic, partition)
        if not first_offset < next_offset <= end:
            raise NotSkipped(f"{where}: --to must be from {first_offset + 1} to {end}, the end of the log")
        try:
            found = await self.log.read(topic, partition, next_offset, 1)
        except UnreadableBatch:
            found = []
        if next_offset < end and (not found or found[0].offset != next_offset):
            raise NotSkipped(
                f"{where}: no record can be read at {next_offset}, so it is no end of the damage"
            )


async def skipped_of(store: Store, topic: str, partition: int) -> Ranges:
    """What readers of a partition skip, as the log wants to know it."""
    async with store.read() as session:
        found = await SkippedRepository(session).of(topic, partition)
    return [(each.first_offset, each.next_offset) for each in found]


def _why(skipped: SkippedRange, damaged: DamagedBatch) -> str:
    """The dead letter's reason; the operator's own is in the table, and has no limit."""
    part = "" if len(damaged.raw) <= MOST_BYTES else f", its first {MOST_BYTES} of {len(damaged.raw)} bytes"
    last = skipped.next_offset - 1
    return f"damaged batch{part}: offsets to {last} skipped by {skipped.actor} ({damaged.cause[:80]})"
