import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consumers.store.engine import upgrade
from tests.services.deployment import Deployment, deployment


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty store: copied for each test, because migrating takes much longer."""
    path = tmp_path_factory.mktemp("template") / "store.db"
    asyncio.run(upgrade(str(path)))
    return path


@pytest.fixture
async def where(tmp_path: Path, migrated_file: Path) -> AsyncIterator[Deployment]:
    """A deployment of two partitions that nobody has written to."""
    async with deployment(tmp_path, migrated_file, partitions=2) as made:
        yield made
