"""A relay that lost its lock in the middle of an append: the last word on a key is still the newest."""

import asyncio
from collections.abc import Sequence

import pytest

from consumers.log.memory import InMemoryLog
from consumers.log.port import LogUnavailable, NewRecord
from consumers.store.engine import Store, open_store
from consumers.store.errors import StoreUnavailable
from consumers.store.repositories.outbox import OutboxRepository
from consumers.workers.relay import Relay
from schemas.logrecords import TopicSpec
from tests.services.world import WALL
from tests.store.test_locks import cut_off

TOPIC = "states"


class Gate(InMemoryLog):
    """Appends to `behind` once it is opened."""

    def __init__(self, behind: InMemoryLog) -> None:
        super().__init__(now_ms=lambda: 10**12)
        self.behind = behind
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def topics(self) -> dict[str, TopicSpec]:
        return await self.behind.topics()

    async def append(self, records: Sequence[NewRecord]) -> list[tuple[int, int]]:
        self.reached.set()
        await self.opened.wait()
        return await self.behind.append(records)


@pytest.fixture
async def log() -> InMemoryLog:
    log = InMemoryLog(now_ms=lambda: 10**12)
    await log.create_topics([TopicSpec(name=TOPIC, partitions=1, cleanup="compact")])
    return log


def relay_of(store: Store, log: InMemoryLog) -> Relay:
    return Relay(store=store, log=log, now=lambda: WALL)


async def promise(store: Store, *values: str, key: bytes = b"m") -> None:
    async with store.write() as session:
        for value in values:
            await OutboxRepository(session).add(
                event_id=value, topic=TOPIC, key=key, value=value.encode(), timestamp_ms=1, now=WALL
            )


async def sent(log: InMemoryLog) -> list[str]:
    return [(record.value or b"").decode() for record in await log.read(TOPIC, 0, 0, 100)]


async def test_a_record_that_lands_late_is_not_the_last_word(
    pg_store: Store, postgresql_url: str, log: InMemoryLog
) -> None:
    elsewhere = await open_store(postgresql_url)
    gate = Gate(log)
    stopped, active = relay_of(pg_store, gate), relay_of(elsewhere, log)
    await promise(pg_store, "m-5")
    await promise(pg_store, "n-1", key=b"n")
    step = asyncio.create_task(stopped.step())
    await gate.reached.wait()
    await cut_off(postgresql_url)
    assert await active.step() == 2
    await promise(elsewhere, "m-6")
    assert await active.step() == 1
    gate.opened.set()
    with pytest.raises(StoreUnavailable):
        await step
    assert await sent(log) == ["m-5", "n-1", "m-6", "m-5", "n-1"]
    assert await stopped.step() == 0
    assert [await active.step(), await active.step(), await stopped.step()] == [2, 0, 0]
    assert (await sent(log))[-2:] == ["n-1", "m-6"]
    await active.close()
    await elsewhere.dispose()


async def test_a_relay_that_becomes_active_says_the_last_words_again_and_once_more_later(
    pg_store: Store, log: InMemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = relay_of(pg_store, log)
    await promise(pg_store, "m-1", "m-2")
    await promise(pg_store, "n-1", key=b"n")
    assert await first.step() == 3
    await first.close()
    before = await sent(log)
    await promise(pg_store, "m-3")
    monkeypatch.setattr("consumers.workers.relay.SILENCE_S", 0)
    second = relay_of(pg_store, log)
    assert await second.step() == 1
    assert await second.step() == 0
    once, more = ["m-2", "n-1"], ["m-2", "n-1", "m-3"]
    assert (await sent(log))[len(before) :] == [*once, *more]
    assert await second.step() == 0
    await second.close()


async def test_an_append_that_does_not_end_is_given_up(
    pg_store: Store, log: InMemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.workers.relay.APPEND_S", 0.05)
    relay = relay_of(pg_store, Gate(log))
    await promise(pg_store, "m-1")
    with pytest.raises(LogUnavailable, match="has not ended for"):
        await relay.step()
    assert not relay.active
