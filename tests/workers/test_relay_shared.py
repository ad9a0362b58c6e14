"""The relay where many write beside each other and the log remembers nothing: PostgreSQL, and a plain log."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from random import Random

import asyncpg
import pytest
from sqlalchemy import TextClause, text

from consumers.log.memory import InMemoryLog
from consumers.log.port import LogRecord, NewRecord
from consumers.store.engine import Store, open_store
from consumers.store.errors import StoreUnavailable
from consumers.store.locks import model_lock
from consumers.store.repositories.outbox import OutboxRepository
from consumers.store.session import WriteSession
from consumers.workers.relay import Relay
from schemas.errors import LogUnavailable
from schemas.logrecords import TopicSpec
from tests.services.world import WALL
from tests.store.test_locks import cut_off

TOPIC = "events"
WRITERS, PROMISES, KEYS = 10, 40, 4
_XID = text("SELECT pg_current_xact_id()")
# the transaction that wrote a row, as its header says
_OLDER_THAN_ALL_THAT_RUN = text(
    "SELECT value FROM outbox "
    "WHERE xmin::text::bigint < pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
)


def _watch_for(milliseconds: int) -> TextClause:
    return text(f"SELECT set_config('idle_session_timeout', '{milliseconds}', false)")


class SlowLog(InMemoryLog):
    """Takes its time."""

    def __init__(self, random: Random) -> None:
        super().__init__(now_ms=lambda: 10**12)
        self.random = random

    async def append(self, records: Sequence[NewRecord]) -> list[tuple[int, int]]:
        await asyncio.sleep(self.random.random() / 500)
        return await super().append(records)


class ForgetfulLog(SlowLog):
    """Knows no sequences, as Kafka does not."""

    append_once = None  # type: ignore[assignment]


async def log_of(random: Random) -> SlowLog:
    log = ForgetfulLog(random)
    await log.create_topics([TopicSpec(name=TOPIC, partitions=1, cleanup="delete")])
    return log


def relay_of(store: Store, log: InMemoryLog, batch: int = 7) -> Relay:
    return Relay(store=store, log=log, now=lambda: WALL, batch=batch)


async def promise(session: WriteSession, key: int, value: str) -> None:
    await OutboxRepository(session).add(
        event_id=value, topic=TOPIC, key=b"%d" % key, value=value.encode(), timestamp_ms=1, now=WALL
    )


async def sent(log: InMemoryLog) -> list[LogRecord]:
    return await log.read(TOPIC, 0, 0, 10_000)


@pytest.mark.parametrize("seed", range(3))
async def test_of_ten_writers_and_late_commits_nothing_is_missed_repeated_or_out_of_order(
    seed: int, pg_store: Store, postgresql_url: str
) -> None:
    random = Random(seed)
    log = await log_of(random)
    writing = await open_store(postgresql_url)
    order: dict[int, list[str]] = {key: [] for key in range(KEYS)}

    async def write(writer: int) -> None:
        for number in range(PROMISES):
            key, name = random.randrange(KEYS), f"{writer}-{number}"
            async with writing.write() as session:
                if random.random() < 0.5:  # has its xid long before its turn
                    await session.execute(_XID)
                await session.lock(model_lock(str(key)))
                await promise(session, key, name)
                await asyncio.sleep(random.random() / 200)  # others with higher ids commit meanwhile
                order[key].append(name)

    relay, done = relay_of(pg_store, log), asyncio.Event()

    async def send() -> None:
        while await relay.step() or not done.is_set():
            pass

    async def write_all() -> None:
        await asyncio.gather(*(write(writer) for writer in range(WRITERS)))
        done.set()

    async with asyncio.timeout(60):
        await asyncio.gather(send(), write_all())
    await relay.close()
    await writing.dispose()
    records = await sent(log)
    assert set(Counter(record.value for record in records).values()) == {1}
    assert len(records) == WRITERS * PROMISES
    for key, names in order.items():
        assert [r.value.decode() for r in records if r.value and r.key == b"%d" % key] == names


async def test_what_was_promised_in_the_knowledge_of_another_never_overtakes_it(pg_store: Store) -> None:
    """The later promise has the older transaction id, and a third transaction between the two still runs.

    A relay that sends only what is older than every running transaction would send the later one first.
    """
    log = await log_of(Random(1))
    async with pg_store.write() as late:
        await late.execute(_XID)

        async def run_between() -> None:
            async with pg_store.write() as running:
                await running.execute(_XID)
                began.set()
                await finished.wait()

        began, finished = asyncio.Event(), asyncio.Event()
        between = asyncio.create_task(run_between())
        await began.wait()

        async def go_first() -> None:
            async with pg_store.write() as early:
                await early.lock(model_lock("1"))
                await promise(early, 1, "first")

        await asyncio.create_task(go_first())
        await late.lock(model_lock("1"))
        await promise(late, 1, "second")
    async with pg_store.write() as session:
        assert (await session.execute(_OLDER_THAN_ALL_THAT_RUN)).scalars().all() == [b"second"]
    relay = relay_of(pg_store, log)
    assert await relay.step() == 2
    assert [record.value for record in await sent(log)] == [b"first", b"second"]
    finished.set()
    await between
    await relay.close()


async def test_one_relay_is_active_and_the_next_goes_on_where_it_stopped(
    pg_store: Store, postgresql_url: str
) -> None:
    await one_after_the_other(pg_store, postgresql_url)


async def test_of_two_relays_on_one_file_and_a_log_that_remembers_nothing_one_waits(
    file_store: Store,
) -> None:
    await one_after_the_other(file_store, str(file_store.url.database))


async def one_after_the_other(store: Store, url: str) -> None:
    log = await log_of(Random(1))
    elsewhere = await open_store(url)
    first, second = relay_of(store, log), relay_of(elsewhere, log)
    async with store.write() as session:
        for number in range(10):
            await promise(session, 1, f"{number}")
    assert [await first.step(), await second.step()] == [7, 0]
    assert [first.active, second.active] == [True, False]
    await first.close()
    assert [await second.step(), await second.step(), await first.step()] == [3, 0, 0]
    assert [record.value for record in await sent(log)] == [b"%d" % number for number in range(10)]
    await second.close()
    await elsewhere.dispose()


async def test_a_relay_that_lost_its_session_sends_nothing_more_under_its_old_lock(
    pg_store: Store, postgresql_url: str
) -> None:
    log = await log_of(Random(1))
    relay = relay_of(pg_store, log)
    assert (await relay.step(), relay.active) == (0, True)
    await cut_off(postgresql_url)
    async with pg_store.write() as session:
        await promise(session, 1, "waits")
    with pytest.raises(StoreUnavailable):
        await relay.step()
    assert (await sent(log), relay.active) == ([], False)
    assert await relay.step() == 1  # it may become the active one again
    await relay.close()


async def test_a_log_that_fails_lets_another_relay_try(pg_store: Store, postgresql_url: str) -> None:
    class Broken(SlowLog):
        async def append(self, records: Sequence[NewRecord]) -> list[tuple[int, int]]:
            raise LogUnavailable("kafka", "planned")

    elsewhere = await open_store(postgresql_url)
    log = await log_of(Random(1))
    first, second = relay_of(pg_store, Broken(Random(1))), relay_of(elsewhere, log)
    async with pg_store.write() as session:
        await promise(session, 1, "one")
    with pytest.raises(LogUnavailable):
        await first.step()
    assert await second.step() == 1
    await second.close()
    await elsewhere.dispose()


async def test_a_relay_that_is_stopped_for_long_is_given_up(
    pg_store: Store, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.store.locks._WATCH", _watch_for(100))
    elsewhere = await open_store(postgresql_url)
    log = await log_of(Random(1))
    first, second = relay_of(pg_store, log), relay_of(elsewhere, log)
    assert [await first.step(), await second.step()] == [0, 0]
    await asyncio.sleep(0.5)  # as if stopped
    await second.step()
    assert second.active
    with pytest.raises(StoreUnavailable):
        await first.step()
    await second.close()
    await elsewhere.dispose()
    connection = await asyncpg.connect(postgresql_url)
    # of this database: other tests have theirs on the same server
    left = await connection.fetchval(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    assert left == 0
    await connection.close()
