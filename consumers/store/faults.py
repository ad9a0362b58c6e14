"""Drivers' exceptions to the store's own: what can be retried, and what is a fault of the caller.

Drivers say it in numbers: SQLite's primary result codes (https://www.sqlite.org/rescode.html) and
PostgreSQL's SQLSTATE classes (https://www.postgresql.org/docs/current/errcodes-appendix.html).
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from consumers.store.errors import ConstraintViolated, StoreUnavailable

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
# connection lost; deadlock or serialization; out of resources; operator intervention; lock not available
_SQLSTATE_CLASSES = ("08", "40", "53", "57", "55")


@contextmanager
def faults_translated() -> Iterator[None]:
    """Raise StoreUnavailable or ConstraintViolated for the driver errors that mean it; let others through."""
    try:
        yield
    except IntegrityError as error:
        raise ConstraintViolated(_one_line(error.orig)) from error.orig
    except DBAPIError as error:
        if error.connection_invalidated or _is_unavailable(error.orig):
            raise StoreUnavailable(_one_line(error.orig)) from error.orig
        raise
    except sqlite3.Error as error:  # BEGIN goes to the driver directly
        if _is_unavailable(error):
            raise StoreUnavailable(_one_line(error)) from error
        raise
    except PoolTimeout as error:
        raise StoreUnavailable("every connection is in use") from error
    except OSError as error:  # asyncpg reports a refused connection as itself
        raise StoreUnavailable(_one_line(error)) from error


def _is_unavailable(error: BaseException | None) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int):
        return code & 0xFF in _SQLITE_CODES
    sqlstate = getattr(error, "sqlstate", None)
    return isinstance(sqlstate, str) and sqlstate.startswith(_SQLSTATE_CLASSES)


def _one_line(error: BaseException | None) -> str:
    return " ".join(str(error).split())
