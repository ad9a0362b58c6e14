"""Store URLs as people write them, to SQLAlchemy's."""

import importlib.util
import re

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from consumers.settings import mask_password
from consumers.store.errors import DriverMissing, InvalidStoreUrl

_SQLITE = {"sqlite", "sqlite+aiosqlite"}
_POSTGRESQL = {"postgres", "postgresql", "postgresql+asyncpg"}
_LAST_PORT = 65_535
_QUERY = re.compile(r"\?[\w%.-]+=")


def store_url(url: str) -> URL:
    """The SQLAlchemy URL of `url`: `sqlite:///path`, a plain path, or `postgresql://…`.

    Raises InvalidStoreUrl, and DriverMissing when the driver is not installed.
    """
    if "://" not in url:
        return _sqlite(URL.create("sqlite+aiosqlite", database=url))
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidStoreUrl(mask_password(url), "is not a URL") from error
    except ValueError:
        # what stands where the port belongs may be a password whose host was forgotten
        raise InvalidStoreUrl(f"{url.partition('://')[0]}://…", "has a port that is no number") from None
    if parsed.drivername in _SQLITE:
        return _sqlite(parsed.set(drivername="sqlite+aiosqlite"))
    if parsed.drivername in _POSTGRESQL:
        if _password_unescaped(url):
            raise InvalidStoreUrl(mask_password(url), "has an @ in its password, which is written %40")
        # SQLAlchemy reads a bare postgresql:// as psycopg
        return _postgresql(parsed.set(drivername="postgresql+asyncpg"))
    raise InvalidStoreUrl(shown(parsed), "only sqlite:///path, a path, or postgresql://… are supported")


def _password_unescaped(url: str) -> bool:
    """Whether a part of the password would be taken for the host, and be shown as one."""
    authority = _QUERY.split(url, maxsplit=1)[0].partition("://")[2]
    return authority.partition(":")[2].count("@") > 1


def shown(url: URL) -> str:
    """The URL as people write and may see it: no driver, no passwords, also where they are in the query."""
    plain = url.set(drivername=url.get_backend_name())
    return mask_password(plain.render_as_string(hide_password=True))


def _sqlite(url: URL) -> URL:
    # sessions of an in-memory database share one transaction: a commit of one would commit the other
    if not url.database or url.database == ":memory:" or "mode=memory" in str(url):
        raise InvalidStoreUrl(shown(url), "needs the path of a file")
    return url


def _postgresql(url: URL) -> URL:
    if url.port is not None and not 1 <= url.port <= _LAST_PORT:
        raise InvalidStoreUrl(shown(url), f"has a port that is not from 1 to {_LAST_PORT}")
    if importlib.util.find_spec("asyncpg") is None:
        raise DriverMissing(shown(url), "asyncpg")
    return url
