"""What a process shows of itself: its address, and the task that keeps its figures fresh."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry
from prometheus_client.process_collector import ProcessCollector

from consumers.health import Health, serve
from consumers.logger import get_logger
from consumers.services.figures import Figures
from consumers.services.measuring import ProcessMetrics, pulse_of, troubles_of
from schemas.topics import Topics

_log = get_logger("figures")


@asynccontextmanager
async def observed(
    *,
    workers: Mapping[str, object],
    health: Health,
    figures: Figures,
    topics: Topics,
    now_ms: Callable[[], int],
    host: str,
    port: int | None,
) -> AsyncIterator[int | None]:
    """Answer for `workers` while the block lasts; yields the port, None (and nothing runs) without one."""
    if port is None:
        yield None
        return
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(
        ProcessMetrics(workers=workers.values(), health=health, figures=figures, topics=topics, now_ms=now_ms)
    )
    health.expect(*workers)
    pulses = {name: pulse_of(worker) for name, worker in workers.items()}
    health.pulses.update({name: pulse for name, pulse in pulses.items() if pulse is not None})
    troubles = {name: troubles_of(worker) for name, worker in workers.items()}
    health.troubles.update({name: trouble for name, trouble in troubles.items() if trouble is not None})
    async with serve(health, registry, host, port) as bound:
        refreshing = asyncio.create_task(figures.run())
        refreshing.add_done_callback(_say_why)
        try:
            yield bound
        finally:
            refreshing.cancel()
            await asyncio.gather(refreshing, return_exceptions=True)


def _say_why(task: asyncio.Task[None]) -> None:
    """Figures that are not read any more must not end the workers, and must not go unnoticed."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("figures.failed", error=type(error).__name__, message=str(error))
