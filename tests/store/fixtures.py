"""A migrated store for each test. Tests that take `store` or `url` run once per engine in `ENGINES`.

A plugin of the whole run: each engine is migrated once, and copied for each test, which is much quicker.
"""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from consumers.store.engine import Store, open_store, upgrade
from tests.servers.apart import apart
from tests.servers.databases import Databases

ENGINES = ["sqlite", "postgresql"]


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite store."""
    path = tmp_path_factory.mktemp("template") / "store.db"
    apart(upgrade(str(path)))
    return path


@pytest.fixture(scope="session")
def migrated_database(postgres: Databases) -> Iterator[str]:
    """A migrated, empty PostgreSQL database, which nobody is connected to."""
    template = postgres.create()
    apart(upgrade(template))
    yield template
    postgres.drop(template)


@pytest.fixture
def sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    """The URL of an empty store in a file that nobody else uses."""
    path = tmp_path / "store.db"
    shutil.copy(migrated_file, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgresql_url(postgres: Databases, migrated_database: str) -> Iterator[str]:
    """The URL of an empty store in a database that nobody else uses."""
    url = postgres.create(migrated_database)
    yield url
    postgres.drop(url)


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store that nobody else uses."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    opened = await open_store(url)
    yield opened
    await opened.dispose()


@pytest.fixture
async def file_store(sqlite_url: str) -> AsyncIterator[Store]:
    opened = await open_store(sqlite_url)
    yield opened
    await opened.dispose()


@pytest.fixture
async def pg_store(postgresql_url: str) -> AsyncIterator[Store]:
    opened = await open_store(postgresql_url)
    yield opened
    await opened.dispose()
