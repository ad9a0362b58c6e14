"""The relay: what transactions promised in the outbox goes to the log, in the order of the promises.

Appending and marking are two steps, and a relay may die between them.

The embedded log remembers the id of the last promise it took from this outbox, and a store in a file hands
out ids in the order of commits: together a promise is appended once and in order, however many relays run
and die. After such a store was restored from a backup older than the log, what the backup holds as unsent is
sent again.

Everywhere else one relay of the deployment is active, under the store's lock, and the others stand by. A
promise is appended at least once, always with the same event id: a relay that died, or whose answer was lost,
leaves promises that the log has and nobody marked.

A relay whose session with the store has ended has lost the lock with it, and asks before and after each
append. Between the two it may be stopped, and what it appends then lands behind newer promises. Readers go by
epochs, but a compacted topic keeps the last record of a key, so the last word is said again:

* Whoever becomes active first appends the newest sent promise of every key on the compacted topics again, and
  once more when no append of the one before can be under way any more. This is for relays that died.
* A relay that finds its lock gone after an append takes the mark from the newest promise of each key that it
  appended, so the active one sends it again, behind the late record. It looks until no newer one was sent
  meanwhile; whatever is promised after that is sent later. This is for relays that were stopped and go on,
  however late.

To its readers delivery is at least once in any case. They keep an inbox or follow epochs: the effect is once.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import uuid4

from consumers.log.port import (
    EventLog,
    FutureTimestamp,
    LogUnavailable,
    NewRecord,
    RecordTooLarge,
    SequencedLog,
    UnknownTopic,
)
from consumers.logger import get_logger
from consumers.store.engine import Store
from consumers.store.locks import SILENCE_S, Exclusive
from consumers.store.repositories.deployment import DeploymentRepository
from consumers.store.repositories.outbox import OutboxRecord, OutboxRepository
from schemas.clock import to_ms

_log = get_logger("relay")
_FACT = "relay/"
_LOCK = "relay"
APPEND_S = SILENCE_S / 2
"""How long an append may take: nobody else has the lock by then, unless its session has ended otherwise."""
_OF_A_RECORD = (FutureTimestamp, RecordTooLarge, UnknownTopic, ValueError)
"""What a log refuses for ever, and for the sake of one record."""


@dataclass(slots=True, kw_only=True)
class Relay:
    """`await step()` sends one batch and returns its size; 0 means nothing was waiting, or another is active.

    LogUnavailable and StoreUnavailable pass through: nothing is lost, the next step goes on where this one
    stopped. A record that the log will never take is logged as an error and set aside: others must not wait.
    `close()` lets another relay become the active one.
    """

    store: Store
    log: EventLog
    now: Callable[[], datetime]
    batch: int = 500
    sent: int = 0
    """Promises seen to the log since the start."""
    refused: int = 0
    """Promises that the log refused for ever, since the start."""
    _producer: str = ""
    _compacted: frozenset[str] = frozenset()
    _again_at: float | None = None
    """When the last words are said once more; on the event loop's clock."""
    _doubtful: defaultdict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    """Keys by compacted topic, appended without a lock that was seen afterwards."""
    _claim: Exclusive | None = None
    _held: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def step(self) -> int:
        if self.store.in_a_file and isinstance(self.log, SequencedLog):
            return await self._step_once(self.log)
        try:
            return await self._step_active()
        except BaseException:
            await self.close()  # whoever can go on now shall
            raise

    @property
    def active(self) -> bool:
        """Whether this relay is the one that sends, as far as it knows."""
        return self._claim is not None or (self.store.in_a_file and isinstance(self.log, SequencedLog))

    async def close(self) -> None:
        """Let go of the lock, if this relay has it."""
        self._claim = None
        await self._held.aclose()

    # ------------------------------------------------------------ once, by sequence

    async def _step_once(self, log: SequencedLog) -> int:
        if not self._producer:
            self._producer = await self._named(anew=False)
        # Asked before the outbox: what the log has from it was in it before.
        last = await log.last_sequence(self._producer) or 0
        async with self.store.read() as session:
            outbox = OutboxRepository(session)
            newest, waiting = await outbox.last_id(), await outbox.unsent(self.batch)
        if not waiting:
            return 0
        if newest < last:
            _log.warning("relay.restored", message="the store is older than the log; unsent events go again")
            self._producer = await self._named(anew=True)

        async def append(record: OutboxRecord, timestamp_ms: int) -> None:
            await log.append_once([_made(record, timestamp_ms)], producer=self._producer, sequence=record.id)

        # One append for each: another relay may be anywhere in this batch.
        await self._send_each(waiting, append)
        return len(waiting)

    async def _named(self, *, anew: bool) -> str:
        """This outbox's name in the log: another store on the same log counts from 1 as well."""
        async with self.store.write() as session:
            facts = DeploymentRepository(session)
            names = [value for key, value in (await facts.all()).items() if key.startswith(_FACT)]
            if anew or not names:
                names.append(f"relay/{uuid4()}")
                await facts.put_once(f"{_FACT}{len(names):06}", names[-1])
        return str(names[-1])

    # ------------------------------------------------------------ at least once, by one relay

    async def _step_active(self) -> int:
        claim = self._claim or await self._claimed()
        if claim is None:
            await self._send_doubtful_again()
            return 0
        if self._again_at is not None and asyncio.get_running_loop().time() >= self._again_at:
            self._again_at = None
            await self._repeat_last_words(claim)
        async with self.store.read() as session:
            waiting = await OutboxRepository(session).unsent(self.batch)
        if waiting:
            await self._deliver(waiting, claim)
        else:
            await claim.check()
        return len(waiting)

    async def _claimed(self) -> Exclusive | None:
        claim = await self._held.enter_async_context(self.store.exclusive(_LOCK))
        if not claim.held:
            await self.close()
            return None
        topics = await self.log.topics()
        self._compacted = frozenset(name for name, spec in topics.items() if spec.cleanup == "compact")
        await self._repeat_last_words(claim)
        self._doubtful.clear()
        self._again_at = asyncio.get_running_loop().time() + SILENCE_S
        self._claim = claim
        _log.info("relay.active", message="this relay is the one that sends")
        return claim

    async def _repeat_last_words(self, claim: Exclusive) -> None:
        after = 0
        while True:
            async with self.store.read() as session:
                newest = await OutboxRepository(session).newest_sent(self._compacted, after, self.batch)
            if not newest:
                return
            try:
                await self._append(newest, claim)
            except _OF_A_RECORD:
                await self._send_each(newest, lambda record, at_ms: self._append_one(record, at_ms, claim))
            after = newest[-1].id

    async def _deliver(self, waiting: Sequence[OutboxRecord], claim: Exclusive) -> None:
        for record in waiting:
            if record.topic in self._compacted:
                self._doubtful[record.topic].add(record.key)
        try:
            await self._append(waiting, claim)
        except _OF_A_RECORD:
            # Find the one to set aside. Kafka may have written some of the others: they are written again.
            await self._send_each(waiting, lambda record, at_ms: self._append_one(record, at_ms, claim))
        else:
            self.sent += len(waiting)
            await self._mark([record.id for record in waiting])
        self._doubtful.clear()

    async def _append_one(self, record: OutboxRecord, timestamp_ms: int, claim: Exclusive) -> None:
        await self._append([replace(record, timestamp_ms=timestamp_ms)], claim)

    async def _append(self, records: Sequence[OutboxRecord], claim: Exclusive) -> None:
        """Raises StoreUnavailable for a lock that is not held before, or not any more after."""
        await claim.check()
        try:
            async with asyncio.timeout(APPEND_S):
                await self.log.append([_made(record, record.timestamp_ms) for record in records])
        except TimeoutError as error:
            problem = f"an append has not ended for {APPEND_S:g} s"
            raise LogUnavailable("of this deployment", problem) from error
        except _OF_A_RECORD:
            await claim.check()
            raise
        await claim.check()

    async def _send_doubtful_again(self) -> None:
        for topic, keys in list(self._doubtful.items()):
            again: set[int] = set()
            while True:
                async with self.store.write() as session:
                    newer = await OutboxRepository(session).send_again(topic, keys, again)
                if not newer:
                    break
                again |= set(newer)
            if again:
                message = "this relay was not the one any more: the newest events of its keys are sent again"
                _log.warning("relay.late", message=message, topic=topic, count=len(again))
            del self._doubtful[topic]

    # ------------------------------------------------------------ both

    async def _send_each(
        self, waiting: Sequence[OutboxRecord], append: Callable[[OutboxRecord, int], Awaitable[None]]
    ) -> None:
        done: list[int] = []
        try:
            for record in waiting:
                await self._send(record, append)
                done.append(record.id)
        finally:
            if done:
                await self._mark(done)

    async def _send(
        self, record: OutboxRecord, append: Callable[[OutboxRecord, int], Awaitable[None]]
    ) -> None:
        try:
            try:
                await append(record, record.timestamp_ms)
            except FutureTimestamp:
                # As for dead letters: a time ahead of the clock gives way. The event itself keeps its own.
                await append(record, min(record.timestamp_ms, to_ms(self.now())))
            self.sent += 1
        except _OF_A_RECORD as error:
            self.refused += 1
            _log.error("relay.refused", message=str(error), promise=record.event_id, topic=record.topic)

    async def _mark(self, ids: Sequence[int]) -> None:
        async with self.store.write() as session:
            await OutboxRepository(session).mark_sent(ids, self.now())


def _made(record: OutboxRecord, timestamp_ms: int) -> NewRecord:
    return NewRecord(
        topic=record.topic,
        key=record.key,
        value=record.value,
        timestamp_ms=timestamp_ms,
        headers=record.headers,
    )
