"""Opening the store and its transactions: the only place that commits.

On SQLite a transaction that reads and then writes can fail at its first write when another one wrote in
between, and no waiting helps. So writers say at once that they will write (BEGIN IMMEDIATE) and queue;
readers take a snapshot (plain BEGIN in WAL mode) and wait for nobody.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiosqlite
from sqlalchemy import URL, Connection, PoolResetState, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from consumers.store.errors import StoreUnavailable
from consumers.store.faults import faults_translated
from consumers.store.schema import check_revision, mismatch, revision_of, upgrade_schema
from consumers.store.session import ReadSession, WriteSession
from consumers.store.url import store_url

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for other writers before StoreUnavailable."""


class Store:
    """A pool of connections to one database, bound to the event loop that first used it.

    Made by `open_store`. Never carried over a fork.
    """

    def __init__(self, url: URL, engine: AsyncEngine, busy_timeout_s: float) -> None:
        self.url = url
        self._engine = engine
        self._busy_timeout_s = busy_timeout_s
        self._reading = engine.execution_options(**_reading_options(engine))
        # SQLite has one writer at a time anyway; a queue in this process is fair and needs no polling
        self._queue = asyncio.Lock() if engine.dialect.name == "sqlite" else None
        self._writer: asyncio.Task[Any] | None = None

    @asynccontextmanager
    async def write(self) -> AsyncIterator[WriteSession]:
        """A transaction that writes: committed when the block ends, rolled back if it raises.

        Raises StoreUnavailable, from the first statement up to the commit; then nothing was written, unless
        the connection was lost in the commit itself: do it again, effects are idempotent by their keys.
        A task that is in a write block already must not open another: RuntimeError.
        """
        async with self._turn(), self._transaction(self._engine) as connection:
            yield WriteSession(connection)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[ReadSession]:
        """One consistent snapshot, which blocks no writer and waits for none. Raises StoreUnavailable."""
        async with self._transaction(self._reading) as connection:
            yield ReadSession(connection)

    async def migrate(self) -> None:
        """Bring the schema to this release's, in one transaction.

        Raises SchemaMismatch for the schema of a newer release, StoreUnavailable.
        """
        async with self._turn(), self._transaction(self._engine) as connection:
            with faults_translated():
                await connection.run_sync(upgrade_schema, self.url)

    async def check_schema(self) -> None:
        """Raise SchemaMismatch unless the schema is exactly this release's."""
        if self._queue is not None and not await asyncio.to_thread(Path(self.url.database or "").exists):
            raise mismatch(self.url, None)  # connecting would create the file
        async with self._transaction(self._reading) as connection:
            with faults_translated():
                found = await connection.run_sync(revision_of)
            check_revision(self.url, found)

    async def dispose(self) -> None:
        """Close all connections."""
        await self._engine.dispose()

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        # Only the edges are translated: what the block raises by itself, an OSError say, is the caller's.
        connection = engine.connect()
        with faults_translated():
            await connection.start()
        try:
            with faults_translated():
                await connection.begin()
            yield connection
            with faults_translated():
                await connection.commit()
        finally:
            # rolls back unless committed; a second cancellation must not leave the connection half closed
            with faults_translated():
                await asyncio.shield(asyncio.create_task(connection.close()))

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._queue is None:
            yield
            return
        task = asyncio.current_task()
        if self._writer is task:
            raise RuntimeError("store.write() inside store.write() would wait for itself")
        try:
            async with asyncio.timeout(self._busy_timeout_s):
                await self._queue.acquire()
        except TimeoutError:
            raise StoreUnavailable(f"another task has been writing for {self._busy_timeout_s:g} s") from None
        self._writer = task
        try:
            yield
        finally:
            self._writer = None
            self._queue.release()


async def open_store(url: str, *, migrate: bool = False, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Store:
    """Open the store at `url`: `sqlite:///path`, a path, or `postgresql://…`.

    With `migrate` its schema is created or upgraded first; without, one that is not exactly this release's
    raises SchemaMismatch. Also raises InvalidStoreUrl, DriverMissing and StoreUnavailable.
    """
    parsed = store_url(url)
    store = Store(parsed, _engine(parsed, busy_timeout_s), busy_timeout_s)
    try:
        if migrate:
            await store.migrate()
        else:
            await store.check_schema()
    except BaseException:
        await store.dispose()
        raise
    return store


async def upgrade(url: str) -> None:
    """Create or upgrade the schema of the store at `url` (`lifecycle init`)."""
    store = await open_store(url, migrate=True)
    await store.dispose()


def _engine(url: URL, busy_timeout_s: float) -> AsyncEngine:
    if url.get_backend_name() != "sqlite":
        return create_async_engine(url)
    engine = create_async_engine(
        url,
        async_creator=partial(_connect_sqlite, url.database or "", busy_timeout_s),
        pool_timeout=busy_timeout_s,
        pool_reset_on_return=None,
    )
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    event.listen(engine.sync_engine, "reset", _reset_sqlite)
    return engine


def _reading_options(engine: AsyncEngine) -> dict[str, Any]:
    if engine.dialect.name == "postgresql":
        return {"read_only": True, "postgresql_readonly": True, "isolation_level": "REPEATABLE READ"}
    return {"read_only": True}


async def _connect_sqlite(path: str, busy_timeout_s: float) -> aiosqlite.Connection:
    # without an isolation level the driver begins no transactions of its own
    connection = aiosqlite.connect(path, isolation_level=None, timeout=busy_timeout_s)
    connection._thread.daemon = True
    try:
        return await connection
    except BaseException:
        # The driver does not wait for its thread, which would report its end to a loop closed by then.
        await asyncio.to_thread(connection._thread.join, 1.0)
        raise


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


# Every call of the driver is a hop to its thread and back, about 70 us. The two functions below take three
# hops less than SQLAlchemy's own ways of saying BEGIN and of resetting a connection.


def _begin_sqlite(connection: Connection) -> None:
    driver: Any = connection.connection.driver_connection
    read_only = connection.get_execution_options().get("read_only")
    await_only(driver.execute("BEGIN" if read_only else "BEGIN IMMEDIATE"))


def _reset_sqlite(connection: Any, _record: Any, state: PoolResetState) -> None:
    if not state.terminate_only and connection.driver_connection.in_transaction:
        connection.rollback()
