"""The embedded log: one SQLite file with Kafka's semantics, open in any number of processes at once."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from .errors import OffsetOutOfRange, TopicMismatch, UnknownTopic
from .logrecords import (
    LogRecord,
    NewRecord,
    TopicSpec,
    check_idempotence,
    check_read,
    check_timestamps,
    place,
)
from .logstore import connect, pack_headers, transaction, translated, unpack_headers

__all__ = ["DEFAULT_MAX_BYTES", "LogFile", "LogRecord", "NewRecord", "TopicSpec"]

DEFAULT_MAX_BYTES = 8 << 20

_INSERT = (
    'INSERT INTO records (topic, partition, "offset", timestamp_ms, appended_ms, key, value, headers)'
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_READ = (
    'SELECT "offset", timestamp_ms, key, value, headers, appended_ms FROM records'
    ' WHERE topic = ? AND partition = ? AND "offset" >= ? ORDER BY "offset" LIMIT ?'
)
_Tail = dict[tuple[str, int], int]


class LogFile:
    """One log file. Threads of a process may share an instance; a forked child must open its own.

    Appends survive the death of any process at any instruction. Without `fsync` a power cut may take back the
    newest appends, as with Kafka's defaults; with it every append waits for the disk.

    Every method raises LogUnavailable when the file is locked for longer than `busy_timeout_s`, the disk is
    full, or the file is damaged or not a log; then nothing was written.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        now_ms: Callable[[], int],
        future_ms: int = 60_000,
        busy_timeout_s: float = 30,
        fsync: bool = False,
    ) -> None:
        self.path = str(path)
        self._now_ms = now_ms
        self._future_ms = future_ms
        self._lock = Lock()
        self._partitions: dict[str, int] = {}
        self._connection = connect(self.path, busy_timeout_s, fsync)

    def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Creates what is missing; cleanup and retention of existing topics are set as asked.

        Raises TopicMismatch, and creates nothing, when a topic exists with another partition count.
        """
        with self._lock, translated(self.path), transaction(self._connection) as sql:
            existing = dict(sql.execute("SELECT name, partitions FROM topics").fetchall())
            for spec in specs:
                found = existing.setdefault(spec.name, spec.partitions)
                if found != spec.partitions:
                    raise TopicMismatch(spec.name, spec.partitions, found)
            for spec in specs:
                sql.execute(
                    "INSERT INTO topics (name, partitions, cleanup, retention_ms) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (name) DO UPDATE"
                    " SET cleanup = excluded.cleanup, retention_ms = excluded.retention_ms",
                    (spec.name, spec.partitions, spec.cleanup, spec.retention_ms),
                )
                sql.executemany(
                    "INSERT INTO partitions VALUES (?, ?, 0, 0) ON CONFLICT DO NOTHING",
                    [(spec.name, partition) for partition in range(spec.partitions)],
                )

    def topics(self) -> dict[str, TopicSpec]:
        """Every topic by name."""
        rows = self._all("SELECT name, partitions, cleanup, retention_ms FROM topics ORDER BY name", ())
        return {
            name: TopicSpec(name=name, partitions=partitions, cleanup=cleanup, retention_ms=retention_ms)
            for name, partitions, cleanup, retention_ms in rows
        }

    def append(
        self, records: Sequence[NewRecord], *, producer: str | None = None, sequence: int | None = None
    ) -> list[tuple[int, int]] | None:
        """Writes all records in one transaction, in order; returns (partition, offset) of each.

        With `producer` and `sequence` the append is idempotent: a sequence not above the producer's last one
        writes nothing and returns None, so a restarted producer may send again.
        Raises FutureTimestamp, UnknownTopic, or ValueError (neither key nor partition; before the epoch).
        """
        check_idempotence(producer, sequence)
        with self._lock, translated(self.path), transaction(self._connection) as sql:
            if producer is not None and not self._advance(sql, producer, sequence):
                return None
            # read under the write lock, so that appended_ms never falls along a partition of one machine
            now_ms = self._now_ms()
            check_timestamps(records, now_ms + self._future_ms)
            return self._write(sql, records, now_ms)

    def last_sequence(self, producer: str) -> int | None:
        """The last sequence that `producer` appended, None before its first."""
        rows = self._all("SELECT sequence FROM producers WHERE name = ?", (producer,))
        return rows[0][0] if rows else None

    def read(
        self, topic: str, partition: int, offset: int, max_records: int, max_bytes: int = DEFAULT_MAX_BYTES
    ) -> list[LogRecord]:
        """Up to `max_records` records from `offset` on, and about `max_bytes` of keys and values.

        A record larger than `max_bytes` comes alone, so reading always moves on; [] means the end.
        Raises OffsetOutOfRange (the record is deleted, or the offset beyond the end), UnknownTopic.
        """
        check_read(max_records)
        found = self._scan(topic, partition, offset, max_records, max_bytes)
        # offsets have no gaps, so the right first record needs no second look at the bounds
        if not found or found[0].offset != offset:
            begin, end = self._bounds(topic, partition)
            if not begin <= offset <= end:
                raise OffsetOutOfRange(topic, partition, offset, begin, end)
        return found

    def begin(self, topic: str, partition: int) -> int:
        """The first kept offset. Raises UnknownTopic."""
        return self._bounds(topic, partition)[0]

    def end(self, topic: str, partition: int) -> int:
        """The offset that the next record will get. Raises UnknownTopic."""
        return self._bounds(topic, partition)[1]

    def position(self, group: str, topic: str, partition: int) -> int | None:
        """The offset that `group` committed, None before its first commit."""
        rows = self._all(
            'SELECT "offset" FROM positions WHERE consumer_group = ? AND topic = ? AND partition = ?',
            (group, topic, partition),
        )
        return rows[0][0] if rows else None

    def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Sets the position of `group`: the next offset it wants. It may go back. Raises UnknownTopic."""
        with self._lock, translated(self.path), transaction(self._connection) as sql:
            _bounds(sql, topic, partition)
            sql.execute(
                "INSERT INTO positions VALUES (?, ?, ?, ?) ON CONFLICT (consumer_group, topic, partition)"
                ' DO UPDATE SET "offset" = excluded."offset"',
                (group, topic, partition, offset),
            )

    def delete_before(self, topic: str, partition: int, offset: int) -> int:
        """Deletes the records before `offset` and returns how many there were. Raises UnknownTopic."""
        with self._lock, translated(self.path), transaction(self._connection) as sql:
            begin, end = _bounds(sql, topic, partition)
            first = min(max(offset, begin), end)
            sql.execute(
                'DELETE FROM records WHERE topic = ? AND partition = ? AND "offset" < ?',
                (topic, partition, first),
            )
            sql.execute(
                "UPDATE partitions SET first_offset = ? WHERE topic = ? AND partition = ?",
                (first, topic, partition),
            )
            return first - begin

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        with self._lock:
            self._connection.close()

    def _all(self, query: str, arguments: tuple[str | int, ...]) -> list[tuple[Any, ...]]:
        with self._lock, translated(self.path):
            return self._connection.execute(query, arguments).fetchall()

    def _bounds(self, topic: str, partition: int) -> tuple[int, int]:
        with self._lock, translated(self.path):
            return _bounds(self._connection, topic, partition)

    def _scan(
        self, topic: str, partition: int, offset: int, max_records: int, max_bytes: int
    ) -> list[LogRecord]:
        found: list[LogRecord] = []
        room = max_bytes
        with self._lock, translated(self.path):
            rows = self._connection.execute(_READ, (topic, partition, offset, max_records))
            for at, timestamp_ms, key, value, headers, appended_ms in rows:
                room -= (len(key) if key else 0) + (len(value) if value else 0)
                if room < 0 and found:
                    break
                unpacked = () if headers is None else unpack_headers(headers)
                found.append(LogRecord(topic, partition, at, timestamp_ms, key, value, unpacked, appended_ms))
            # ends the read transaction now, or the write-ahead log could not be checkpointed
            rows.close()
        return found

    def _advance(self, sql: sqlite3.Connection, producer: str, sequence: int | None) -> bool:
        """Moves the producer to `sequence`; False if it is there or beyond already."""
        moved = sql.execute(
            "INSERT INTO producers VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET sequence = excluded.sequence"
            " WHERE excluded.sequence > sequence",
            (producer, sequence),
        )
        return moved.rowcount == 1

    def _write(
        self, sql: sqlite3.Connection, records: Sequence[NewRecord], now_ms: int
    ) -> list[tuple[int, int]]:
        tail: _Tail = {}
        written: list[tuple[int, int]] = []
        rows = []
        for record in records:
            topic = record.topic
            partition = place(record, self._partitions.get(topic) or self._count(sql, topic))
            where = (topic, partition)
            offset = tail[where] if where in tail else _bounds(sql, topic, partition)[1]
            tail[where] = offset + 1
            headers = pack_headers(record.headers)
            rows.append(
                (topic, partition, offset, record.timestamp_ms, now_ms, record.key, record.value, headers)
            )
            written.append((partition, offset))
        sql.executemany(_INSERT, rows)
        sql.executemany(
            "UPDATE partitions SET next_offset = ? WHERE topic = ? AND partition = ?",
            [(end, topic, partition) for (topic, partition), end in tail.items()],
        )
        return written

    def _count(self, sql: sqlite3.Connection, topic: str) -> int:
        """Partitions of `topic`, remembered: a topic never changes its count."""
        row = sql.execute("SELECT partitions FROM topics WHERE name = ?", (topic,)).fetchone()
        if row is None:
            raise UnknownTopic(topic)
        count = int(row[0])
        self._partitions[topic] = count
        return count


def _bounds(sql: sqlite3.Connection, topic: str, partition: int) -> tuple[int, int]:
    row = sql.execute(
        "SELECT first_offset, next_offset FROM partitions WHERE topic = ? AND partition = ?",
        (topic, partition),
    ).fetchone()
    if row is None:
        raise UnknownTopic(topic, partition)
    return int(row[0]), int(row[1])
