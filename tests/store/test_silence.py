"""A database that says nothing any more, behind a network that swallows everything: who is to end, ends."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from consumers.log.memory import InMemoryLog
from consumers.store.engine import Store, open_store
from consumers.store.repositories.deployment import DeploymentRepository
from consumers.workers.relay import Relay
from tests.servers.proxy import Proxy
from tests.services.world import WALL

SOON_S = 3


@pytest.fixture
def network(pg_url: str) -> Iterator[Proxy]:
    parts = urlsplit(pg_url)
    with Proxy(f"{parts.hostname}:{parts.port or 5432}") as proxy:
        yield proxy


@pytest.fixture
async def far_store(pg_url: str, network: Proxy) -> AsyncIterator[Store]:
    parts = urlsplit(pg_url)
    user = parts.netloc.rpartition("@")[0]
    there = parts._replace(netloc=f"{user}@{network.address}" if user else network.address)
    store = await open_store(there.geturl(), migrate=True)
    yield store
    await store.dispose()


async def ends(task: "asyncio.Task[object]") -> None:
    task.cancel()
    await asyncio.wait({task}, timeout=SOON_S)
    assert task.done()
    with suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("hung_s", [0, 0.3])
async def test_a_relay_in_the_middle_of_a_step_ends_when_told_to(
    far_store: Store, network: Proxy, hung_s: float
) -> None:
    relay = Relay(store=far_store, log=InMemoryLog(now_ms=lambda: 10**12), now=lambda: WALL)
    await relay.step()
    assert relay.active
    network.blackhole()
    step = asyncio.create_task(relay.step())
    await asyncio.sleep(hung_s)
    await ends(step)
    began = time.monotonic()
    await relay.close()
    await far_store.dispose()
    assert time.monotonic() - began < SOON_S


async def test_who_has_the_lock_lets_go_of_it_without_an_answer(far_store: Store, network: Proxy) -> None:
    async with far_store.exclusive("relay") as claim:
        assert claim.held
        network.blackhole()
        began = time.monotonic()
    assert time.monotonic() - began < SOON_S


async def test_a_transaction_is_left_and_the_store_closed_without_an_answer(
    far_store: Store, network: Proxy
) -> None:
    async def write(number: int) -> None:
        async with far_store.write() as session:
            await DeploymentRepository(session).put_once(f"{number}", number)
            written[number].set()
            await go_on.wait()
            await DeploymentRepository(session).all()

    written, go_on = [asyncio.Event() for _ in range(5)], asyncio.Event()
    tasks = [asyncio.create_task(write(number)) for number in range(5)]
    for each in written:
        await each.wait()
    network.blackhole()
    await ends(tasks[0])
    go_on.set()
    await asyncio.sleep(0.1)
    await asyncio.gather(*map(ends, tasks[1:]))
    network.heal()
    async with far_store.read() as session:
        assert await DeploymentRepository(session).all() == {}
    network.blackhole()
    began = time.monotonic()
    await far_store.dispose()
    assert time.monotonic() - began < SOON_S
