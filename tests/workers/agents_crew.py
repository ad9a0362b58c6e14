"""Registry workers on a real broker, in this process and in others that are killed."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from consumers.log.kafka import KafkaLog
from consumers.log.port import LogRecord
from consumers.services.handlers import Handlers
from consumers.settings import KafkaSettings
from consumers.store.repositories.inbox import InboxRepository
from consumers.store.repositories.outbox import OutboxRepository
from consumers.store.session import WriteSession
from consumers.workers.agents import RegistryAgents
from consumers.workers.shell import run
from schemas import Topics
from schemas.clock import from_ms
from schemas.codec import decode
from schemas.events import LifecycleEvent, RetrainingTrigger, RetrainRequested
from schemas.logrecords import NewRecord
from schemas.outgoing import record_of
from tests.services.world import MODEL, World, world

EFFECTS = "effects"
"""Topic of the outbox rows that `Effects` makes: one for each time that an event has its effect."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def request(event_id: str) -> RetrainRequested:
    return RetrainRequested(
        event_id=event_id,
        occurred_at=from_ms(9_000),
        model=MODEL,
        version="1",
        trigger=RetrainingTrigger.MANUAL,
        reason="a person asked",
        as_of=from_ms(9_000),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects(Handlers):
    """The inbox before an effect that is not idempotent: a second one would be seen."""

    before: Callable[[LogRecord], None] = lambda _: None
    """May raise."""
    inside_s: float = 0
    """How long the transaction takes after its effect."""

    async def handle(self, session: WriteSession, record: LogRecord) -> str:
        self.before(record)
        event = decode(record.topic, record.value or b"")
        assert isinstance(event, LifecycleEvent)
        if not await InboxRepository(session).first_time("test", event.event_id, self.context.now()):
            return "duplicate"
        await OutboxRepository(session).add(
            event_id=f"{event.event_id}/{os.getpid()}/{time.time_ns()}",
            topic=EFFECTS,
            key=b"",
            value=event.event_id.encode(),
            timestamp_ms=0,
            now=self.context.now(),
        )
        await asyncio.sleep(self.inside_s)
        return "done"


async def effects(where: World) -> list[str]:
    """Ids of the events that had their effect, as often as they had it."""
    return sorted(row.value.decode() for row in await where.promised() if row.topic == EFFECTS)


@dataclass(kw_only=True)
class Crew:
    """A store, a log and the workers that share them."""

    where: World
    log: KafkaLog
    settings: KafkaSettings
    topics: Topics
    workers: list[RegistryAgents] = field(default_factory=list)

    @property
    def group(self) -> str:
        return f"{self.settings.group}.registry"

    def handlers(self) -> Handlers:
        return replace(self.where.handlers, context=replace(self.where.context, topics=self.topics))

    def effects(
        self, *, before: Callable[[LogRecord], None] = lambda _: None, inside_s: float = 0
    ) -> Effects:
        real = self.handlers()
        return Effects(
            context=real.context,
            registry=real.registry,
            experiments=real.experiments,
            retraining=real.retraining,
            before=before,
            inside_s=inside_s,
        )

    def worker(self, handlers: Handlers | None = None, *, failures_limit: int = 20) -> RegistryAgents:
        """One more registry worker; it starts with its first step."""
        made = RegistryAgents(
            store=self.where.store,
            log=self.log,
            topics=self.topics,
            handlers=handlers or self.handlers(),
            settings=self.settings,
            group=self.group,
            failures_limit=failures_limit,
        )
        self.workers.append(made)
        return made

    async def ask(self, ids: Sequence[str], *, partitions: int = 1) -> None:
        records = [record_of(request(each), self.topics, source="test") for each in ids]
        await self.log.append(
            [replace(record, partition=number % partitions) for number, record in enumerate(records)]
        )

    async def append(self, value: bytes | None) -> None:
        record = NewRecord(topic=self.topics.retrain_requested, key=b"k", value=value, timestamp_ms=9_000)
        await self.log.append([record])

    async def position(self, partition: int = 0) -> int | None:
        return await self.log.position(self.group, self.topics.retrain_requested, partition)


async def until(true: Callable[[], bool], worker: RegistryAgents, within_s: float = 30) -> None:
    """Step `worker` until something is `true`."""
    async with asyncio.timeout(within_s):
        while not true():
            await worker.step()
            await asyncio.sleep(0.02)


@asynccontextmanager
async def crew_on(where: World, bootstrap: str, prefix: str, *, partitions: int = 1) -> AsyncIterator[Crew]:
    """A crew whose topics exist; all its workers are closed in the end."""
    # a broker's least session timeout, so that the partitions of a killed worker are soon given to others
    settings = KafkaSettings(bootstrap=bootstrap, group=f"{prefix}g", session_timeout_s=6)
    log = await KafkaLog.open(settings, now_ms=now_ms, prefix=prefix)
    crew = Crew(where=where, log=log, settings=settings, topics=Topics(prefix))
    try:
        await log.create_topics(crew.topics.specs(1, lifecycle_partitions=partitions))
        yield crew
    finally:
        for worker in crew.workers:
            await worker.close()
        await log.close()


async def work(home: Path, store_url: str, bootstrap: str, prefix: str, inside_s: float) -> None:
    """A registry worker's process: it touches `home/in-hand` as soon as it has an event in hand."""

    def in_hand(_: LogRecord) -> None:
        (home / "in-hand").touch()

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with world(store_url) as where, crew_on(where, bootstrap, prefix) as crew:
        worker = crew.worker(crew.effects(before=in_hand, inside_s=inside_s))
        await run(worker, "registry", poll_s=0.1, stop=stop)
