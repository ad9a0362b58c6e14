"""Events that a transaction promised: written with its effects, sent to the log by the relay afterwards."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, Select, func, select, update

from consumers.store.repositories.base import Repository, SessionT_co
from consumers.store.session import WriteSession
from consumers.store.tables import outbox

Headers = tuple[tuple[str, bytes], ...]
MAX_BYTES = 8 << 20
"""A dead letter may have 10 MB; hundreds of them must not be in memory at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRecord:
    """One promised event. `id` grows in the order of promises and never comes twice.

    On SQLite it also grows in the order of commits, because writers queue.
    """

    id: int
    event_id: str
    topic: str
    key: bytes
    value: bytes
    headers: Headers
    timestamp_ms: int
    created_at: datetime


class OutboxRepository(Repository[SessionT_co]):
    """Events in the order in which they were promised.

    What waits is found by its mark and never by "id above the last one": PostgreSQL hands out ids before the
    commit, so a lower id may appear after a higher one was sent, and is sent then. Nothing is missed.

    And what waits is in causal order. If one promise was made in the knowledge of another (it is the same
    model's, and made under the model's lock; or the same job's, under its row), the other's transaction was
    committed before the first was inserted: so its id is lower, and every snapshot that shows the first
    shows it too. Promises that appear out of order were made side by side and owe each other nothing.

    A rule that holds promises back until all older transactions have ended (xid below the snapshot's xmin) is
    not needed, then, and would break this order: a transaction that got its xid early and waited for the
    lock promises last, yet its promise becomes eligible first.
    """

    async def add(
        self: "OutboxRepository[WriteSession]",
        *,
        event_id: str,
        topic: str,
        key: bytes,
        value: bytes,
        headers: Headers = (),
        timestamp_ms: int,
        now: datetime,
    ) -> bool:
        """Promise an event; False when `event_id` is promised already, which changes nothing.

        Header values are UTF-8 text (CloudEvents headers are); UnicodeDecodeError otherwise.
        """
        row = {
            "event_id": event_id,
            "topic": topic,
            "key": key,
            "value": value,
            "headers": [[name, content.decode()] for name, content in headers],
            "timestamp_ms": timestamp_ms,
            "created_at": now,
        }
        return bool(await self._session.insert_if_absent(outbox, row))

    async def unsent(self, limit: int, max_bytes: int = MAX_BYTES) -> list[OutboxRecord]:
        """The oldest unsent events in id order, at most `limit` and about `max_bytes` of values.

        An event larger than `max_bytes` comes alone, so there is always one if one waits.
        """
        fitting, room = 0, max_bytes
        for size in await self._session.rows(_sizes(limit)):
            room -= size[0]
            if room < 0 and fitting:
                break
            fitting += 1
        if not fitting:
            return []
        return [_record(row) for row in await self._session.rows(_unsent(fitting))]

    async def mark_sent(self: "OutboxRepository[WriteSession]", ids: Sequence[int], now: datetime) -> None:
        """Note that the log has these events. Marking again keeps the first time."""
        statement = update(outbox).where(outbox.c.id.in_(ids), outbox.c.sent_at.is_(None))
        await self._session.execute(statement.values(sent_at=now))

    async def newest_sent(self, topics: Collection[str], after_id: int, limit: int) -> list[OutboxRecord]:
        """Of each key on each of `topics` the newest event that was sent, in id order, from `after_id` on."""
        newest = _newest(topics).where(outbox.c.sent_at.is_not(None))
        query = _records().where(outbox.c.id.in_(newest), outbox.c.id > after_id).limit(limit)
        return [_record(row) for row in await self._session.rows(query)]

    async def send_again(
        self: "OutboxRepository[WriteSession]", topic: str, keys: Collection[bytes], but: Collection[int]
    ) -> list[int]:
        """Take the mark from the newest event of each of `keys`, except `but`; returns whose it took."""
        newest = _newest([topic]).where(outbox.c.key.in_(keys))
        query = select(outbox.c.id).where(outbox.c.id.in_(newest), outbox.c.sent_at.is_not(None))
        ids = [row.id for row in await self._session.rows(query) if row.id not in but]
        if ids:
            await self._session.execute(update(outbox).where(outbox.c.id.in_(ids)).values(sent_at=None))
        return ids

    async def last_id(self) -> int:
        """The id of the newest promise, sent or not; 0 before the first."""
        return int(await self._session.scalar(select(func.max(outbox.c.id))) or 0)

    async def oldest_unsent(self) -> datetime | None:
        """When the oldest unsent event was promised (wall clock), None when all are sent."""
        query = select(outbox.c.created_at).where(outbox.c.sent_at.is_(None)).order_by(outbox.c.id).limit(1)
        oldest: datetime | None = await self._session.scalar(query)
        return oldest

    async def unsent_count(self) -> int:
        """How many events wait for the relay."""
        query = select(func.count()).select_from(outbox).where(outbox.c.sent_at.is_(None))
        return int(await self._session.scalar(query))


def _sizes(limit: int) -> Select[int]:
    c = outbox.c
    return select(func.length(c.value)).where(c.sent_at.is_(None)).order_by(c.id).limit(limit)


def _newest(topics: Collection[str]) -> Select[int]:
    c = outbox.c
    return select(func.max(c.id)).where(c.topic.in_(topics)).group_by(c.topic, c.key)


def _records() -> Select[int, str, str, bytes, bytes, list[list[str]], int, datetime]:
    c = outbox.c
    columns = (c.id, c.event_id, c.topic, c.key, c.value, c.headers, c.timestamp_ms, c.created_at)
    return select(*columns).order_by(c.id)


def _unsent(limit: int) -> Select[int, str, str, bytes, bytes, list[list[str]], int, datetime]:
    return _records().where(outbox.c.sent_at.is_(None)).limit(limit)


def _record(row: Row[int, str, str, bytes, bytes, list[list[str]], int, datetime]) -> OutboxRecord:
    return OutboxRecord(
        id=row.id,
        event_id=row.event_id,
        topic=row.topic,
        key=row.key,
        value=row.value,
        headers=tuple((name, content.encode()) for name, content in row.headers),
        timestamp_ms=row.timestamp_ms,
        created_at=row.created_at,
    )
