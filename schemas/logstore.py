"""The SQLite file behind the embedded log: its tables, how it is opened, and what its errors mean.

Rows of a partition lie next to each other (WITHOUT ROWID, clustered on topic, partition, offset), so a read
is one range scan. The file is in WAL mode: readers never wait for the writer, nor the writer for readers.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from time import sleep

from .errors import LogUnavailable
from .logrecords import Headers

APPLICATION_ID = 0x47464C4C  # "GFLL"
FORMAT = 1

_TABLES = """
CREATE TABLE topics (
    name TEXT PRIMARY KEY, partitions INTEGER NOT NULL, cleanup TEXT NOT NULL, retention_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE partitions (
    topic TEXT NOT NULL, partition INTEGER NOT NULL,
    first_offset INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
CREATE TABLE records (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, "offset" INTEGER NOT NULL,
    timestamp_ms INTEGER NOT NULL, appended_ms INTEGER NOT NULL, key BLOB, value BLOB, headers TEXT,
    PRIMARY KEY (topic, partition, "offset")
) WITHOUT ROWID;
CREATE TABLE producers (name TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE positions (
    consumer_group TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, "offset" INTEGER NOT NULL,
    PRIMARY KEY (consumer_group, topic, partition)
) WITHOUT ROWID;
"""
# a row over a quarter of a page spills to overflow pages; 8 KiB keeps records of some fifty features whole
_PAGE_BYTES = 8192
_RETRY_S = 0.02

_PROBLEMS = {
    sqlite3.SQLITE_BUSY: "another process holds its lock",
    sqlite3.SQLITE_LOCKED: "another connection holds its lock",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_NOTADB: "the file is not a log",
    sqlite3.SQLITE_CORRUPT: "the file is damaged",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_READONLY: "the file is read-only",
    sqlite3.SQLITE_IOERR: "reading or writing the file failed",
    sqlite3.SQLITE_PERM: "access to the file is denied",
}


def connect(path: str, busy_timeout_s: float, fsync: bool) -> sqlite3.Connection:
    """An open connection to the log at `path`, created if missing. Raises LogUnavailable."""
    with translated(path):
        connection = sqlite3.connect(
            path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False, cached_statements=64
        )
    try:
        with translated(path):
            _prepare(connection, path, busy_timeout_s, fsync)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Turns the driver's errors into LogUnavailable."""
    try:
        yield
    except sqlite3.Error as error:
        # extended codes keep the primary code in their low byte
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        raise LogUnavailable(path, _PROBLEMS.get(code, str(error))) from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One write transaction: holds the write lock from its first statement, commits or leaves no trace."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        # some errors (a full disk) have rolled back already
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def pack_headers(headers: Headers) -> str | None:
    """Headers as JSON text; latin-1 maps every byte to one character and back."""
    if not headers:
        return None
    return json.dumps([[name, value.decode("latin-1")] for name, value in headers])


def unpack_headers(text: str) -> Headers:
    return tuple((name, value.encode("latin-1")) for name, value in json.loads(text))


def _prepare(connection: sqlite3.Connection, path: str, busy_timeout_s: float, fsync: bool) -> None:
    connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    _enter_wal(connection, int(busy_timeout_s / _RETRY_S))
    connection.execute(f"PRAGMA synchronous = {'FULL' if fsync else 'NORMAL'}")
    if _is_ours(connection, path):
        return
    with transaction(connection):
        # another process may have made the tables while this one waited for the lock
        if not _is_ours(connection, path):
            for statement in _TABLES.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {FORMAT}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _enter_wal(connection: sqlite3.Connection, retries: int) -> None:
    """Switching to WAL ignores the busy timeout while another process does the same: try again."""
    for attempt in range(retries + 1):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or attempt == retries:
                raise
            sleep(_RETRY_S)


def _is_ours(connection: sqlite3.Connection, path: str) -> bool:
    """Whether the tables are there; False for a new file. Raises LogUnavailable for any other database."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application == APPLICATION_ID:
        if version != FORMAT:
            raise LogUnavailable(path, f"its format is {version}, this version reads {FORMAT}")
        return True
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables or application:
        raise LogUnavailable(path, "the file is a database of something else")
    return False
