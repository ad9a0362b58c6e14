"""PostgreSQL of the tests: databases of one's own, and servers that die and come back."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.servers.child import await_end
from tests.servers.postgres import PostgresServer
from tests.servers.sources import or_refuse

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with or_refuse(), PostgresServer() as started:
        yield started


async def ask(url: str, *statements: str) -> object:
    """What the last statement answers."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements[:-1]:
            await connection.execute(statement)
        return await connection.fetchval(statements[-1])
    finally:
        await connection.close()


async def test_a_test_s_database_is_empty_and_its_own(pg_url: str) -> None:
    tables = await ask(pg_url, "CREATE TABLE mine (id int)", "SELECT count(*) FROM pg_stat_user_tables")
    assert tables == 1


async def test_a_database_copies_its_template(server: PostgresServer) -> None:
    template = server.create_database()
    await ask(template, "CREATE TABLE t AS SELECT 7 AS n", "SELECT 1")
    copies = [server.create_database(template) for _ in range(2)]
    await ask(copies[0], "DELETE FROM t", "SELECT 1")
    assert await ask(copies[1], "SELECT n FROM t") == 7


async def test_what_was_committed_survives_a_kill(server: PostgresServer) -> None:
    url = server.create_database()
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE t (n int)")
    await connection.execute("INSERT INTO t VALUES (1)")
    server.kill()
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError)):
        await connection.execute("INSERT INTO t VALUES (2)")
    with pytest.raises(ConnectionRefusedError):
        await asyncpg.connect(url)
    server.start()
    assert await ask(url, "SELECT count(*) FROM t") == 1


async def test_a_restart_breaks_connections_and_keeps_the_address(server: PostgresServer) -> None:
    connection = await asyncpg.connect(server.url)
    server.restart()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.execute("SELECT 1")
    assert await ask(server.url, "SELECT 1") == 1


async def test_a_dropped_database_takes_its_connections_along(server: PostgresServer) -> None:
    url = server.create_database()
    connection = await asyncpg.connect(url)
    server.drop_database(url)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.execute("SELECT 1")


def test_it_outlives_the_thread_that_started_it() -> None:
    server = PostgresServer()
    with or_refuse():
        try:
            thread = threading.Thread(target=server.start)
            thread.start()
            thread.join()
            server.databases.run("SELECT 1")
        finally:
            server.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a child cannot ask to die with its parent")
def test_it_dies_with_its_owner() -> None:
    program = "from tests.servers.postgres import *; print(PostgresServer().start().pid, flush=True); input()"
    owner = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.communicate()
    await_end([pid])
