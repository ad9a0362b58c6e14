"""Locks with names, for what there is no row to lock: PostgreSQL's advisory locks, or a file beside SQLite's.

They are the database's, so deployments in different databases never meet.
"""

import fcntl
import os
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from sqlalchemy import BigInteger, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from consumers.store.errors import StoreUnavailable
from consumers.store.faults import faults_translated


def lock_key(name: str) -> int:
    """The number that PostgreSQL knows the lock by: the same in every process and release."""
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big", signed=True)


def model_lock(model: str) -> str:
    """The one lock of a model: whoever judges it, moves its versions or decides on retraining holds it.

    One and not one for each concern: two that are taken in different orders are a deadlock.
    """
    return f"model/{model}"


SILENCE_S = 90
"""A holder that has not said anything for so long (its process was stopped, say) loses the lock."""

_KEY = bindparam("key", type_=BigInteger)
_TAKE = text("SELECT pg_try_advisory_lock(:key)").bindparams(_KEY)
# by way of pg_settings, because PostgreSQL 13 has no such setting and would refuse it
_SILENCE = "set_config(name, '{}', false) FROM pg_settings WHERE name = 'idle_session_timeout'"
_WATCH = text("SELECT " + _SILENCE.format(SILENCE_S * 1_000))
_GIVE = text(f"SELECT pg_advisory_unlock(:key), (SELECT {_SILENCE.format(0)})").bindparams(_KEY)
# asked of the session itself: behind a pooler that hands out another one, the lock is not ours
_HOLDS = text(
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND (classid::bigint << 32) | objid::bigint = :key AND objsubid = 1"
).bindparams(_KEY)


class Exclusive(Protocol):
    """A claim to be the only one in the deployment. Made by `Store.exclusive`.

    `held` says whether this one is. It holds as long as its session lives: one that was cut off learns that
    by `check`, never by itself, and the server lets the next one in once it has noticed. Whoever holds it for
    long calls `check` more often than every `SILENCE_S`.
    """

    @property
    def held(self) -> bool: ...

    async def check(self) -> None:
        """Raise StoreUnavailable unless the lock is still held. Call it before whatever must happen once."""
        ...


class ExclusiveSession:
    """A claim that a session of PostgreSQL holds."""

    __slots__ = ("_connection", "_key", "held")

    def __init__(self, name: str, connection: AsyncConnection) -> None:
        self._key = {"key": lock_key(name)}
        self._connection = connection
        self.held = False

    async def check(self) -> None:
        if self.held:
            self.held = False
            with faults_translated():
                self.held = bool((await self._connection.execute(_HOLDS, self._key)).scalar())
        _require(self.held)

    async def take(self) -> None:
        """Try to become the one; `held` says whether it worked."""
        with faults_translated():
            self.held = bool((await self._connection.execute(_TAKE, self._key)).scalar())
            if self.held:
                await self._connection.execute(_WATCH)

    async def give_back(self) -> None:
        """Let the next one in, if this one still can."""
        if self.held:
            self.held = False
            with faults_translated():
                await self._connection.execute(_GIVE, self._key)


class ExclusiveFile:
    """A claim on a file beside the database, for the processes of this machine.

    The system's lock is of the opened file: it ends with the process, whatever ends that, and two claims of
    one process shut each other out as well. The file stays: who deleted it would let a second one in.
    """

    __slots__ = ("_descriptor", "_path")

    def __init__(self, name: str, database: Path) -> None:
        self._path = database.resolve().with_name(f"{database.resolve().name}.{name}.lock")
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        return self._descriptor is not None

    async def check(self) -> None:
        _require(self.held)

    def take(self) -> None:
        """Try to become the one; nobody is waited for. Raises StoreUnavailable."""
        with faults_translated():
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            else:
                self._descriptor = descriptor

    def give_back(self) -> None:
        """Let the next one in."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _require(held: bool) -> None:
    if not held:
        raise StoreUnavailable("the lock that one process of a deployment holds is not held (any more)")
