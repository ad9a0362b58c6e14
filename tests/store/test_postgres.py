"""What only PostgreSQL does: it refuses, restarts, times out, detects deadlocks, sorts by locales."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text

from consumers.store.engine import Store, open_store, retried
from consumers.store.errors import (
    SchemaMismatch,
    StoreConflict,
    StoreMisconfigured,
    StoreRefused,
    StoreUnavailable,
)
from consumers.store.faults import is_refusal
from consumers.store.repositories.deployment import DeploymentRepository
from consumers.store.repositories.inbox import InboxRepository
from consumers.store.repositories.models import ModelRepository
from consumers.store.repositories.tallies import TallyRepository
from consumers.store.session import WriteSession
from tests.servers.databases import Databases, name_of
from tests.servers.proxy import Proxy
from tests.store.builders import MINUTE, NOW, add_model, progress, version, window_row
from tests.store.test_engine import facts, put
from tests.store.test_locks import cut_off


def elsewhere(url: str, **changes: str) -> str:
    """`url` with another role, host or database."""
    scheme, _, rest = url.partition("://")
    place, _, database = rest.rpartition("/")
    role, _, host = place.rpartition("@")
    parts = {"role": role, "host": host, "database": database, **changes}
    return f"{scheme}://{parts['role']}@{parts['host']}/{parts['database']}"


# ---------------------------------------------------------------- refused, or not there


async def test_a_database_that_does_not_exist_is_refused_and_not_waited_for(pg_url: str) -> None:
    with pytest.raises(StoreRefused, match=r"does not exist.*check the database URL"):
        await open_store(elsewhere(pg_url, database="none_of_this_name"))


async def test_a_role_that_may_not_log_in_is_refused_without_telling_its_password(
    pg_url: str, postgres: Databases
) -> None:
    role = f"locked_out_{name_of(pg_url)}"
    postgres.run(f'CREATE ROLE "{role}" NOLOGIN')
    try:
        with pytest.raises(StoreRefused) as caught:
            await open_store(elsewhere(pg_url, role=f"{role}:sesame"))
    finally:
        postgres.run(f'DROP ROLE "{role}"')
    assert "sesame" not in str(caught.value)
    assert isinstance(caught.value, StoreMisconfigured)


async def test_a_role_without_the_right_to_make_tables_is_told_so(pg_url: str, postgres: Databases) -> None:
    role = f"reader_{name_of(pg_url)}"
    postgres.run(f'CREATE ROLE "{role}" LOGIN')
    try:
        with pytest.raises(StoreRefused, match=r"permission denied for schema public.*grants"):
            await open_store(elsewhere(pg_url, role=role), migrate=True)
    finally:
        postgres.run(f'DROP ROLE "{role}"')


async def test_an_option_that_the_driver_does_not_know_is_refused(pg_url: str) -> None:
    with pytest.raises(StoreRefused, match="no_such_option"):
        await open_store(f"{pg_url}?no_such_option=1")


async def test_a_server_without_tls_is_refused_by_who_asks_for_it() -> None:
    async def no(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(b"N")
        writer.close()

    async with await asyncio.start_server(no, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(StoreRefused, match=f"127.0.0.1:{port} refuses.*rejected SSL upgrade"):
            await open_store(f"postgresql://me:sesame@127.0.0.1:{port}/store?sslmode=require")


@pytest.mark.parametrize(
    ("sqlstate", "refused"),
    [("28P01", True), ("28000", True), ("3D000", True), ("42501", True), ("57P03", False), ("53300", False)],
)
def test_a_wrong_password_is_refused_and_a_server_that_starts_is_not(sqlstate: str, refused: bool) -> None:
    assert is_refusal(sqlstate) == refused


async def test_an_option_of_the_url_is_the_servers(postgresql_url: str) -> None:
    store = await open_store(f"{postgresql_url}?sslmode=prefer&statement_timeout=1234ms")
    async with store.write() as session:
        assert (await session.execute(text("SHOW statement_timeout"))).scalar() == "1234ms"
        assert (await session.execute(text("SHOW lock_timeout"))).scalar() == "30s"
        assert (await session.execute(text("SHOW application_name"))).scalar() == "lifecycle"
    await store.dispose()


@pytest.mark.parametrize(
    ("host", "said"),
    [("no-such-host.invalid", "no-such-host.invalid:5432 is not known"), ("127.0.0.1:1", "127.0.0.1:1")],
)
async def test_a_server_that_is_not_there_is_waited_for(pg_url: str, host: str, said: str) -> None:
    with pytest.raises(StoreUnavailable, match=said):
        await open_store(elsewhere(pg_url, host=host))


async def test_a_database_behind_on_migrations_says_what_to_run(pg_url: str, postgresql_url: str) -> None:
    with pytest.raises(SchemaMismatch, match=r"holds no tables yet.*lifecycle init"):
        await open_store(pg_url)
    store = await open_store(postgresql_url)
    async with store.write() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    with pytest.raises(SchemaMismatch, match=r"has schema 0001.*lifecycle init"):
        await store.check_schema()
    async with store.write() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaMismatch, match="newer release"):
        await store.check_schema()
    await store.dispose()


# ---------------------------------------------------------------- lost on the way


async def test_a_server_that_comes_back_costs_no_work(pg_store: Store, postgresql_url: str) -> None:
    await put(pg_store, "before")
    await cut_off(postgresql_url)
    await put(pg_store, "after")  # the pool asked its connections first
    assert set(await facts(pg_store)) == {"before", "after"}


async def test_a_connection_lost_in_a_transaction_is_unavailable_and_nothing_is_written(
    pg_store: Store, postgresql_url: str
) -> None:
    async def lose() -> None:
        async with pg_store.write() as session:
            await DeploymentRepository(session).put_once("lost", 1)
            await cut_off(postgresql_url)

    with pytest.raises(StoreUnavailable):
        await lose()
    await put(pg_store, "after")
    assert set(await facts(pg_store)) == {"after"}


async def test_a_network_that_swallows_everything_is_given_up_and_then_works(postgresql_url: str) -> None:
    host = elsewhere(postgresql_url).partition("@")[2].rpartition("/")[0]
    with Proxy(host) as proxy:
        store = await open_store(elsewhere(postgresql_url, host=proxy.address), statement_timeout_s=0.5)
        store_patience_s = 0.5 + 5 + 5  # the statement, its answer, and the connection's end

        async def fall_silent() -> None:
            async with store.write() as session:
                await DeploymentRepository(session).put_once("lost", 1)
                proxy.blackhole()
                await DeploymentRepository(session).put_once("too", 1)

        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await fall_silent()
        assert time.monotonic() - started < store_patience_s
        proxy.heal()
        await put(store, "after")
        assert set(await facts(store)) == {"after"}
        await store.dispose()


# ---------------------------------------------------------------- limits and conflicts


async def test_a_statement_that_takes_too_long_is_unavailable(postgresql_url: str) -> None:
    store = await open_store(postgresql_url, statement_timeout_s=0.1)

    async def slow() -> None:
        async with store.write() as session:
            await session.execute(text("SELECT pg_sleep(5)"))

    with pytest.raises(StoreUnavailable, match="statement timeout"):
        await slow()
    await put(store, "after")
    await store.dispose()


async def test_a_lock_is_waited_for_less_long_than_a_statement(postgresql_url: str) -> None:
    store = await open_store(postgresql_url, statement_timeout_s=0.4)

    async def late() -> None:
        async with store.write() as session:
            await session.lock("model/m")

    async with store.write() as session:
        await session.lock("model/m")
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            await asyncio.create_task(late())
    await late()
    await store.dispose()


async def test_a_process_that_stops_in_a_transaction_is_given_up_and_a_reader_is_not(
    postgresql_url: str,
) -> None:
    store = await open_store(postgresql_url, statement_timeout_s=0.1)

    async def stop() -> None:
        async with store.write() as session:
            await DeploymentRepository(session).put_once("lost", 1)
            await asyncio.sleep(0.5)
            await DeploymentRepository(session).put_once("too", 1)

    with pytest.raises(StoreUnavailable):
        await stop()
    async with store.read() as reading:
        assert await DeploymentRepository(reading).all() == {}
        await asyncio.sleep(0.5)
        assert await DeploymentRepository(reading).all() == {}
    await store.dispose()


Work = Callable[[WriteSession], Awaitable[None]]


def crossing(first: str, second: str, met: asyncio.Barrier) -> Work:
    """Takes two locks, in an order that another one takes the other way round."""
    begun = False

    async def work(session: WriteSession) -> None:
        nonlocal begun
        await session.lock(first)
        if not begun:
            begun = True
            await met.wait()
        await session.lock(second)
        await DeploymentRepository(session).put_once(f"{first}{second}", 1)

    return work


async def once(store: Store, work: Work) -> None:
    async with store.write() as session:
        await work(session)


async def test_of_two_in_a_deadlock_one_gives_way_at_once_and_nothing_of_it_stays(pg_store: Store) -> None:
    met = asyncio.Barrier(2)
    orders = (crossing("a", "b", met), crossing("b", "a", met))
    results = await asyncio.gather(*(once(pg_store, order) for order in orders), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["NoneType", "StoreConflict"]
    assert len(await facts(pg_store)) == 1


async def test_an_order_that_was_in_the_way_is_carried_out_after_all(pg_store: Store) -> None:
    met = asyncio.Barrier(2)
    orders = (crossing("a", "b", met), crossing("b", "a", met))
    await asyncio.gather(*(retried(pg_store, order) for order in orders))
    assert set(await facts(pg_store)) == {"ab", "ba"}


async def test_an_order_is_repeated_a_few_times_only(pg_store: Store) -> None:
    tried = 0

    async def never(session: WriteSession) -> None:
        nonlocal tried
        tried += 1
        raise StoreConflict("always")

    with pytest.raises(StoreConflict):
        await retried(pg_store, never)
    assert tried == 4


async def test_a_migration_under_way_costs_the_others_one_repetition(postgresql_url: str) -> None:
    store = await open_store(postgresql_url)
    await put(store, "before")
    async with store.write() as session:
        await session.execute(text("ALTER TABLE deployment ADD COLUMN later int"))
        await session.execute(text("ALTER TABLE deployment ALTER COLUMN value TYPE varchar"))

    async def read_again(session: WriteSession) -> object:
        return await DeploymentRepository(session).all()

    assert await retried(store, read_again) == {"before": 1}
    await store.dispose()


# ---------------------------------------------------------------- other data than SQLite's


async def test_names_sort_by_their_bytes_whatever_the_locale(postgres: Databases) -> None:
    made = postgres.create()
    name = name_of(made)
    postgres.drop(made)
    postgres.run(f"CREATE DATABASE \"{name}\" LOCALE_PROVIDER icu ICU_LOCALE 'en' TEMPLATE template0")
    store = await open_store(made, migrate=True)
    names = ["B", "Z-1", "Za", "_x", "a", "a b", "ab", "é", "😀"]
    try:
        async with store.write() as session:
            assert (await session.execute(text("SELECT 'a' < 'B'"))).scalar(), "the locale has its say"
            for one in reversed(names):
                await add_model(session, version("1", model=one), name=one)
            rows = [window_row(0, model=one) for one in names]
            await TallyRepository(session).insert_closed(rows, [], progress(0, 0), now=NOW)
        async with store.read() as reading:
            assert [model.name for model in await ModelRepository(reading).list_models()] == names
            assert await TallyRepository(reading).models_with_rows(0) == names
            assert [row.key.model async for row in TallyRepository(reading).all_rows()] == names
    finally:
        await store.dispose()
        postgres.drop(made)


async def test_a_reason_with_a_nul_is_kept_and_stops_nobody(store: Store) -> None:
    async with store.write() as session:
        inbox = InboxRepository(session)
        await inbox.first_time("registry", "e-1", NOW)
        await inbox.set_result("registry", "e-1", "refused: a\0b")
        assert await inbox.result("registry", "e-1") == "refused: a\ufffdb"


async def test_many_rows_are_counted_as_they_are_inserted(store: Store) -> None:
    rows = [window_row(start * MINUTE) for start in range(2_500)]
    async with store.write() as session:
        tallies = TallyRepository(session)
        await tallies.insert_closed(rows[:1_500], [], progress(0, 0), now=NOW)
        assert await tallies.insert_closed(rows, [], progress(0, 0), now=NOW) == []
        assert (await tallies.counts()).inputs == 2_500
