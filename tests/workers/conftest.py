from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.services.world import World, world
from tests.workers.workshop import Workshop, workshop_in


@pytest.fixture
async def registry_world(url: str) -> AsyncIterator[World]:
    """Once per engine of the store."""
    async with world(url) as made:
        yield made


@pytest.fixture
async def file_world(sqlite_url: str) -> AsyncIterator[World]:
    """For what only a store in a file does."""
    async with world(sqlite_url) as made:
        yield made


@pytest.fixture
async def pg_world(postgresql_url: str) -> AsyncIterator[World]:
    """For what only a store with many writers does."""
    async with world(postgresql_url) as made:
        yield made


@pytest.fixture
async def workshop(registry_world: World, tmp_path: Path) -> Workshop:
    return await workshop_in(registry_world, tmp_path)
