"""A process without the process: all workers of a deployment, their loops, and what they show."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic

from consumers.health import Health
from consumers.services.figures import Figures
from consumers.services.handlers import CONSUMER, Handlers
from consumers.services.observing import observed
from consumers.services.retraining import RetrainingPipeline
from consumers.workers import shell
from consumers.workers.registry import RegistryWorker
from consumers.workers.relay import Relay
from schemas.clock import from_ms
from tests.services.deployment import Deployment

PATIENCE_S = 20.0


@dataclass(slots=True)
class Process:
    """What a test sees of it."""

    port: int
    health: Health
    figures: Figures
    workers: dict[str, shell.Worker] = field(default_factory=dict)

    async def until(self, came: Callable[[], bool]) -> None:
        """Wait for it, not for ever."""
        for _ in range(round(PATIENCE_S / 0.01)):
            if came():
                return
            await asyncio.sleep(0.01)
        raise TimeoutError(f"it did not come in {PATIENCE_S:g} s")


async def workers_of(where: Deployment) -> dict[str, shell.Worker]:
    """Tally, judge, relay and registry worker."""
    retraining = RetrainingPipeline(
        context=where.context, registry=where.registry, experiments=where.experiments
    )
    handlers = Handlers(
        context=where.context,
        registry=where.registry,
        experiments=where.experiments,
        retraining=retraining,
    )
    return {
        "tally": await where.tally(),
        "judge": where.judge(),
        "relay": Relay(store=where.store, log=where.log, now=lambda: from_ms(where.now_ms)),
        "registry": RegistryWorker(store=where.store, log=where.log, topics=where.topics, handlers=handlers),
    }


@asynccontextmanager
async def process(where: Deployment) -> AsyncIterator[Process]:
    """Every worker of `where` in its loop, shown on a free port of the loopback address."""
    workers, stop, health = await workers_of(where), asyncio.Event(), Health()
    figures = Figures(
        store=where.store,
        log=where.log,
        topics=where.topics,
        probed=health,
        clock=monotonic,
        group=CONSUMER,
        hot_ends=True,
        every_s=0.05,
    )
    async with observed(
        workers=workers,
        health=health,
        figures=figures,
        topics=where.topics,
        now_ms=lambda: where.now_ms,
        host="127.0.0.1",
        port=0,
    ) as port:
        assert port is not None
        async with asyncio.TaskGroup() as group:
            for name, worker in workers.items():
                group.create_task(shell.run(worker, name, poll_s=0.01, stop=stop, observer=health))
            try:
                yield Process(port, health, figures, workers)
            finally:
                stop.set()
