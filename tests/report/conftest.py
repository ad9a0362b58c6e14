from collections.abc import AsyncIterator

import pytest

from tests.services.world import World, world


@pytest.fixture
async def registry_world(url: str) -> AsyncIterator[World]:
    """Once per engine of the store."""
    async with world(url) as made:
        yield made
