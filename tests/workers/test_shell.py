"""The loop around a worker: waits while something is away, ends for anything else, drains at once."""

import asyncio
from collections.abc import Sequence
from time import monotonic

import pytest

from consumers.store.errors import StaleJudgement, StoreUnavailable
from consumers.workers import shell
from schemas.errors import LogUnavailable, UnknownTopic, UnreadableBatch


class Scripted:
    """A worker whose steps are given: a number of things done, or an error."""

    def __init__(self, script: Sequence[int | Exception], stop: asyncio.Event | None = None) -> None:
        self.script, self.stop, self.steps = list(script), stop, 0
        self.times: list[float] = []
        self.stepped = asyncio.Event()

    async def step(self) -> int:
        self.steps += 1
        self.times.append(monotonic())
        self.stepped.set()
        if not self.script:
            if self.stop is not None:
                self.stop.set()
            return 0
        item = self.script.pop(0)
        if isinstance(item, Exception):
            raise item
        return item


async def test_a_store_or_log_that_is_away_is_waited_for_longer_and_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shell, "FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(shell, "LONGEST_WAIT_S", 0.05)
    stop = asyncio.Event()
    away = [
        StoreUnavailable("locked"),
        LogUnavailable("log.db", "locked"),
        UnreadableBatch("brokers", "t", 0, 1, 2, "damaged"),
    ]
    worker = Scripted([1, *away, 1, StoreUnavailable("locked")], stop)
    await shell.run(worker, "tally", poll_s=0, stop=stop)
    waits = [later - earlier for earlier, later in zip(worker.times, worker.times[1:], strict=False)]
    assert worker.steps == 7
    assert waits[0] < 0.02
    assert [wait >= least for wait, least in zip(waits[1:], [0.02, 0.04, 0.05, 0, 0.02], strict=True)] == [
        True
    ] * 5
    assert waits[5] < 0.04  # success starts the waiting afresh


@pytest.mark.parametrize("error", [ValueError("a defect"), UnknownTopic("x"), StaleJudgement("m", 1)])
async def test_every_other_error_ends_the_worker(error: Exception) -> None:
    worker = Scripted([1, error, 1])
    with pytest.raises(type(error)):
        await shell.run(worker, "tally", poll_s=0, stop=asyncio.Event())
    assert worker.steps == 2


@pytest.mark.parametrize("script", [[0], [StoreUnavailable("locked")]])
async def test_a_waiting_worker_stops_at_once(script: list[int | Exception]) -> None:
    stop = asyncio.Event()
    worker = Scripted(script)
    began = monotonic()
    running = asyncio.create_task(shell.run(worker, "tally", poll_s=60, stop=stop))
    await worker.stepped.wait()
    stop.set()
    await running
    assert worker.steps == 1
    assert monotonic() - began < 0.15


async def test_a_step_that_runs_is_finished_before_it_stops() -> None:
    stop = asyncio.Event()
    done: list[str] = []

    class Slow:
        async def step(self) -> int:
            stop.set()
            await asyncio.sleep(0.01)
            done.append("step")
            return 1

    await shell.run(Slow(), "tally", poll_s=60, stop=stop)
    assert done == ["step"]


async def test_a_worker_that_is_told_to_stop_before_it_starts_does_nothing() -> None:
    stop = asyncio.Event()
    stop.set()
    worker = Scripted([1])
    await shell.run(worker, "tally", poll_s=60, stop=stop)
    assert worker.steps == 0


async def test_settling_goes_on_until_a_whole_round_finds_nothing() -> None:
    # the first worker's last work comes from the second one's
    first, second = Scripted([1, 0, 1, 1, 0]), Scripted([0, 2, 0])
    await shell.settle({"first": first, "second": second})
    assert (first.script, second.script) == ([], [])
