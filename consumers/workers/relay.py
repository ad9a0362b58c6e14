"""The relay: what transactions promised in the outbox goes to the log, in the order of the promises.

Appending and marking are two steps, and a relay may die between them. The log remembers the id of the last
promise it took from this outbox, so on a log that does (the embedded one) a promise is appended once and in
order, however many relays run and die. That rests on ids that appear in commit order, see OutboxRepository.
After a store was restored from a backup older than the log, what that backup holds as unsent is sent again:
to its readers delivery is at least once, and they keep an inbox or follow epochs, so the effect is once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from consumers.log.port import FutureTimestamp, NewRecord, SequencedLog, UnknownTopic
from consumers.logger import get_logger
from consumers.store.engine import Store
from consumers.store.repositories.deployment import DeploymentRepository
from consumers.store.repositories.outbox import OutboxRecord, OutboxRepository
from schemas.clock import to_ms

_log = get_logger("relay")
_FACT = "relay/"


@dataclass(slots=True, kw_only=True)
class Relay:
    """`await step()` sends one batch and returns its size; 0 means nothing was waiting.

    LogUnavailable and StoreUnavailable pass through: nothing is lost, the next step goes on where this one
    stopped. A record that the log will never take is logged as an error and set aside: others must not wait.
    """

    store: Store
    log: SequencedLog
    now: Callable[[], datetime]
    batch: int = 500
    sent: int = 0
    """Promises seen to the log since the start."""
    refused: int = 0
    """Promises that the log refused for ever, since the start."""
    _producer: str = ""

    async def step(self) -> int:
        if not self._producer:
            self._producer = await self._named(anew=False)
        # Asked before the outbox: what the log has from it was in it before.
        last = await self.log.last_sequence(self._producer) or 0
        async with self.store.read() as session:
            outbox = OutboxRepository(session)
            newest, waiting = await outbox.last_id(), await outbox.unsent(self.batch)
        if not waiting:
            return 0
        if newest < last:
            _log.warning("relay.restored", message="the store is older than the log; unsent events go again")
            self._producer = await self._named(anew=True)
        done: list[int] = []
        try:
            for record in waiting:
                await self._send(record)
                done.append(record.id)
        finally:
            if done:
                async with self.store.write() as session:
                    await OutboxRepository(session).mark_sent(done, self.now())
        return len(waiting)

    async def _send(self, record: OutboxRecord) -> None:
        # One append for each: another relay may be anywhere in this batch, and a refusal is one record's.
        try:
            try:
                await self._append(record, record.timestamp_ms)
            except FutureTimestamp:
                # As for dead letters: a time ahead of the clock gives way. The event itself keeps its own.
                await self._append(record, min(record.timestamp_ms, to_ms(self.now())))
            self.sent += 1
        except (FutureTimestamp, UnknownTopic, ValueError) as error:
            self.refused += 1
            _log.error("relay.refused", message=str(error), promise=record.event_id, topic=record.topic)

    async def _append(self, record: OutboxRecord, timestamp_ms: int) -> None:
        made = NewRecord(
            topic=record.topic,
            key=record.key,
            value=record.value,
            timestamp_ms=timestamp_ms,
            headers=record.headers,
        )
        await self.log.append_once([made], producer=self._producer, sequence=record.id)

    async def _named(self, *, anew: bool) -> str:
        """This outbox's name in the log: another store on the same log counts from 1 as well."""
        async with self.store.write() as session:
            facts = DeploymentRepository(session)
            names = [value for key, value in (await facts.all()).items() if key.startswith(_FACT)]
            if anew or not names:
                names.append(f"relay/{uuid4()}")
                await facts.put_once(f"{_FACT}{len(names):06}", names[-1])
        return str(names[-1])
