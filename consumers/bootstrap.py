"""The composition root: the only place that names concrete adapters and reads the wall clock.

A deployment is a log, a store, artifacts and settings. On the embedded engine all three lie in one folder,
shared by as many processes as you like; on the service engine the log is Kafka and the store PostgreSQL. Log
and store are chosen by their own settings, so every other part knows nothing of engines.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial

from consumers.artifacts.local import LocalBackend
from consumers.health import Health
from consumers.log.decode import Limits
from consumers.log.embedded import EmbeddedLog
from consumers.log.feed import FixedFeed
from consumers.log.port import EventLog, PartitionFeed
from consumers.log.skips import Skips
from consumers.services.context import ServiceContext
from consumers.services.experiments import ExperimentManager
from consumers.services.handlers import Handlers
from consumers.services.history import HistoricalDataService
from consumers.services.judging import Judging
from consumers.services.pinning import check, check_topics, facts_of, pin, pin_topics
from consumers.services.reconciling import Reconciling
from consumers.services.refolding import Refolding
from consumers.services.registry import Registry
from consumers.services.replaying import Replaying
from consumers.services.retraining import RetrainingPipeline
from consumers.services.schedules import Schedules
from consumers.services.skipping import Skipping, skipped_of
from consumers.services.topics import require_topics, wanted_topics
from consumers.settings import ConfigManager
from consumers.store.engine import Store, open_store
from consumers.workers.judge import JudgeWorker
from consumers.workers.registry import RegistryWorker
from consumers.workers.relay import Relay
from consumers.workers.shell import Worker
from consumers.workers.tally import TallySettings, TallyWorker
from consumers.workers.trainer import Trainer
from domain.windows.policy import WindowPolicy
from schemas.topics import Topics

CLOSE_S = 1.5
WORKERS = ("tally", "judge", "relay", "registry", "trainer")


def now() -> datetime:
    """Wall clock, for `recorded_at` columns, leases and the log's future check; never for a decision."""
    return datetime.now(UTC)


def now_ms() -> int:
    """Wall clock in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, kw_only=True)
class System:
    """One process's view of a deployment."""

    settings: ConfigManager
    log: EventLog
    store: Store
    artifacts: LocalBackend
    skips: Skips = field(default_factory=Skips)

    async def close(self) -> None:
        """Let go of the log and the store, in a second or two even if neither answers."""
        closing = {asyncio.ensure_future(self.store.dispose()), asyncio.ensure_future(self.log.close())}
        _, late = await asyncio.wait(closing, timeout=CLOSE_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*(closing - late))

    @cached_property
    def topics(self) -> Topics:
        return Topics(self.settings.topic_prefix)

    @cached_property
    def windows(self) -> WindowPolicy:
        windows = self.settings.windows
        return WindowPolicy(
            length_ms=windows.length_ms,
            slack_ms=windows.slack_ms,
            grace_ms=windows.grace_ms,
            max_horizon_s=windows.max_horizon_s,
            memory_ms=windows.memory_ms,
        )

    @cached_property
    def limits(self) -> Limits:
        return Limits(future_ms=self.settings.future_ms, max_horizon_s=self.settings.windows.max_horizon_s)

    def context(self, process: str) -> ServiceContext:
        """What the services of `process` share."""
        source = f"lifecycle/{process}"
        return ServiceContext(topics=self.topics, windows=self.windows, source=source, now=now)

    def registry(self, process: str = "cli") -> Registry:
        return Registry(context=self.context(process))

    def experiments(self, process: str = "cli") -> ExperimentManager:
        return ExperimentManager(context=self.context(process), registry=self.registry(process))

    def retraining(self, process: str = "cli") -> RetrainingPipeline:
        return RetrainingPipeline(
            context=self.context(process),
            registry=self.registry(process),
            experiments=self.experiments(process),
        )

    @cached_property
    def history(self) -> HistoricalDataService:
        return HistoricalDataService(
            self.log, self.topics.predictions, self.topics.outcomes, self.windows, self.limits
        )

    @cached_property
    def refolding(self) -> Refolding:
        return Refolding(log=self.log, topics=self.topics, policy=self.windows, limits=self.limits)

    @cached_property
    def replaying(self) -> Replaying:
        return Replaying(store=self.store, refolding=self.refolding)

    @cached_property
    def reconciling(self) -> Reconciling:
        return Reconciling(store=self.store, refolding=self.refolding)

    @cached_property
    def skipping(self) -> Skipping:
        return Skipping(
            store=self.store,
            log=self.log,
            topics=self.topics,
            group=self.settings.group("tally"),
            now=now,
        )

    async def feed(self, partitions: tuple[int, ...] | None = None) -> PartitionFeed:
        """The hot topics for one more tally worker: on Kafka a share of the group's, else `partitions`."""
        settings = self.settings
        if not settings.on_kafka:
            return FixedFeed(self.log, partitions or range(settings.partitions))
        from consumers.log.kafka_feed import KafkaFeed

        return await KafkaFeed.join(
            settings.kafka,
            self.log,
            (self.topics.predictions, self.topics.outcomes),
            settings.group("tally"),
            commit_every_s=min(1.0, settings.poll_interval_s),
            skips=self.skips,
        )

    async def tally(self, partitions: tuple[int, ...] | None = None) -> TallyWorker:
        """A tally worker, opened: topics and window policy are checked. Raises DomainError."""
        settings = self.settings
        worker = TallyWorker(
            log=self.log,
            feed=await self.feed(partitions),
            store=self.store,
            topics=self.topics,
            policy=self.windows,
            limits=self.limits,
            now_ms=now_ms,
            settings=TallySettings(
                batch_records=settings.batch_records,
                dead_letter_limit=settings.dead_letter_limit,
                heartbeats=settings.heartbeats,
                heartbeat_idle_ms=round(settings.heartbeat_idle_s * 1_000),
                # strict reads find nothing only when nothing is there; a feed may be between two fetches
                rest_passes=2 if settings.on_kafka else 1,
            ),
        )
        try:
            await worker.open()
        except BaseException:
            await worker.close()
            raise
        return worker

    def judge(self) -> JudgeWorker:
        judging = Judging(context=self.context("judge"), experiments=self.experiments("judge"))
        return JudgeWorker(store=self.store, judging=judging)

    def relay(self) -> Relay:
        return Relay(store=self.store, log=self.log, now=now)

    def registry_worker(self) -> Worker:
        """The registry worker: Faust agents on Kafka, a reader of the embedded log otherwise."""
        handlers = Handlers(
            context=self.context("registry"),
            registry=self.registry("registry"),
            experiments=self.experiments("registry"),
            retraining=self.retraining("registry"),
        )
        schedules = Schedules(context=handlers.context, store=self.store)
        if not self.settings.on_kafka:
            return RegistryWorker(
                store=self.store, log=self.log, topics=self.topics, handlers=handlers, schedules=schedules
            )
        # half a second of Faust that only this worker needs
        from consumers.workers.agents import RegistryAgents

        return RegistryAgents(
            store=self.store,
            log=self.log,
            topics=self.topics,
            handlers=handlers,
            schedules=schedules,
            settings=self.settings.kafka,
            group=self.settings.group("registry"),
        )

    def trainer(self) -> Trainer:
        settings = self.settings
        return Trainer(
            store=self.store,
            history=self.history,
            artifacts=self.artifacts,
            pipeline=self.retraining("trainer"),
            jobs_path=settings.home / "jobs",
            lease_s=settings.lease_s,
            now=now,
        )

    def observed(
        self, workers: Mapping[str, Worker], health: Health
    ) -> AbstractAsyncContextManager[int | None]:
        """Metrics and health of `workers` while the block lasts, if the settings name a port."""
        from consumers.services.figures import Figures
        from consumers.services.observing import observed

        figures = Figures(
            store=self.store,
            log=self.log,
            topics=self.topics,
            probed=health,
            clock=time.monotonic,
            group=getattr(workers.get("registry"), "group", None),
            hot_ends=not self.settings.on_kafka,
        )
        return observed(
            workers=workers,
            health=health,
            figures=figures,
            topics=self.topics,
            now_ms=now_ms,
            host=self.settings.metrics_host,
            port=self.settings.metrics_port,
        )

    async def worker(self, name: str, partitions: tuple[int, ...] | None = None) -> Worker:
        """The worker of `lifecycle run NAME`."""
        match name:
            case "tally":
                return await self.tally(partitions)
            case "judge":
                return self.judge()
            case "relay":
                return self.relay()
            case "registry":
                return self.registry_worker()
            case "trainer":
                return self.trainer()
            case _:
                raise ValueError(f"no worker is called {name}")


