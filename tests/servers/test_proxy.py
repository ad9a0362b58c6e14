"""The proxy delays, cuts, refuses and falls silent, and heals."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from tests.servers.proxy import Proxy

SILENCE_S = 0.2
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """Before a server that sends back what it gets, and ends when its client does."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1 << 16):
            writer.write(chunk)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    with Proxy(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") as started:
        yield started
    server.close()


async def connect(proxy: Proxy) -> Connection:
    host, _, port = proxy.address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def echoes(connection: Connection, text: bytes = b"word") -> bool:
    reader, writer = connection
    writer.write(text)
    return await reader.readexactly(len(text)) == text


async def test_everything_passes_and_arrives_before_the_end(proxy: Proxy) -> None:
    reader, writer = await connect(proxy)
    sent = bytes(range(256)) * 40_000
    writer.write(sent)
    writer.write_eof()
    assert await reader.read(-1) == sent
    writer.close()


async def test_a_delay_counts_each_way_and_not_per_byte(proxy: Proxy) -> None:
    connection = await connect(proxy)
    proxy.delay(0.1)
    started = time.monotonic()
    assert await echoes(connection, b"x" * 1_000_000)
    assert 0.2 <= time.monotonic() - started < 2
    connection[1].close()


async def test_a_cut_resets_connections_and_lets_new_ones_in(proxy: Proxy) -> None:
    reader, writer = await connect(proxy)
    assert await echoes((reader, writer))
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    writer.close()
    again = await connect(proxy)
    assert await echoes(again)
    again[1].close()


async def test_a_refusal_lasts_until_it_heals(proxy: Proxy) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await connect(proxy)
    proxy.heal()
    connection = await connect(proxy)
    assert await echoes(connection)
    connection[1].close()


async def test_a_black_hole_keeps_connections_and_holds_their_bytes_back(proxy: Proxy) -> None:
    old = await connect(proxy)
    assert await echoes(old)
    proxy.blackhole()
    both = [old, await connect(proxy)]
    waiting = [asyncio.create_task(echoes(connection)) for connection in both]
    await asyncio.sleep(SILENCE_S)
    assert not any(task.done() for task in waiting)
    proxy.heal()
    assert await asyncio.gather(*waiting) == [True, True]
    for _, writer in both:
        writer.close()


async def test_a_server_that_is_down_is_a_reset_for_its_client(proxy: Proxy) -> None:
    proxy.upstream = "127.0.0.1:1"

    async def use() -> None:
        reader, writer = await connect(proxy)
        with contextlib.closing(writer):
            await reader.read(1)

    # sometimes before the client knows that it is connected
    with pytest.raises(ConnectionResetError):
        await use()
