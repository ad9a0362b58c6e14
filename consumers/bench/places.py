"""A store that nobody has used: rows that are there already would be compared instead of written."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from pydantic import SecretStr

from consumers.settings import mask_password
from consumers.store.errors import StoreRefused, StoreUnavailable


def store_name(database_url: str | None) -> str:
    return "SQLite" if database_url is None else "PostgreSQL"


@asynccontextmanager
async def fresh_store(home: Path, database_url: str | None) -> AsyncIterator[SecretStr]:
    """The URL of a file in `home`, or of a new database beside the one named, dropped when the block ends.

    Raises StoreUnavailable, and StoreRefused where the role may not create databases.
    """
    name = f"lifecycle_bench_{secrets.token_hex(6)}"
    if database_url is None:
        yield SecretStr(f"sqlite+aiosqlite:///{home / name}.sqlite")
        return
    await _execute(database_url, f"CREATE DATABASE {name}")
    try:
        yield SecretStr(urlsplit(database_url)._replace(path=f"/{name}").geturl())
    finally:
        await _execute(database_url, f"DROP DATABASE {name} WITH (FORCE)")


async def _execute(database_url: str, statement: str) -> None:
    try:
        # the driver's own scheme, not SQLAlchemy's
        connection = await asyncpg.connect(urlsplit(database_url)._replace(scheme="postgresql").geturl())
        try:
            await connection.execute(statement)
        finally:
            await connection.close()
    except (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidAuthorizationSpecificationError) as error:
        raise StoreRefused(str(error), mask_password(database_url)) from error
    except (OSError, asyncpg.PostgresError) as error:
        raise StoreUnavailable(str(error)) from error
