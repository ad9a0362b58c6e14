"""Locks with names: of a transaction, and of the one process in a deployment that is active."""

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest

from consumers.store.engine import Store, open_store
from consumers.store.errors import StoreUnavailable
from consumers.store.locks import lock_key
from consumers.store.repositories.deployment import DeploymentRepository


def test_a_lock_is_known_by_the_same_number_in_every_release() -> None:
    assert lock_key("relay") == 7_507_424_583_930_357_948
    assert len({lock_key(f"model/{number}") for number in range(10_000)}) == 10_000


async def test_who_has_the_lock_of_a_transaction_is_waited_for_or_not(pg_store: Store) -> None:
    async def other(name: str) -> bool:
        async with pg_store.write() as session:
            return await session.try_lock(name)

    async def wait(order: list[str]) -> None:
        async with pg_store.write() as session:
            await session.lock("model/m")
            order.append("second")

    order: list[str] = []
    async with pg_store.write() as session:
        await session.lock("model/m")
        await session.lock("model/m")
        assert not await asyncio.create_task(other("model/m"))
        assert await asyncio.create_task(other("model/n"))
        waiting = asyncio.create_task(wait(order))
        await asyncio.sleep(0.05)
        order.append("first")
    await waiting
    assert order == ["first", "second"]


async def test_those_who_share_a_lock_are_together_and_nobody_else_is(pg_store: Store) -> None:
    async with pg_store.write() as one:
        await one.lock("closings", shared=True)

        async def share() -> None:
            async with pg_store.write() as two, asyncio.timeout(5):
                await two.lock("closings", shared=True)

        await asyncio.create_task(share())

        async def alone() -> bool:
            async with pg_store.write() as three:
                return await three.try_lock("closings")

        assert not await asyncio.create_task(alone())


async def test_locks_of_transactions_cost_nothing_where_writers_queue(file_store: Store) -> None:
    async with file_store.write() as session:
        await session.lock("model/m")
        assert await session.try_lock("model/m")


async def test_one_process_of_a_deployment_is_the_one_until_it_lets_go(
    pg_store: Store, postgresql_url: str
) -> None:
    elsewhere = await open_store(postgresql_url)
    async with pg_store.exclusive("relay") as first:
        assert first.held
        await first.check()
        async with elsewhere.exclusive("relay") as second, elsewhere.exclusive("cron") as other:
            assert (second.held, other.held) == (False, True)
            with pytest.raises(StoreUnavailable, match="not held"):
                await second.check()
    async with elsewhere.exclusive("relay") as second:
        assert second.held
    await elsewhere.dispose()


async def test_one_deployment_s_lock_is_not_another_s(pg_store: Store, pg_url: str) -> None:
    other = await open_store(pg_url, migrate=True)
    async with pg_store.exclusive("relay") as mine, other.exclusive("relay") as theirs:
        assert (mine.held, theirs.held) == (True, True)
    await other.dispose()


async def test_who_was_cut_off_learns_it_and_the_next_one_is_let_in(
    pg_store: Store, postgresql_url: str
) -> None:
    elsewhere = await open_store(postgresql_url)
    async with pg_store.exclusive("relay") as first:
        await cut_off(postgresql_url)
        async with elsewhere.exclusive("relay") as second:
            assert second.held
            with pytest.raises(StoreUnavailable):
                await first.check()
            assert not first.held
            with pytest.raises(StoreUnavailable, match="not held"):
                await first.check()
            await second.check()
    await elsewhere.dispose()
    async with pg_store.write() as session:  # the pool has forgotten what was cut off
        await DeploymentRepository(session).put_once("after", 1)


async def test_a_lock_is_not_left_behind_in_the_pool(pg_store: Store, postgresql_url: str) -> None:
    async with pg_store.exclusive("relay"):
        pass
    connection = await asyncpg.connect(postgresql_url)
    # the view shows the locks of every database of the server, and other tests have theirs
    left = await connection.fetchval(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    await connection.close()
    assert left == 0


async def test_of_those_on_one_file_one_is_the_one_until_it_lets_go(file_store: Store) -> None:
    elsewhere = await open_store(str(file_store.url.database))
    async with file_store.exclusive("relay") as first:
        assert first.held
        await first.check()
        async with elsewhere.exclusive("relay") as second, elsewhere.exclusive("cron") as other:
            assert (second.held, other.held) == (False, True)
            with pytest.raises(StoreUnavailable, match="not held"):
                await second.check()
    async with elsewhere.exclusive("relay") as second:
        assert second.held
    await elsewhere.dispose()


async def test_a_name_for_the_same_file_is_the_same_lock(file_store: Store, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere"
    link.symlink_to(str(file_store.url.database))
    elsewhere = await open_store(str(link))
    async with file_store.exclusive("relay"), elsewhere.exclusive("relay") as second:
        assert not second.held
    await elsewhere.dispose()


async def test_a_killed_process_leaves_no_lock_on_a_file(file_store: Store) -> None:
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HOLD, str(file_store.url.database), stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    async with file_store.exclusive("relay") as mine:
        assert not mine.held
    holder.kill()
    await holder.wait()
    async with file_store.exclusive("relay") as mine:
        assert mine.held


_HOLD = """
import sys, time
from pathlib import Path
from consumers.store.locks import ExclusiveFile
claim = ExclusiveFile("relay", Path(sys.argv[1]))
claim.take()
print("held" if claim.held else "not held", flush=True)
time.sleep(60)
"""


async def cut_off(url: str) -> None:
    """End every session of the database but this one."""
    connection = await asyncpg.connect(url)
    await connection.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await connection.close()


async def test_a_store_that_is_disposed_of_lets_no_claim_live_on(postgresql_url: str) -> None:
    store, other = await open_store(postgresql_url), await open_store(postgresql_url)
    async with AsyncExitStack() as dropped:
        claim = await dropped.enter_async_context(store.exclusive("relay"))
        assert claim.held
        await store.dispose()
        with pytest.raises(StoreUnavailable):
            await claim.check()
        async with asyncio.timeout(5):
            await _until_free(other)
    await other.dispose()


async def _until_free(store: Store) -> None:
    """The server hears of the end of a session a little later."""
    while True:
        async with store.exclusive("relay") as claim:
            if claim.held:
                return
        await asyncio.sleep(0.05)
