"""The servers of a run, and the network before them: every process under test goes through a proxy."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

import asyncpg

from tests.servers.databases import name_of
from tests.servers.kafka import KafkaCluster
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import Proxy

_FULL = """
CREATE SCHEMA chaos;
CREATE SEQUENCE chaos.refused;
SELECT nextval('chaos.refused');
CREATE FUNCTION chaos.no_space() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM nextval('chaos.refused');
  RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
END $$;
DO $$
DECLARE name text;
BEGIN
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename LOOP
    EXECUTE format('CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON public.%I
                    FOR EACH STATEMENT EXECUTE FUNCTION chaos.no_space()', name);
  END LOOP;
END $$;
"""


@dataclass(slots=True)
class Machines:
    """Brokers, a database server, and a proxy before each. Servers are numbered from 0."""

    brokers: int
    cluster: KafkaCluster = field(init=False)
    postgres: PostgresServer = field(init=False)
    broker_links: list[Proxy] = field(default_factory=list)
    database_link: Proxy | None = None
    database: str = ""
    """URL of the run's database, around the proxy."""
    servers: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever stops a server: they fall one at a time."""

    def __post_init__(self) -> None:
        self.cluster = KafkaCluster(self.brokers)
        self.postgres = PostgresServer()

    async def up(self) -> Self:
        """Start everything. Raises Unavailable."""
        try:
            numbers = self.cluster.numbers
            self.broker_links = [Proxy(self.cluster.address(number)).start() for number in numbers]
            links = zip(numbers, self.broker_links, strict=True)
            self.cluster.advertise({number: link.address for number, link in links})
            await asyncio.gather(
                asyncio.to_thread(self.cluster.start), asyncio.to_thread(self.postgres.start)
            )
            self.database = await asyncio.to_thread(self.postgres.create_database)
            self.database_link = Proxy(urlsplit(self.postgres.url).netloc.rpartition("@")[2]).start()
        except BaseException:
            await self.down()
            raise
        return self

    async def down(self) -> None:
        """End everything at once."""
        for link in [*self.broker_links, *([self.database_link] if self.database_link else [])]:
            await asyncio.to_thread(link.close)
        await asyncio.to_thread(self.cluster.close)
        await asyncio.to_thread(self.postgres.close)

    @property
    def link(self) -> Proxy:
        """Before the database."""
        assert self.database_link is not None
        return self.database_link

    @property
    def proxied_database(self) -> str:
        """For the processes under test."""
        parts = urlsplit(self.database)
        return parts._replace(netloc=f"postgres@{self.link.address}").geturl()

    @property
    def proxied_bootstrap(self) -> str:
        """For the processes under test."""
        return self.cluster.bootstrap

    @property
    def bootstrap(self) -> str:
        """Around the proxies: for the generator and the oracle."""
        return self.cluster.bootstrap_of("BROKERS")

    # ------------------------------------------------------------ faults

    async def kill_broker(self, number: int, down_s: float) -> None:
        async with self.servers:
            name = self.cluster.numbers[number]
            await asyncio.to_thread(self.cluster.kill, name)
            await asyncio.sleep(down_s)
            await asyncio.to_thread(self.cluster.start_broker, name)

    async def roll(self) -> None:
        """Restart one broker after the other, as an upgrade does."""
        for name in self.cluster.numbers:
            async with self.servers:
                await asyncio.to_thread(self.cluster.terminate, name)
                await asyncio.to_thread(self.cluster.start_broker, name)

    async def restart_database(self) -> None:
        async with self.servers:
            await asyncio.to_thread(self.postgres.restart)

    async def kill_database(self, down_s: float) -> None:
        async with self.servers:
            await asyncio.to_thread(self.postgres.kill)
            await asyncio.sleep(down_s)
            await asyncio.to_thread(self.postgres.start)

    async def fill_database(self, for_s: float, patience_s: float) -> int:
        """No room for anything new, as on a full disk; how many statements were refused.

        The server's own error, raised by triggers: a disk that really is full would take the log and the
        other servers of this machine with it. The count is a sequence's, which outlives a rollback.
        """
        began, refused = time.monotonic(), 0
        async with self.servers:
            connection = await asyncpg.connect(self.database, timeout=10)
            try:
                await _patiently(connection, _FULL)
                while time.monotonic() - began < for_s or (
                    not refused and time.monotonic() - began < for_s + patience_s
                ):
                    await asyncio.sleep(0.2)
                    refused = await connection.fetchval("SELECT last_value FROM chaos.refused") - 1
                await _patiently(connection, "DROP SCHEMA chaos CASCADE")
            finally:
                await connection.close()
        return int(refused)

    async def cut_sessions(self) -> int:
        """Have the server end every session of the run's database; how many that were."""
        connection = await asyncpg.connect(self.postgres.url, timeout=10)
        try:
            query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = $1"
            return int(await connection.fetchval(query, name_of(self.database)))
        finally:
            await connection.close()


async def _patiently(connection: asyncpg.Connection, script: str) -> None:
    """Locks on all tables at once can meet those of a transaction that goes the other way round."""
    for _ in range(20):
        try:
            async with connection.transaction():
                await connection.execute(script)
            return
        except asyncpg.DeadlockDetectedError:
            continue
    await connection.execute(script)
