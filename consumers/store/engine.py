"""Opening the store and its transactions: the only place that commits.

Both engines take the same calls. On SQLite writers queue, so each sees all that others wrote; on PostgreSQL
they run beside each other, each statement sees what was committed before it, and whoever must not be
overtaken says so by a lock (`WriteSession.lock`, row locks). Readers have one snapshot on both.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

from sqlalchemy import URL, event, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from consumers.store.errors import StoreUnavailable
from consumers.store.faults import faults_translated
from consumers.store.locks import Exclusive, ExclusiveFile, ExclusiveSession
from consumers.store.postgres import CLOSING_S, Session, postgres_engine
from consumers.store.schema import check_revision, mismatch, revision_of, upgrade_schema
from consumers.store.session import ReadSession, WriteSession
from consumers.store.sqlite import sqlite_engine
from consumers.store.url import store_url

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for other writers, or anybody for a connection, before StoreUnavailable."""
STATEMENT_TIMEOUT_S = 60.0
"""How long one statement may take on PostgreSQL before StoreUnavailable."""
TRIES = 4

T = TypeVar("T")
# who reads may think between two batches for as long as it likes: it holds nobody up
_PATIENT = text("SET LOCAL idle_in_transaction_session_timeout = 0")


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
        self._queue = asyncio.Lock() if self.in_a_file else None
        self._writers: set[asyncio.Task[Any] | None] = set()
        self._sessions: WeakSet[Session] = WeakSet()
        if not self.in_a_file:
            event.listen(engine.sync_engine, "connect", self._remember)

    @property
    def in_a_file(self) -> bool:
        """Whether this is SQLite: transactions that write come one after the other, on this machine only."""
        return self._engine.dialect.name == "sqlite"

    @asynccontextmanager
    async def write(self) -> AsyncIterator[WriteSession]:
        """A transaction that writes: committed when the block ends, rolled back if it raises.

        Raises StoreUnavailable, from the first statement up to the commit; then nothing was written, unless
        the connection was lost in the commit itself: do it again, effects are idempotent by their keys. Of
        two transactions in each other's way one may end in StoreConflict: it is done again at once.
        A task that is in a write block already must not open another: RuntimeError.
        """
        async with self._turn(), self._transaction(self._engine) as connection:
            yield WriteSession(connection)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[ReadSession]:
        """One consistent snapshot, which blocks no writer and waits for none. Raises StoreUnavailable."""
        async with self._transaction(self._reading) as connection:
            if not self.in_a_file:
                with faults_translated():
                    await connection.execute(_PATIENT)
            yield ReadSession(connection)

    @asynccontextmanager
    async def exclusive(self, name: str) -> AsyncIterator[Exclusive]:
        """A claim to be the only `name` among all processes on this database, until the block ends.

        Look at `held` first: somebody else may be the one, and nobody is waited for. Raises StoreUnavailable.
        """
        if self.in_a_file:
            beside = ExclusiveFile(name, Path(self.url.database or ""))
            try:
                beside.take()
                yield beside
            finally:
                beside.give_back()
            return
        # a session of its own, outside any transaction: transactions that come and go would end the lock
        connection = self._engine.execution_options(isolation_level="AUTOCOMMIT").connect()
        with faults_translated():
            await connection.start()
        claim = ExclusiveSession(name, connection)
        session = _session(connection)
        try:
            await claim.take()
            yield claim
        finally:
            await asyncio.shield(asyncio.create_task(_end(claim, connection, session)))

    async def migrate(self) -> None:
        """Bring the schema to this release's, in one transaction; any number of processes may try at once.

        Raises SchemaMismatch for the schema of a newer release, StoreRefused, StoreUnavailable.
        """
        async with self._turn(), self._transaction(self._engine) as connection:
            with faults_translated():
                await connection.run_sync(upgrade_schema, self.url)

    async def check_schema(self) -> None:
        """Raise SchemaMismatch unless the schema is exactly this release's."""
        if self.in_a_file and not await asyncio.to_thread(Path(self.url.database or "").exists):
            raise mismatch(self.url, None)  # connecting would create the file
        async with self._transaction(self._reading) as connection:
            with faults_translated():
                found = await connection.run_sync(revision_of)
            check_revision(self.url, found)

    async def dispose(self) -> None:
        """Close all connections, in a second or two even if the server says nothing any more."""
        await _soon(self._engine.dispose(), self._sessions)
        # whoever is dropped in the middle of a block, a claim above all, has not brought its session back
        for session in [one for one in self._sessions if not one.is_closed()]:
            session.terminate()
            await asyncio.sleep(0)  # in which the loop closes what it was connected by

    def _remember(self, connection: Any, _record: object) -> None:
        self._sessions.add(connection.driver_connection)

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        # Only the edges are translated: what the block raises by itself, an OSError say, is the caller's.
        connection = engine.connect()
        with faults_translated():
            await connection.start()
        session = _session(connection)
        try:
            try:
                with faults_translated():
                    await connection.begin()
            except asyncio.CancelledError:
                # it may yet begin: a connection that did must not come back from the pool
                await asyncio.shield(asyncio.create_task(_soon(connection.invalidate(), session)))
                raise
            yield connection
            with faults_translated():
                await connection.commit()
        except StoreUnavailable as error:
            if isinstance(error.__cause__, TimeoutError):
                await connection.invalidate()  # nothing comes back from there: not even a rollback's answer
            raise
        finally:
            # rolls back unless committed; a second cancellation must not leave the connection half closed.
            # What fails here changes nothing any more, and must not hide why the block ended.
            with suppress(StoreUnavailable), faults_translated():
                await asyncio.shield(asyncio.create_task(_soon(connection.close(), session)))

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        task = asyncio.current_task()
        if task in self._writers:
            raise RuntimeError("store.write() inside store.write() would wait for itself")
        if self._queue is not None:
            try:
                async with asyncio.timeout(self._busy_timeout_s):
                    await self._queue.acquire()
            except TimeoutError:
                reason = f"another task has been writing for {self._busy_timeout_s:g} s"
                raise StoreUnavailable(reason) from None
        self._writers.add(task)
        try:
            yield
        finally:
            self._writers.discard(task)
            if self._queue is not None:
                self._queue.release()


