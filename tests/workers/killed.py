"""A process that claims a job and hangs until it is killed."""

import asyncio
from pathlib import Path

from consumers.services.processes import this_process
from consumers.store.engine import open_store
from consumers.store.repositories.retraining import RetrainingRepository
from tests.services.world import WALL


async def claim_and_hang(url: str, home: Path) -> None:
    store = await open_store(url)
    async with store.write() as session:
        assert await RetrainingRepository(session).claim(this_process(), WALL, 3600) is not None
    (home / "claimed").touch()
    await asyncio.sleep(120)
