"""Records that can never be used: kept with their origin and the reason, so that nothing is lost silently."""

from datetime import datetime

from consumers.log.port import LogRecord
from consumers.services.identity import dead_letter_id
from consumers.store.repositories.outbox import OutboxRepository
from consumers.store.session import WriteSession
from schemas.clock import to_ms

MAX_REASON = 300


async def dead_letter(
    session: WriteSession,
    topic: str,
    record: LogRecord,
    reason: str,
    now: datetime,
    *,
    identity: str | None = None,
) -> bool:
    """Promise `record` to the dead-letter `topic`, once however often it is read. False if it is there.

    `identity` is that of the record's place unless it is given.

    The value is the original's bytes; the headers say topic, partition, offset and reason. The record keeps
    its own time, unless that is a lie the log would refuse (before the epoch, after it was appended, or after
    `now`: whoever appended it may have a clock that is ahead).
    """
    headers = (
        ("topic", record.topic.encode()),
        ("partition", str(record.partition).encode()),
        ("offset", str(record.offset).encode()),
        ("reason", reason[:MAX_REASON].encode()),
    )
    return await OutboxRepository(session).add(
        event_id=identity or dead_letter_id(record.topic, record.partition, record.offset),
        topic=topic,
        key=record.key or b"",
        value=record.value or b"",
        headers=headers,
        timestamp_ms=max(0, min(record.timestamp_ms, record.appended_ms, to_ms(now))),
        now=now,
    )
