"""A migrated store for each test. Tests that take `store` or `url` run once per engine in `ENGINES`."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consumers.store.engine import Store, open_store, upgrade

ENGINES = ["sqlite"]


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite store: copied for each test, because migrating takes much longer."""
    path = tmp_path_factory.mktemp("template") / "store.db"
    asyncio.run(upgrade(str(path)))
    return path


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store that nobody else uses."""
    assert request.param == "sqlite"
    path = tmp_path / "store.db"
    shutil.copy(request.getfixturevalue("migrated_file"), path)
    return f"sqlite:///{path}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    opened = await open_store(url)
    yield opened
    await opened.dispose()
