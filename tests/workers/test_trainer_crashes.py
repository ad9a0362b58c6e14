"""A trainer that is stopped, killed or overtaken repeats work and registers once."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from consumers.log.memory import InMemoryLog
from consumers.store.repositories.retraining import RetrainingRepository
from tests.services.world import TEMPLATE
from tests.workers.workshop import Workshop

SLOW_THEN_MEAN = """
import pathlib, sys, time
mark = pathlib.Path(sys.argv[2])
if not mark.exists():
    mark.touch()
    time.sleep(60)
exec(pathlib.Path(sys.argv[3]).read_text())
"""


async def until(path: Path) -> None:
    for _ in range(400):
        if await asyncio.to_thread(path.exists):
            return
        await asyncio.sleep(0.025)
    raise AssertionError(f"{path} did not appear")


def slow_policy(workshop: Workshop) -> dict[str, object]:
    """The first attempt sleeps, the second trains."""
    script, mark = workshop.home / "slow.py", workshop.home / "began"
    script.write_text(SLOW_THEN_MEAN)
    policy = workshop.policy(experiment=TEMPLATE)
    training = dict(policy["training"])  # type: ignore[call-overload]
    training["command"] = ["{python}", str(script), "{job_dir}", str(mark), str(workshop.home / "mean.py")]
    return policy | {"training": training}


async def test_a_trainer_stopped_in_the_middle_starts_again_and_registers_once(workshop: Workshop) -> None:
    await workshop.use(slow_policy(workshop))
    await workshop.ask()
    first = asyncio.create_task(workshop.trainer("first").step())
    await until(workshop.home / "began")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (await workshop.job()).status.value == "REQUESTED"
    second = workshop.trainer("second")
    assert await second.step()
    assert not await second.step()
    ended = await workshop.job()
    assert (ended.status.value, ended.version) == ("SUCCEEDED", "2")
    assert ended.attempts == 1, "being stopped is no failed attempt"
    assert len(await workshop.versions()) == 2
    assert await workshop.statuses() == ["REQUESTED", "RUNNING", "SUCCEEDED"]


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.workers.killed import claim_and_hang
asyncio.run(claim_and_hang(sys.argv[1], Path(sys.argv[2])))
"""


async def test_a_killed_trainer_is_found_dead_and_its_job_taken_over_at_once(workshop: Workshop) -> None:
    await workshop.use(workshop.policy())
    await workshop.ask()
    url = workshop.world.store.url.render_as_string(hide_password=False)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, url, str(workshop.home), cwd=Path(__file__).parents[2]
    )
    await until(workshop.home / "claimed")
    assert not await workshop.trainer().step(), "the job is held by a living process"
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    assert await workshop.trainer().step()
    ended = await workshop.job()
    assert (ended.status.value, ended.attempts) == ("SUCCEEDED", 2)


async def test_a_trainer_that_lost_its_lease_stops_and_writes_nothing(workshop: Workshop) -> None:
    await workshop.use(slow_policy(workshop))
    job = await workshop.ask()
    working = asyncio.create_task(workshop.trainer("first", lease_s=0.3).step())
    await until(workshop.home / "began")
    async with workshop.world.store.write() as session:
        assert await RetrainingRepository(session).cancel(job.job_id)
    async with asyncio.timeout(10):
        assert await working
    assert (await workshop.job()).status.value == "CANCELLED"
    assert len(await workshop.versions()) == 1


async def test_history_that_is_not_closed_makes_the_job_wait(workshop: Workshop) -> None:
    await workshop.use(workshop.policy())
    await workshop.ask()
    trainer = workshop.trainer()
    open_log = InMemoryLog(now_ms=lambda: 10**12)
    await open_log.create_topics(workshop.world.context.topics.specs(1))
    closed, trainer.history = (
        trainer.history,
        Workshop(world=workshop.world, log=open_log, home=workshop.home).trainer().history,
    )
    for _ in range(3):
        assert not await trainer.step()
    waiting = await workshop.job()
    assert (waiting.status.value, waiting.attempts) == ("REQUESTED", 0), "waiting uses up no attempt"
    trainer.history = closed
    assert await trainer.step()
    assert (await workshop.job()).status.value == "SUCCEEDED"
