"""Retention: deletes from the store what no worker, no replay and no sum needs any more.

What is deleted, and what keeps it from being deleted:

* events that were sent: not before they were, and a dead letter not while its record may be read again;
* inbox entries: not while the log may deliver their events again, nor while those are in the outbox;
* window rows and arrival rows: not before all models are judged beyond them. Their ages are event time.

Decisions, transitions, experiments, jobs, episodes and everything else of the registry stay for ever.
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from consumers.log.port import EventLog
from consumers.services.judging import judged_clock
from consumers.store.engine import Store
from consumers.store.repositories.pruning import OUTCOMES, PREDICTIONS, PruningRepository, SentPromise
from consumers.store.repositories.tallies import TallyRepository
from consumers.store.session import ReadSession, WriteSession
from domain.errors import DomainError
from domain.windows.progress import Progress
from schemas.topics import Topics

_DAY_MS = 86_400_000


class InboxTooShort(DomainError):
    """The inbox would forget events that the log can still deliver, and their effects would happen again."""

    def __init__(self, days: int, topic: str, retention_days: float) -> None:
        kept = "for ever" if math.isinf(retention_days) else f"for {retention_days:g} days"
        advice = "; keep the inbox too" if math.isinf(retention_days) else ""
        super().__init__(
            f"{days} days of inbox are too few: topic {topic} keeps events {kept}, and "
            f"one that is read again after its inbox entry is gone would be obeyed again{advice}"
        )
        self.days, self.topic, self.retention_days = days, topic, retention_days


@dataclass(frozen=True, slots=True, kw_only=True)
class Ages:
    """How old things must be to go, in days. None keeps them all."""

    outbox: int | None
    inbox: int | None
    tallies: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reclaimed:
    """How many rows were deleted, or would be."""

    outbox: int
    inbox: int
    window_rows: int
    arrival_rows: int
    tallies_through_ms: int | None
    """Event time that window rows were deleted through; None when they were left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """Deletes in transactions of bounded size, so that workers wait for none of them; a stopped one goes on
    where it was."""

    store: Store
    log: EventLog
    topics: Topics
    now: Callable[[], datetime]
    batch: int = 2_000

    async def prune(self, ages: Ages, *, dry_run: bool = False) -> Reclaimed:
        """Delete what is older than `ages` and no longer needed. Raises InboxTooShort, deleting nothing."""
        await self._check_inbox(ages.inbox)
        async with self.store.read() as session:
            progress = {each.partition: each for each in await TallyRepository(session).all_progress()}
            through_ms, before_ms = await self._tally_ends(session, ages.tallies, progress)
        return Reclaimed(
            outbox=await self._outbox(ages.outbox, progress, dry_run),
            inbox=await self._inbox(ages.inbox, dry_run),
            window_rows=await self._window_rows(through_ms, progress, dry_run),
            arrival_rows=await self._arrival_rows(before_ms, progress, dry_run),
            tallies_through_ms=through_ms,
        )

    async def shortest_inbox(self) -> int | None:
        """Days that the inbox must reach back at least, None when the log keeps its events for ever."""
        known = await self.log.topics()
        kept = [known[topic].retention_ms for topic in self._obeyed if topic in known]
        return None if not kept or min(kept) < 0 else -(-max(kept) // _DAY_MS)

    # ------------------------------------------------------------ outbox and inbox

    @property
    def _obeyed(self) -> tuple[str, str, str]:
        return self.topics.drift_detected, self.topics.retrain_requested, self.topics.model_promoted

    async def _check_inbox(self, days: int | None) -> None:
        if days is None:
            return
        known = await self.log.topics()
        for topic in self._obeyed:
            if topic not in known:  # nothing of it can be read again
                continue
            kept_ms = known[topic].retention_ms
            kept_days = kept_ms / _DAY_MS if kept_ms >= 0 else math.inf
            if kept_days > days:
                raise InboxTooShort(days, topic, kept_days)

    async def _outbox(self, days: int | None, progress: Mapping[int, Progress], dry_run: bool) -> int:
        if days is None:
            return 0
        before, last, found = self.now() - timedelta(days=days), 0, 0
        while True:
            async with self.store.read() as session:
                sent = await PruningRepository(session).sent_before(before, last, self.batch)
            if not sent:
                return found
            last = sent[-1].id
            ids = [each.id for each in sent if not self._read_again(each, progress)]
            found += len(ids)
            if ids and not dry_run:
                async with self.store.write() as session:
                    await PruningRepository(session).delete_sent(ids)

    def _read_again(self, promise: SentPromise, progress: Mapping[int, Progress]) -> bool:
        """Whether it is the dead letter of a record that a tally worker reads again after a restart: only the
        outbox knows then that the letter was written."""
        origin = promise.headers.get("topic")
        if promise.topic != self.topics.dead_letter or origin not in (
            self.topics.predictions,
            self.topics.outcomes,
        ):
            return False
        at = progress.get(int(promise.headers["partition"]))
        if at is None:
            return True
        low_water = at.predictions_offset if origin == self.topics.predictions else at.outcomes_offset
        return int(promise.headers["offset"]) >= low_water

    async def _inbox(self, days: int | None, dry_run: bool) -> int:
        if days is None:
            return 0
        before = self.now() - timedelta(days=days)
        if dry_run:
            async with self.store.read() as session:
                return await PruningRepository(session).handled_before(before)
        return await self._in_parts(lambda pruning: pruning.delete_handled(before, self.batch))

    # ------------------------------------------------------------ tallies

    async def _tally_ends(
        self, session: ReadSession, days: int | None, progress: Mapping[int, Progress]
    ) -> tuple[int | None, int | None]:
        """Through when window rows may go, and before when arrival rows; None where nothing may."""
        clock_ms = await judged_clock(session)
        if days is None or clock_ms is None:
            return None, None
        through_ms = clock_ms - days * _DAY_MS
        unjudged_ms = await PruningRepository(session).oldest_unjudged_ms()
        if unjudged_ms is not None:
            through_ms = min(through_ms, unjudged_ms - 1)
        arrivals = [p.prediction_arrivals_through_ms for p in progress.values()]
        arrivals += [p.outcome_arrivals_through_ms for p in progress.values()]
        return through_ms, min([through_ms, *arrivals])

    async def _window_rows(
        self, through_ms: int | None, progress: Mapping[int, Progress], dry_run: bool
    ) -> int:
        if through_ms is None:
            return 0
        if dry_run:
            async with self.store.read() as session:
                return await PruningRepository(session).rows_through(through_ms)
        partitions = sorted(progress)
        return await self._in_parts(lambda pruning: pruning.delete_rows(through_ms, partitions, self.batch))

    async def _arrival_rows(
        self, before_ms: int | None, progress: Mapping[int, Progress], dry_run: bool
    ) -> int:
        if before_ms is None:
            return 0
        if dry_run:
            async with self.store.read() as session:
                return await PruningRepository(session).arrivals_before(before_ms)
        partitions = sorted(progress)
        deleted = 0
        for side in (PREDICTIONS, OUTCOMES):
            deleted += await self._in_parts(
                lambda pruning, side=side: pruning.delete_arrivals(  # type: ignore[misc]
                    side, before_ms, partitions, self.batch
                )
            )
        return deleted

    async def _in_parts(self, delete: Callable[[PruningRepository[WriteSession]], Awaitable[int]]) -> int:
        """Call `delete` in a transaction of its own until it finds nothing more; how much it found."""
        deleted = 0
        while True:
            async with self.store.write() as session:
                pruning = PruningRepository(session)
                await pruning.alone()
                part = await delete(pruning)
            if not part:
                return deleted
            deleted += part
