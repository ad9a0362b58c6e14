"""Idle partitions, locked and full databases: time goes on, and nothing is lost."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from consumers.store.errors import StoreUnavailable
from consumers.workers.shell import settle
from schemas.errors import LogUnavailable
from schemas.events import Event
from tests.services.deployment import (
    LENGTH,
    WALL_MS,
    Deployment,
    deployment,
    outcome,
    prediction,
    profile,
)


async def an_hour(where: Deployment, windows: int = 30) -> None:
    """Records in every window; the last ones stay open."""
    events: list[Event] = []
    for at in range(windows):
        events += [prediction(at, LENGTH * at), outcome(at, LENGTH * at + 900)]
    await where.append(*events)


async def limit_pages(where: Deployment, pages: int) -> None:
    """Let the store's file grow to `pages`, or not at all if it is larger already.

    The limit belongs to the connection, and the pool gives the same one out again.
    """
    async with where.store.write() as session:
        await session.execute(text(f"PRAGMA max_page_count = {pages}"))


def subfolder(folder: Path) -> Path:
    made = folder / "undisturbed"
    made.mkdir()
    return made


async def undisturbed(folder: Path, migrated_file: Path) -> object:
    async with deployment(folder, migrated_file) as where:
        await where.register(profile())
        await an_hour(where)
        await where.tallied()
        return await where.rows(), await where.arrivals()


async def test_an_idle_partition_gets_heartbeats_and_its_windows_close(
    tmp_path: Path, migrated_file: Path
) -> None:
    async with deployment(tmp_path, migrated_file, partitions=2) as where:
        await where.append(prediction(1, WALL_MS), outcome(1, WALL_MS + 900), partition=0)
        worker = await where.tally(heartbeats=True, heartbeat_idle_ms=5_000)
        for _ in range(40):
            where.now_ms += 1_000
            await worker.step()
        due = {key[0]: due_ms for key, (due_ms, _) in (await where.rows(0)).items()}
        assert due == {"input": WALL_MS + LENGTH, "score": WALL_MS + LENGTH + 1_500}
        for topic in (where.topics.predictions, where.topics.outcomes):
            for partition in range(2):
                records = await where.log.read(topic, partition, 0, 100)
                beats = [record for record in records if not record.value]
                # a beat after 5 s of quiet, one second to read it
                assert 5 <= len(beats) <= 8
                assert all(record.timestamp_ms == record.appended_ms for record in beats)
        assert await where.balanced()
        assert await where.divergences() == 0


async def test_a_clock_ahead_of_the_logs_costs_the_heartbeats_only(
    tmp_path: Path, migrated_file: Path
) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        await where.append(prediction(1, WALL_MS - LENGTH), outcome(1, WALL_MS - LENGTH + 900))
        ahead_ms = 3_600_000
        worker = await where.tally(heartbeats=True, heartbeat_idle_ms=5_000)
        right_ms = worker.now_ms
        worker._beats.now_ms = lambda: right_ms() + ahead_ms
        assert await worker.step()
        with capture_logs() as said:
            for _ in range(90):
                where.now_ms += 1_000
                await worker.step()
        assert [line["event"] for line in said].count("tally.clock_ahead") == 2
        assert "this machine's clock is ahead of the log's" in worker.troubles()[0]
        assert await where.log.end(where.topics.predictions, 0) == 1
        ahead_ms = 0
        for _ in range(15):
            where.now_ms += 1_000
            await worker.step()
        assert worker.troubles() == []
        assert await where.log.end(where.topics.predictions, 0) > 1


async def test_one_side_alone_is_beaten_for_while_the_other_has_much_to_read(
    tmp_path: Path, migrated_file: Path
) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        backlog = [prediction(at, WALL_MS - 60_000 + at * LENGTH) for at in range(50)]
        await where.append(*backlog)
        worker = await where.tally(heartbeats=True, heartbeat_idle_ms=5_000, batch_records=1)
        open_windows = []
        for _ in range(45):
            where.now_ms += 1_000
            assert await worker.step()
            (state,) = worker.partitions_state()
            open_windows.append(state.open_windows)
        assert await where.log.end(where.topics.outcomes, 0) > 0
        assert max(open_windows[20:]) < 12, "the backlog closes as it is read"


async def test_without_the_setting_nobody_beats(tmp_path: Path, migrated_file: Path) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        await where.append(prediction(1, WALL_MS), outcome(1, WALL_MS))
        worker = await where.tally()
        for _ in range(10):
            where.now_ms += 10_000
            await worker.step()
        assert await where.log.end(where.topics.predictions, 0) == 1
        assert await where.rows() == {}


@pytest.mark.parametrize("file", ["store.db", "log.db"])
async def test_a_database_that_another_process_locks_is_waited_for(
    file: str, tmp_path: Path, migrated_file: Path
) -> None:
    expected = await undisturbed(subfolder(tmp_path), migrated_file)
    async with deployment(tmp_path, migrated_file, busy_timeout_s=0.1) as where:
        await where.register(profile())
        await an_hour(where)
        worker = await where.tally(batch_records=7, heartbeats=True, heartbeat_idle_ms=0)
        blocker = sqlite3.connect(tmp_path / file, isolation_level=None)
        blocker.execute("BEGIN EXCLUSIVE")
        with pytest.raises((StoreUnavailable, LogUnavailable)) as refused:
            await settle({"tally": worker})
        assert refused.type is (StoreUnavailable if file == "store.db" else LogUnavailable)
        assert "\n" not in str(refused.value)
        blocker.rollback()
        blocker.close()
        worker.settings = type(worker.settings)(batch_records=7)
        await settle({"tally": worker})
        assert (await where.rows(), await where.arrivals()) == expected
        assert await where.balanced()


async def test_a_full_disk_under_the_store_stops_the_worker_and_loses_nothing(
    tmp_path: Path, migrated_file: Path
) -> None:
    expected = await undisturbed(subfolder(tmp_path), migrated_file)
    async with deployment(tmp_path, migrated_file) as where:
        await where.register(profile())
        await an_hour(where)
        worker = await where.tally(batch_records=9)
        await limit_pages(where, 1)
        with pytest.raises(StoreUnavailable, match="full"):
            await settle({"tally": worker})
        assert await where.rows() != expected
        await limit_pages(where, 1_000_000)
        await settle({"tally": worker})
        assert (await where.rows(), await where.arrivals()) == expected
        assert await where.divergences() == 0
        assert await where.balanced()


async def test_a_full_disk_under_the_log_stops_heartbeats_and_relay_and_loses_nothing(
    tmp_path: Path, migrated_file: Path
) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        bad = [record for at in range(40) for record in where.records([prediction(at, LENGTH * at)], None)]
        await where.append(
            *[type(r)(topic=r.topic, key=r.key, value=b"?" * 9_000, timestamp_ms=1) for r in bad]
        )
        await where.tallied()
        connection = where.log._file._connection
        connection.execute("PRAGMA max_page_count = 1")
        with pytest.raises(LogUnavailable, match="full"):
            await where.relayed()
        assert await where.dead_letters() == []
        connection.execute("PRAGMA max_page_count = 1000000")
        await where.relayed()
        assert len(await where.dead_letters()) == 40
