"""Orders of the control plane on a real broker: each has its effect once, and none is lost."""

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from consumers.log.embedded import EmbeddedLog
from consumers.log.port import LogRecord, LogUnavailable, NewRecord, UnknownTopic
from consumers.services.results import FAILED
from consumers.store.errors import StoreMisconfigured, StoreUnavailable
from consumers.store.repositories.retraining import RetrainingRepository
from consumers.workers.agents import AgentsEnded
from schemas.topics import Topics
from tests.services.world import World
from tests.workers.agents_crew import Crew, Effects, crew_on, effects, now_ms, until


@pytest.fixture
async def crew(registry_world: World, kafka: str, topic_prefix: str) -> AsyncIterator[Crew]:
    await registry_world.with_production()
    async with crew_on(registry_world, kafka, topic_prefix) as made:
        yield made


def failing(times: int, error: Exception, on: str = "") -> Callable[[LogRecord], None]:
    """Raises `error` the first `times` that a record holds `on`."""
    left = [times]

    def before(record: LogRecord) -> None:
        if left[0] and on.encode() in (record.value or b""):
            left[0] -= 1
            raise error

    return before


async def dead_letters(crew: Crew) -> list[str]:
    """The reasons, in order."""
    found = [row for row in await crew.where.promised() if row.topic == crew.topics.dead_letter]
    return [dict(row.headers)["reason"].decode() for row in found]


async def test_an_event_that_is_delivered_twice_has_its_effect_once(crew: Crew) -> None:
    await crew.ask(["r1", "r2", "r1"])
    worker = crew.worker()
    await until(lambda: worker.results.total() == 3, worker)
    assert worker.results == {"job": 2, "duplicate": 1}
    async with crew.where.store.read() as session:
        assert len(await RetrainingRepository(session).list()) == 2
    await worker.close()
    assert await crew.position() == 3


async def test_a_worker_that_was_closed_leaves_its_partitions_at_once(crew: Crew) -> None:
    await crew.ask(["r1"])
    first, second = crew.worker(), crew.worker()
    await until(lambda: first.results.total() == 1, first)
    await first.close()
    await first.close()
    await crew.ask(["r2"])
    # the session timeout is 6 s: nobody waits for it
    await until(lambda: second.results.total() == 1, second, within_s=5)
    assert second.results == {"job": 1}


async def test_what_the_records_say_is_dead_lettered_and_the_partition_goes_on(crew: Crew) -> None:
    await crew.append(b"\xff")
    await crew.append(None)
    await crew.ask(["r1"])
    worker = crew.worker()
    await until(lambda: worker.results.total() == 3, worker)
    assert worker.results == {"invalid": 2, "job": 1}
    assert len(await dead_letters(crew)) == 2


async def test_a_store_that_is_away_is_waited_for(crew: Crew) -> None:
    await crew.ask(["r1", "r2"])
    worker = crew.worker(crew.effects(before=failing(2, StoreUnavailable("planned"))))
    await until(lambda: worker.results.total() == 2, worker)
    assert await effects(crew.where) == ["r1", "r2"]
    assert worker.results == {"done": 2}


async def test_a_handler_that_raises_has_its_event_dead_lettered_with_the_reason(crew: Crew) -> None:
    await crew.ask(["r1", "r2", "r3"])
    worker = crew.worker(crew.effects(before=failing(1, ValueError("odd\nnumber \ud800"), on="r2")))
    await until(lambda: worker.results.total() == 3, worker)
    assert worker.results == {"done": 2, FAILED: 1}
    assert await effects(crew.where) == ["r1", "r3"]
    assert await dead_letters(crew) == ["ValueError: odd number ?"]
    await worker.close()
    assert await crew.position() == 3