async def open_system(settings: ConfigManager, *, create: bool = False) -> System:
    """Connect to the deployment of `settings`.

    With `create` a missing home, schema and topics are made first; without, a missing or older store raises
    SchemaMismatch, and topics that are missing or wrong raise TopicsWrong; their messages say what to do.
    Settings that rows depend on must be those that the deployment was made with: SettingsError names the one
    that is not.
    """
    if create:
        settings.home.mkdir(parents=True, exist_ok=True)
    store = await open_store(
        settings.database_url.get_secret_value(),
        migrate=create,
        statement_timeout_s=settings.statement_timeout_s,
    )
    skips = Skips(partial(skipped_of, store))
    try:
        log = await open_log(settings, skips)
    except BaseException:
        await store.dispose()
        raise
    artifacts = LocalBackend(settings.artifacts_path)
    system = System(settings=settings, log=log, store=store, artifacts=artifacts, skips=skips)
    try:
        facts = facts_of(system.windows, system.limits, settings.partitions)
        await check(store, facts, settings.source)
        await check_topics(store, log, system.topics)
        if create:
            await log.create_topics(wanted_topics(settings))
            await pin_topics(store, log, system.topics)
            # last: a deployment whose facts are written has all its parts
            await pin(store, facts)
        elif settings.on_kafka:
            await require_topics(log, settings)
    except BaseException:
        await system.close()
        raise
    return system


async def open_log(settings: ConfigManager, skips: Skips | None = None) -> EventLog:
    """The log of `settings`: Kafka if brokers are named, else the embedded file. Raises LogUnavailable.

    Reads of Kafka pass over `skips`; the file has no batches that could be damaged.
    """
    if not settings.on_kafka:
        return await EmbeddedLog.open(settings.log_path, now_ms=now_ms, future_ms=settings.future_ms)
    # 0.3 s that only this engine needs
    from consumers.log.kafka import KafkaLog

    return await KafkaLog.open(
        settings.kafka,
        now_ms=now_ms,
        future_ms=settings.future_ms,
        prefix=settings.topic_prefix,
        skips=skips,
    )
