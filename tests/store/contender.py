"""Another process on the same store: `python -m tests.store.contender promote|claim URL ARGUMENT…`."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from consumers.store.engine import Store, open_store
from consumers.store.repositories.models import ModelRepository
from consumers.store.repositories.retraining import RetrainingRepository
from schemas.events import ModelStage
from tests.store.builders import NOW, transition

STAGING, PRODUCTION, ARCHIVED = ModelStage.STAGING, ModelStage.PRODUCTION, ModelStage.ARCHIVED


async def promote(store: Store, number: str) -> None:
    """Make a version PRODUCTION in place of whichever is, at the event time of the new epoch."""
    async with store.write() as session:
        registry = ModelRepository(session)
        await registry.get_model("brent", for_update=True)
        old = await registry.production("brent")
        assert old is not None
        await registry.set_stage("brent", old.version, PRODUCTION, ARCHIVED)
        await registry.set_stage("brent", number, STAGING, PRODUCTION)
        epoch = await registry.raise_epoch("brent")
        await registry.add_transition(transition(old.version, PRODUCTION, ARCHIVED, epoch), NOW)
        await registry.add_transition(transition(number, STAGING, PRODUCTION, epoch), NOW)


async def claim_all(store: Store, owner: str) -> list[str]:
    """Claim jobs until there are none left."""
    taken: list[str] = []
    while True:
        async with store.write() as session:
            found = await RetrainingRepository(session).claim(owner, NOW)
        if found is None:
            return taken
        taken.append(found.job_id)


async def start_contender(*arguments: str) -> Process:
    """Start this module in a process of its own; it opens the store and then waits for `lines_of`."""
    root = Path(__file__).parents[2]
    command = (sys.executable, "-m", "tests.store.contender", *arguments)
    process = await asyncio.create_subprocess_exec(*command, cwd=root, stdin=PIPE, stdout=PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def lines_of(process: Process) -> list[str]:
    """Let the process begin; what it printed. It must have ended well."""
    output, _ = await process.communicate(b"go\n")
    assert process.returncode == 0
    return output.decode().split()


async def main(action: str, url: str, *arguments: str) -> None:
    store = await open_store(url)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    if action == "promote":
        for number in arguments:
            await promote(store, number)
    else:
        sys.stdout.write("\n".join(await claim_all(store, arguments[0])))
    await store.dispose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