async def test_when_all_events_fail_the_worker_ends_and_keeps_the_rest(crew: Crew) -> None:
    await crew.ask(["r1", "r2", "r3", "r4"])
    worker = crew.worker(crew.effects(before=failing(9, ValueError("ours"))), failures_limit=3)
    with pytest.raises(AgentsEnded, match="3 events failed in a row: ValueError: ours"):
        await until(lambda: False, worker)
    await worker.close()
    assert len(await dead_letters(crew)) == 2
    assert await crew.position() == 2
    second = crew.worker(crew.effects())
    await until(lambda: second.results.total() == 2, second)
    assert await effects(crew.where) == ["r3", "r4"]


async def test_a_store_that_a_person_has_to_mend_ends_the_worker_and_costs_no_event(crew: Crew) -> None:
    await crew.ask(["r1"])
    worker = crew.worker(crew.effects(before=failing(1, StoreMisconfigured("wrong password"))))
    with pytest.raises(StoreMisconfigured):
        await until(lambda: False, worker)
    await worker.close()
    assert await crew.position() is None
    assert await dead_letters(crew) == []


async def test_a_client_that_crashed_ends_the_worker(crew: Crew) -> None:
    worker = crew.worker()
    await worker.step()
    assert worker._app is not None
    assert worker._thread is not None
    await worker._thread.run(worker._app.crash(LogUnavailable("brokers", "gone")), 5)
    with pytest.raises(AgentsEnded, match="LogUnavailable: the log brokers is unavailable: gone"):
        await worker.step()


async def test_topics_that_do_not_exist_are_refused_before_anything_runs(crew: Crew) -> None:
    worker = crew.worker()
    worker.topics = Topics(f"{crew.topics.prefix}none.")
    with pytest.raises(UnknownTopic, match="drift-detected"):
        await worker.step()
    await worker.close()


async def test_closing_gives_back_an_event_whose_store_is_away(crew: Crew) -> None:
    await crew.ask(["r1"])
    worker = crew.worker(crew.effects(before=failing(99, StoreUnavailable("planned"))))
    await until(lambda: bool(worker._waiting), worker)
    began = asyncio.get_running_loop().time()
    await worker.close()
    assert asyncio.get_running_loop().time() - began < 3
    second = crew.worker(crew.effects())
    await until(lambda: second.results.total() == 1, second)
    assert await effects(crew.where) == ["r1"]


async def test_handlers_get_the_same_record_from_every_engine(crew: Crew, tmp_path: Path) -> None:
    lot = random.Random(4)
    times = [0, 1, 999, 1_700_000_000_001, *(lot.randrange(1_700_000_000_000) for _ in range(200))]
    headers = (("ce_id", b"r1"), ("ce_id", b"again"), ("ce_type", b""))
    sent = [
        NewRecord(
            topic=crew.topics.retrain_requested,
            key=(None, b"", b"k\xff")[number % 3],
            value=(b"\x00\xff", b"", None)[number % 3],
            timestamp_ms=at_ms,
            headers=headers[: number % 4],
            partition=0,
        )
        for number, at_ms in enumerate(times)
    ]
    await crew.log.append(sent)
    got: list[LogRecord] = []

    class Listening(Effects):
        async def handle(self, _session: object, record: LogRecord) -> str:
            got.append(record)
            return "heard"

    plain = crew.effects()
    worker = crew.worker(
        Listening(
            context=plain.context,
            registry=plain.registry,
            experiments=plain.experiments,
            retraining=plain.retraining,
        )
    )
    await until(lambda: len(got) == len(sent), worker)
    assert got == await crew.log.read(crew.topics.retrain_requested, 0, 0, len(sent))
    log = await EmbeddedLog.open(tmp_path / "log.db", now_ms=now_ms)
    try:
        await log.create_topics(crew.topics.specs(1))
        await log.append(sent)
        embedded = await log.read(crew.topics.retrain_requested, 0, 0, len(sent))
    finally:
        await log.close()
    # Kafka keeps one time, so the log's own clock is the only difference
    assert got == [record._replace(appended_ms=record.timestamp_ms) for record in embedded]


