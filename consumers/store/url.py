"""Store URLs as people write them, to SQLAlchemy's."""

import importlib.util

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from consumers.store.errors import DriverMissing, InvalidStoreUrl

_SQLITE = {"sqlite", "sqlite+aiosqlite"}
_POSTGRESQL = {"postgres", "postgresql", "postgresql+asyncpg"}


def store_url(url: str) -> URL:
    """The SQLAlchemy URL of `url`: `sqlite:///path`, a plain path, or `postgresql://…`.

    Raises InvalidStoreUrl, and DriverMissing when the driver is not installed.
    """
    if "://" not in url:
        return _sqlite(URL.create("sqlite+aiosqlite", database=url))
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidStoreUrl(url, "is not a URL") from error
    if parsed.drivername in _SQLITE:
        return _sqlite(parsed.set(drivername="sqlite+aiosqlite"))
    if parsed.drivername in _POSTGRESQL:
        # SQLAlchemy reads a bare postgresql:// as psycopg
        return _postgresql(parsed.set(drivername="postgresql+asyncpg"))
    raise InvalidStoreUrl(_shown(parsed), "only sqlite:///path, a path, or postgresql://… are supported")


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=True)


def _sqlite(url: URL) -> URL:
    # sessions of an in-memory database share one transaction: a commit of one would commit the other
    if not url.database or url.database == ":memory:" or "mode=memory" in str(url):
        raise InvalidStoreUrl(_shown(url), "needs the path of a file")
    return url


def _postgresql(url: URL) -> URL:
    if importlib.util.find_spec("asyncpg") is None:
        raise DriverMissing(_shown(url), "asyncpg")
    return url
