"""SQLite as the store's engine: a file, one writer at a time.

A transaction that reads and then writes can fail at its first write when another one wrote in between, and no
waiting helps. So writers say at once that they will write (BEGIN IMMEDIATE) and queue; readers take a
snapshot (plain BEGIN in WAL mode) and wait for nobody.
"""

import asyncio
import sqlite3
import time
from functools import partial
from typing import Any

import aiosqlite
from sqlalchemy import URL, Connection, PoolResetState, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import await_only


def sqlite_engine(url: URL, busy_timeout_s: float) -> AsyncEngine:
    """An engine on the file that `url` names; writers wait `busy_timeout_s` for other programs' writers."""
    engine = create_async_engine(
        url,
        async_creator=partial(_connect, url.database or "", busy_timeout_s),
        pool_timeout=busy_timeout_s,
        pool_reset_on_return=None,
    )
    event.listen(engine.sync_engine, "connect", partial(_prepare, busy_timeout_s))
    event.listen(engine.sync_engine, "begin", _begin)
    event.listen(engine.sync_engine, "reset", _reset)
    return engine


async def _connect(path: str, busy_timeout_s: float) -> aiosqlite.Connection:
    # without an isolation level the driver begins no transactions of its own
    connection = aiosqlite.connect(path, isolation_level=None, timeout=busy_timeout_s)
    connection._thread.daemon = True
    try:
        return await connection
    except BaseException:
        # The driver does not wait for its thread, which would report its end to a loop closed by then.
        await asyncio.to_thread(connection._thread.join, 1.0)
        raise


def _prepare(busy_timeout_s: float, connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    give_up = time.monotonic() + busy_timeout_s
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        while not _set(cursor, pragma, last_try=time.monotonic() > give_up):
            await_only(asyncio.sleep(0.01))
    cursor.close()


def _set(cursor: Any, pragma: str, *, last_try: bool) -> bool:
    """False when another process makes the same new file at this moment: SQLite does not wait for that."""
    try:
        cursor.execute(f"PRAGMA {pragma}")
    except sqlite3.OperationalError as error:
        if last_try or error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True


# Every call of the driver is a hop to its thread and back, about 70 us. The two functions below take three
# hops less than SQLAlchemy's own ways of saying BEGIN and of resetting a connection.


def _begin(connection: Connection) -> None:
    driver: Any = connection.connection.driver_connection
    read_only = connection.get_execution_options().get("read_only")
    await_only(driver.execute("BEGIN" if read_only else "BEGIN IMMEDIATE"))


def _reset(connection: Any, _record: Any, state: PoolResetState) -> None:
    if not state.terminate_only and connection.driver_connection.in_transaction:
        connection.rollback()
