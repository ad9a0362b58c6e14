"""Drivers' exceptions to the store's own: what can be retried, and what is a fault of the caller.

Drivers say it in numbers: SQLite's primary result codes (https://www.sqlite.org/rescode.html) and
PostgreSQL's SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html), whose first two
characters are the class.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from consumers.store.errors import ConstraintViolated, StoreConflict, StoreRefused, StoreUnavailable

_SQLITE_CODES = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOTADB,
}
# connection lost; rolled back; out of resources; lock not available; operator intervention; system error
_UNAVAILABLE = ("08", "40", "53", "55", "57", "58")
# also a server that has become a standby, and a transaction ended because nothing was said for too long
_UNAVAILABLE_CODES = {"25006", "25P03"}
# serialization failure; deadlock
_CONFLICTS = {"40001", "40P01"}
# authorization and password; no such database; no such schema; no privilege; no such setting
_REFUSALS = ("28", "3D", "3F", "42501", "42704")


@contextmanager
def faults_translated() -> Iterator[None]:
    """Raise the store's own error for the driver errors that have one; let others through."""
    try:
        yield
    except IntegrityError as error:
        raise ConstraintViolated(one_line(error.orig)) from error.orig
    except DBAPIError as error:
        reason = one_line(error.orig)
        if _is_conflict(error.orig):
            raise StoreConflict(reason) from error.orig
        if error.connection_invalidated or _is_unavailable(error.orig):
            raise StoreUnavailable(reason) from error.orig
        if is_refusal(getattr(error.orig, "sqlstate", None)):
            raise StoreRefused(reason) from error.orig
        raise
    except sqlite3.Error as error:  # BEGIN goes to the driver directly
        if _is_unavailable(error):
            raise StoreUnavailable(one_line(error)) from error
        raise
    except PoolTimeout as error:
        raise StoreUnavailable("every connection is in use") from error
    except TimeoutError as error:
        raise StoreUnavailable("the database does not answer") from error
    except OSError as error:  # asyncpg reports a lost connection as itself
        raise StoreUnavailable(one_line(error)) from error


def is_refusal(sqlstate: str | None) -> bool:
    """Whether the server will say the same next time: a person has to act."""
    return sqlstate is not None and sqlstate.startswith(_REFUSALS)


def one_line(error: BaseException | None) -> str:
    return " ".join(str(error).split())


def _is_conflict(error: BaseException | None) -> bool:
    # A statement prepared before a migration is no longer what the server has; the driver forgets it now.
    stale = type(error).__name__ == "InvalidCachedStatementError"
    return stale or getattr(error, "sqlstate", None) in _CONFLICTS


def _is_unavailable(error: BaseException | None) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int):
        return code & 0xFF in _SQLITE_CODES
    sqlstate = getattr(error, "sqlstate", None)
    if not isinstance(sqlstate, str):
        return False
    return sqlstate.startswith(_UNAVAILABLE) or sqlstate in _UNAVAILABLE_CODES
