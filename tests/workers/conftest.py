import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consumers.store.engine import upgrade
from tests.services.world import World, world
from tests.workers.workshop import Workshop, workshop_in


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty store: copied for each test, because migrating takes much longer."""
    path = tmp_path_factory.mktemp("template") / "store.db"
    asyncio.run(upgrade(str(path)))
    return path


@pytest.fixture
async def registry_world(tmp_path: Path, migrated_file: Path) -> AsyncIterator[World]:
    shutil.copy(migrated_file, tmp_path / "store.db")
    async with world(tmp_path / "store.db") as made:
        yield made


@pytest.fixture
async def workshop(registry_world: World, tmp_path: Path) -> Workshop:
    return await workshop_in(registry_world, tmp_path)