@pytest.mark.slow
async def test_nothing_is_lost_or_done_twice_while_partitions_change_hands(
    registry_world: World, kafka: str, topic_prefix: str
) -> None:
    ids = [f"r{number:03}" for number in range(300)]
    async with crew_on(registry_world, kafka, topic_prefix, partitions=4) as crew:
        lot = random.Random(5)

        def before(_: LogRecord) -> None:
            if lot.random() < 0.05:
                raise StoreUnavailable("planned")

        workers = [crew.worker(crew.effects(before=before, inside_s=0.02)) for _ in range(2)]
        asked = 0
        while asked < len(ids):
            await crew.ask(ids[asked : asked + 50], partitions=4)
            asked += 50
            for worker in workers:
                await worker.step()
            leaving = workers.pop(0)
            await asyncio.sleep(lot.random())
            await leaving.close()
            workers.append(crew.worker(crew.effects(before=before, inside_s=0.02)))
        async with asyncio.timeout(60):
            while len(await effects(crew.where)) < len(ids):
                for worker in workers:
                    await worker.step()
                await asyncio.sleep(0.05)
        assert await effects(crew.where) == ids
        # a worker that left in haste may not have said how far it was: what it did comes again, for nothing
        last = crew.worker(crew.effects())
        async with asyncio.timeout(60):
            while sum([await crew.position(partition) or 0 for partition in range(4)]) < len(ids):
                for worker in (*workers, last):
                    await worker.step()
                await asyncio.sleep(0.05)
        for worker in crew.workers:
            await worker.close()
        assert sum([await crew.position(partition) or 0 for partition in range(4)]) == len(ids)
        assert sum(worker.results["done"] for worker in crew.workers) == len(ids)


async def process(
    home: Path, store_url: str, kafka: str, prefix: str, inside_s: float
) -> asyncio.subprocess.Process:
    """A registry worker of its own, with an event in hand."""
    code = (
        "import asyncio, pathlib, sys; from tests.workers.agents_crew import work; "
        "asyncio.run(work(pathlib.Path(sys.argv[1]), *sys.argv[2:5], float(sys.argv[5])))"
    )
    arguments = (str(home), store_url, kafka, prefix, str(inside_s))
    started = await asyncio.create_subprocess_exec(sys.executable, "-W", "error", "-c", code, *arguments)
    async with asyncio.timeout(30):
        while not await asyncio.to_thread((home / "in-hand").exists):
            assert started.returncode is None
            await asyncio.sleep(0.02)
    return started


@pytest.mark.slow
async def test_a_worker_killed_in_the_middle_of_an_event_loses_and_repeats_nothing(
    registry_world: World, url: str, kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with crew_on(registry_world, kafka, topic_prefix) as crew:
        await crew.ask(["r1", "r2", "r3", "r4"])
        killed = await process(tmp_path, url, kafka, topic_prefix, 0.5)
        for _ in range(1_000):
            if len(await effects(registry_world)) >= 2:
                break
            await asyncio.sleep(0.02)
        killed.kill()
        await killed.wait()
        had = await effects(registry_world)
        assert 2 <= len(had) < 4
        second = crew.worker(crew.effects())
        await until(lambda: second.results["done"] == 4 - len(had), second)
        assert await effects(registry_world) == ["r1", "r2", "r3", "r4"]


@pytest.mark.slow
async def test_a_worker_that_is_asked_to_end_finishes_the_event_in_hand(
    registry_world: World, url: str, kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    async with crew_on(registry_world, kafka, topic_prefix) as crew:
        await crew.ask(["r1", "r2"])
        asked = await process(tmp_path, url, kafka, topic_prefix, 1.0)
        asked.send_signal(signal.SIGTERM)
        async with asyncio.timeout(8):
            assert await asked.wait() == 0
        assert await effects(registry_world) == ["r1"]
        assert await crew.position() == 1
        second = crew.worker(crew.effects())
        await until(lambda: second.results.total() == 1, second, within_s=5)
        assert second.results == {"done": 1}
        assert await effects(registry_world) == ["r1", "r2"]
