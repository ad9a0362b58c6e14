"""A network that misbehaves: a TCP proxy before one server, with delays, cuts and silence."""

import asyncio
import contextlib
import logging
import socket
import struct
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.servers.places import free_port

T = TypeVar("T")

_log = logging.getLogger(__name__)

_CHUNK_BYTES = 64 * 1024
# Chunks under way per direction: a long delay does not buffer without bounds.
_UNDER_WAY = 256


class Proxy:
    """Passes bytes between its own `address` and `upstream`. All methods may be called from any thread.

    It runs on a thread of its own, so a test's loop may stand still meanwhile.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self._port = free_port()
        self._latency_s = 0.0
        self._flowing = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def connections(self) -> int:
        """How many there are at present."""
        return len(self._tasks)

    def start(self) -> Self:
        """Listen and pass on."""
        self._flowing.set()
        self._thread.start()
        self._do(self._listen())
        return self

    def delay(self, latency_s: float) -> None:
        """Let every byte take so much longer, each way; 0 for no delay. The throughput stays."""
        self._latency_s = latency_s

    def cut(self) -> None:
        """Reset all connections. New ones are welcome."""
        self._do(self._drop())

    def refuse(self) -> None:
        """Reset all connections and refuse new ones, as when the server is down."""
        self._do(self._close())

    def blackhole(self) -> None:
        """Pass nothing any more: connections stay, are even accepted, and nobody ever answers."""
        self._do(self._flow(False))

    def heal(self) -> None:
        """Take back `delay`, `refuse` and `blackhole`; what was held back arrives."""
        self._latency_s = 0.0
        self._do(self._flow(True))
        self._do(self._listen())

    def close(self) -> None:
        if self._thread.is_alive():
            self.refuse()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _flow(self, on: bool) -> None:
        if on:
            self._flowing.set()
        else:
            self._flowing.clear()

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._drop()

    async def _drop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until both sides have ended, one breaks, or it is cut."""
        writers = [writer]
        host, _, port = self.upstream.rpartition(":")
        try:
            await self._flowing.wait()
            there, back = await asyncio.open_connection(host, int(port))
            writers.append(back)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, back))
                pumps.create_task(self._pump(there, writer))
            for one in writers:
                one.close()
                await one.wait_closed()
        except* OSError as broken:
            _log.debug("a connection to %s broke: %s", self.upstream, broken.exceptions)
        finally:
            # whoever is still connected sees a reset
            for one in writers:
                _reset(one)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction: chunks wait in line until each is due."""
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_UNDER_WAY)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._read(reader, line))
            both.create_task(self._write(line, writer))

    async def _read(self, reader: asyncio.StreamReader, line: "asyncio.Queue[tuple[float, bytes]]") -> None:
        chunk = b"-"
        while chunk:
            chunk = await reader.read(_CHUNK_BYTES)
            await line.put((self._loop.time() + self._latency_s, chunk))

    async def _write(self, line: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
        while True:
            due, chunk = await line.get()
            await asyncio.sleep(due - self._loop.time())
            await self._flowing.wait()
            if not chunk:  # it has ended, and the other direction may go on
                with contextlib.suppress(OSError):
                    writer.write_eof()
                return
            writer.write(chunk)
            await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection by a reset instead of an orderly end; nothing happens to one that has ended."""
    if not writer.transport.is_closing():
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
