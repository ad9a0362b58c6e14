"""Opening a store, its transactions, and what happens when the database cannot go on."""

import asyncio
import importlib.util
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text

from consumers.store.engine import Store, open_store
from consumers.store.errors import (
    ConstraintViolated,
    DriverMissing,
    InvalidStoreUrl,
    SchemaMismatch,
    StoreUnavailable,
    Transient,
)
from consumers.store.repositories.deployment import DeploymentRepository
from consumers.store.repositories.profiles import ProfileRepository
from consumers.store.url import store_url


def file_of(url: str) -> str:
    return url.removeprefix("sqlite:///")


async def put(store: Store, key: str, value: object = 1) -> None:
    async with store.write() as session:
        await DeploymentRepository(session).put_once(key, value)


async def facts(store: Store) -> dict[str, object]:
    async with store.read() as session:
        return await DeploymentRepository(session).all()


@pytest.mark.parametrize("spelling", ["{}", "sqlite:///{}", "sqlite+aiosqlite:///{}"])
def test_a_path_is_a_store_url_in_three_spellings(spelling: str) -> None:
    parsed = store_url(spelling.format("/data/store.db"))
    assert (parsed.drivername, parsed.database) == ("sqlite+aiosqlite", "/data/store.db")


@pytest.mark.parametrize("bad", ["mysql://host/db", "sqlite://", "sqlite:///:memory:", ":memory:", "://"])
def test_a_url_of_anything_else_is_refused(bad: str) -> None:
    with pytest.raises(InvalidStoreUrl):
        store_url(bad)


def test_a_postgresql_url_without_its_driver_says_what_is_missing_and_hides_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = "postgresql://me:secret@host/db"
    assert store_url(url).drivername == "postgresql+asyncpg"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DriverMissing, match="asyncpg") as caught:
        store_url(url)
    assert "secret" not in str(caught.value)


async def test_a_block_that_ends_is_committed_and_one_that_raises_is_not(store: Store) -> None:
    await put(store, "kept")

    async def fail() -> None:
        async with store.write() as session:
            await DeploymentRepository(session).put_once("lost", 1)
            raise FileNotFoundError

    with pytest.raises(FileNotFoundError):
        await fail()
    assert await facts(store) == {"kept": 1}


async def test_a_cancelled_block_is_rolled_back_and_the_next_one_works(store: Store) -> None:
    started = asyncio.Event()

    async def hang() -> None:
        async with store.write() as session:
            await DeploymentRepository(session).put_once("lost", 1)
            started.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(hang())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await put(store, "kept")
    assert await facts(store) == {"kept": 1}


async def test_readers_see_their_snapshot_and_wait_for_no_writer(store: Store) -> None:
    await put(store, "before")
    async with store.write() as session, asyncio.timeout(5):
        await DeploymentRepository(session).put_once("during", 2)
        assert await facts(store) == {"before": 1}
    async with store.read() as reading:
        deployment = DeploymentRepository(reading)
        assert await deployment.get("after") is None
        await put(store, "after")
        assert await deployment.get("after") is None
    assert set(await facts(store)) == {"before", "during", "after"}


async def test_a_repository_of_a_read_session_cannot_write(store: Store) -> None:
    async with store.read() as session:
        with pytest.raises(AttributeError):
            await DeploymentRepository(session).put_once("x", 1)  # type: ignore[misc]


async def test_writing_inside_writing_is_refused_at_once(store: Store) -> None:
    async with store.write():
        with pytest.raises(RuntimeError, match="inside"):
            await put(store, "inner")


async def test_many_tasks_write_in_turn(store: Store) -> None:
    await asyncio.gather(*(put(store, f"k{number}", number) for number in range(40)))
    assert len(await facts(store)) == 40


async def test_a_writer_that_takes_too_long_makes_the_others_unavailable(sqlite_url: str) -> None:
    store = await open_store(sqlite_url, busy_timeout_s=0.05)
    async with store.write():
        with pytest.raises(StoreUnavailable, match="another task"):
            await asyncio.create_task(put(store, "waits"))
    await put(store, "after")
    await store.dispose()


async def test_foreign_keys_and_checks_hold(store: Store) -> None:
    async with store.write() as session:
        with pytest.raises(ConstraintViolated):
            await ProfileRepository(session).add(
                model="none", version="1", body=b"{}", digest="0", effective_from_ms=0
            )


async def test_a_database_locked_by_another_program_is_unavailable_and_then_works(sqlite_url: str) -> None:
    store = await open_store(sqlite_url, busy_timeout_s=0.05)
    other = sqlite3.connect(file_of(sqlite_url), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked") as caught:
        await put(store, "waits")
    assert isinstance(caught.value, Transient)
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    assert await facts(store) == {}
    other.execute("ROLLBACK")
    other.close()
    await put(store, "after")
    assert await facts(store) == {"after": 1}
    await store.dispose()


async def test_a_full_disk_is_unavailable_loses_nothing_committed_and_is_survived(file_store: Store) -> None:
    store = file_store

    async def write_beyond_the_end() -> None:
        async with store.write() as session:
            # the limit is this connection's, which the pool hands out again below
            await session.execute(text("PRAGMA max_page_count = 1"))
            await DeploymentRepository(session).put_once("big", "x" * 1_000_000)

    await put(store, "before")
    with pytest.raises(StoreUnavailable, match="full") as caught:
        await write_beyond_the_end()
    assert isinstance(caught.value.__cause__, sqlite3.Error)
    async with store.write() as session:
        await session.execute(text("PRAGMA max_page_count = 1000000"))
        await DeploymentRepository(session).put_once("after", 2)
    assert await facts(store) == {"before": 1, "after": 2}


async def test_a_store_that_is_not_there_is_not_created_by_opening_it(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with pytest.raises(SchemaMismatch, match="lifecycle init") as caught:
        await open_store(str(path))
    assert caught.value.found is None
    assert not path.exists()


async def test_a_folder_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="unable to open"):
        await open_store(str(tmp_path / "missing" / "store.db"), migrate=True)


async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"these are not the pages you are looking for" * 100)
    with pytest.raises(StoreUnavailable, match="not a database"):
        await open_store(str(path))


async def test_a_writer_cancelled_while_it_waits_to_begin_leaves_no_transaction_behind(
    file_store: Store,
) -> None:
    blocker = sqlite3.connect(file_store.url.database or "", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")

    async def write() -> None:
        async with file_store.write():
            pytest.fail("the other one has the lock")

    waiting = asyncio.create_task(write())
    await asyncio.sleep(0.2)
    waiting.cancel()
    await asyncio.sleep(0.05)
    blocker.execute("ROLLBACK")
    blocker.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    for _ in range(3):
        async with file_store.write() as session:
            assert await DeploymentRepository(session).all() == {}