async def open_store(
    url: str,
    *,
    migrate: bool = False,
    busy_timeout_s: float = BUSY_TIMEOUT_S,
    statement_timeout_s: float = STATEMENT_TIMEOUT_S,
) -> Store:
    """Open the store at `url`: `sqlite:///path`, a path, or `postgresql://…`.

    With `migrate` its schema is created or upgraded first; without, one that is not exactly this release's
    raises SchemaMismatch. Also raises InvalidStoreUrl, DriverMissing, StoreRefused and StoreUnavailable.
    """
    parsed = store_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = sqlite_engine(parsed, busy_timeout_s)
    else:
        engine = postgres_engine(parsed, statement_timeout_s, busy_timeout_s)
    store = Store(parsed, engine, busy_timeout_s)
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


async def retried(store: Store, work: Callable[[WriteSession], Awaitable[T]]) -> T:
    """`work` in one transaction, done again from its start while the store is in the way, a few times.

    For orders of a person, who would otherwise do the same by hand; workers are repeated by their shell.
    `work` must be safe to repeat even after a commit whose answer was lost.
    """
    for attempt in range(TRIES):
        try:
            async with store.write() as session:
                return await work(session)
        except StoreUnavailable:
            if attempt == TRIES - 1:
                raise
            await asyncio.sleep(0.1 * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


def _reading_options(engine: AsyncEngine) -> dict[str, Any]:
    if engine.dialect.name == "postgresql":
        return {"read_only": True, "postgresql_readonly": True, "isolation_level": "REPEATABLE READ"}
    return {"read_only": True}


async def _end(claim: ExclusiveSession, connection: AsyncConnection, session: Iterable[Session]) -> None:
    try:
        await _soon(claim.give_back(), session)
    except StoreUnavailable:
        with suppress(StoreUnavailable), faults_translated():
            await connection.invalidate()  # a session that may still hold the lock is not used again
    finally:
        with suppress(StoreUnavailable), faults_translated():
            await _soon(connection.close(), session)


def _session(connection: AsyncConnection) -> tuple[Session, ...]:
    """What to cut off when `connection`, just started, cannot be ended in order: nothing for a file."""
    driver = connection.sync_connection and connection.sync_connection.connection.driver_connection
    return (driver,) if isinstance(driver, Session) else ()


async def _soon(ending: Coroutine[Any, Any, None], sessions: Iterable[Session]) -> None:
    """`ending`, whose commands on `sessions` are waited for `CLOSING_S`; then the sessions are cut off.

    A process that is asked to end must do so while nobody answers. The server gives back what a session held
    when it hears of its end.
    """

    def cut_off() -> None:
        for session in list(sessions):
            session.terminate()

    timer = asyncio.get_running_loop().call_later(CLOSING_S, cut_off)
    try:
        await ending
    finally:
        timer.cancel()
