"""Faust on an event loop of its own, in a thread that the process does not wait for.

Faust's services swallow cancellation while they stop. On the loop of `asyncio.run`, which waits for every
task that it has cancelled, a broker that does not answer would keep the process from ever ending.
"""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")
_SWEEP_S = 1.0


class FaustThread:
    """`await run(…)` has a coroutine of Faust's done over there; `await end()` comes last."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="faust", daemon=True)
        self._thread.start()

    async def run(self, work: Coroutine[Any, Any, Result], within_s: float) -> Result:
        """The result of `work`. Raises TimeoutError, and leaves the work behind, cancelled if it can be."""
        done = asyncio.run_coroutine_threadsafe(work, self._loop)
        async with asyncio.timeout(within_s):
            return await asyncio.wrap_future(done)

    async def end(self) -> None:
        """End the thread. What does not let itself be cancelled is left behind with it."""
        try:
            await self.run(_sweep(), 2 * _SWEEP_S)
        except TimeoutError:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join, _SWEEP_S)
        if not self._thread.is_alive():
            self._loop.close()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()


async def _sweep() -> None:
    """Cancel what Faust has left running. Raises TimeoutError if it goes on nevertheless."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        _, pending = await asyncio.wait(left, timeout=_SWEEP_S)
        if pending:
            raise TimeoutError
