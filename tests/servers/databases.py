"""Databases of one PostgreSQL server. Plain calls, which may come from inside an event loop too."""

import os
import secrets
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import asyncpg

from tests.servers.apart import apart

# Before it accepts anybody, a server refuses, resets or says that it is starting up.
_NOT_YET = (OSError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError, TimeoutError)


@dataclass(slots=True)
class Databases:
    """The server at `url`, whose role may create databases."""

    url: str

    def create(self, template: str | None = None) -> str:
        """The URL of a new database: empty, or a copy of the one at `template`, which nobody may be using."""
        name = f"test_{os.getpid()}_{secrets.token_hex(6)}"
        # template0, unlike template1, takes no connections, so that parallel copies never meet one
        self.run(f'CREATE DATABASE "{name}" TEMPLATE "{name_of(template) if template else "template0"}"')
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    def drop(self, url: str) -> None:
        """Drop the database at `url`, with the connections that are left to it."""
        self.run(f'DROP DATABASE IF EXISTS "{name_of(url)}" WITH (FORCE)')

    def run(self, statement: str) -> None:
        """Execute one statement in the server's own database."""
        apart(self._execute(statement))

    def wait(self, patience_s: float = 60.0) -> None:
        """Return once the server answers a query; TimeoutError after `patience_s`."""
        give_up = time.monotonic() + patience_s
        while True:
            try:
                return self.run("SELECT 1")
            except _NOT_YET as error:
                if time.monotonic() > give_up:
                    where = urlsplit(self.url).netloc.rpartition("@")[2]
                    raise TimeoutError(f"no PostgreSQL at {where} in {patience_s:g} s: {error}") from error
            time.sleep(0.05)

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url, timeout=10)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def name_of(url: str) -> str:
    """The database that `url` names."""
    return urlsplit(url).path.lstrip("/")
