"""A whole deployment in a folder: the real log file, the real store, and every worker over them."""

import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from consumers.log.decode import Limits
from consumers.log.embedded import EmbeddedLog
from consumers.log.feed import FixedFeed
from consumers.log.port import EventLog, LogRecord, PartitionFeed
from consumers.services.context import ServiceContext
from consumers.services.experiments import ExperimentManager
from consumers.services.judging import Judging
from consumers.services.reconciling import Account, Reconciling
from consumers.services.refolding import Refolding
from consumers.services.registry import Registry
from consumers.services.replaying import Replaying
from consumers.store.engine import Store, open_store
from consumers.store.repositories.decisions import Decision, DecisionRepository
from consumers.store.repositories.models import ModelRepository
from consumers.store.repositories.profiles import ProfileRepository
from consumers.store.repositories.tallies import TallyRepository
from consumers.store.types import digest_of
from consumers.workers.judge import JudgeWorker
from consumers.workers.relay import Relay
from consumers.workers.tally import TallySettings, TallyWorker
from domain.windows.policy import WindowPolicy
from domain.windows.profile import FeatureReference, ReferenceProfile
from schemas import Topics
from schemas.clock import from_ms
from schemas.events import Event, OutcomeObserved, PredictionMade
from schemas.logfile import NewRecord
from schemas.outgoing import heartbeat, record_of
from tests.store.builders import version

LENGTH = 1_000
POLICY = WindowPolicy(length_ms=LENGTH, slack_ms=100, grace_ms=500, max_horizon_s=3_600)
MODEL = "m"
WALL_MS = 10**12
Rows = dict[tuple[Any, ...], tuple[int, bytes]]
_HALVES = FeatureReference(kind="numeric", edges=(0.0,), counts=(5_000, 5_000, 0, 0))


def profile(number: str = "1", effective_from_ms: int = 0, model: str = MODEL) -> ReferenceProfile:
    return ReferenceProfile(
        model=model,
        version=number,
        task="regression",
        effective_from_ms=effective_from_ms,
        features={"x": _HALVES},
        error_clip=1.0,
    )


def prediction(number: int, at_ms: int, **other: Any) -> PredictionMade:
    """Prediction `p<number>` of version 1, horizon one second, unless told otherwise."""
    values = {"version": "1", "prediction": 0.0, "features": {"x": 1.0}, "horizon_s": 1, **other}
    return PredictionMade(occurred_at=from_ms(at_ms), prediction_id=f"p{number}", model=MODEL, **values)


def outcome(number: int, at_ms: int, actual: float = 0.5) -> OutcomeObserved:
    return OutcomeObserved(occurred_at=from_ms(at_ms), prediction_id=f"p{number}", actual=actual, values={})


@dataclass(slots=True, kw_only=True)
class Deployment:
    folder: Path
    log: EmbeddedLog
    store: Store
    policy: WindowPolicy
    partitions: int
    topics: Topics = field(default_factory=Topics)
    limits: Limits = field(default_factory=lambda: Limits(max_horizon_s=3_600))
    now_ms: int = WALL_MS
    _open: list[EmbeddedLog] = field(default_factory=list)

    @property
    def context(self) -> ServiceContext:
        def now() -> Any:
            return from_ms(self.now_ms)

        return ServiceContext(topics=self.topics, windows=self.policy, source="lifecycle/test", now=now)

    @property
    def registry(self) -> Registry:
        return Registry(context=self.context)

    @property
    def experiments(self) -> ExperimentManager:
        return ExperimentManager(context=self.context, registry=self.registry)

    @property
    def refolding(self) -> Refolding:
        return Refolding(log=self.log, topics=self.topics, policy=self.policy, limits=self.limits)

    @property
    def replaying(self) -> Replaying:
        return Replaying(store=self.store, refolding=self.refolding)

    async def tally(
        self,
        *,
        store: Store | None = None,
        log: EventLog | None = None,
        feed: PartitionFeed | None = None,
        partitions: Sequence[int] | None = None,
        **settings: Any,
    ) -> TallyWorker:
        """One more tally worker, opened."""
        log = log or self.log
        worker = TallyWorker(
            log=log,
            feed=feed or FixedFeed(log, range(self.partitions) if partitions is None else partitions),
            store=store or self.store,
            topics=self.topics,
            policy=self.policy,
            limits=self.limits,
            now_ms=lambda: self.now_ms,
            settings=TallySettings(**settings),
        )
        await worker.open()
        return worker

    async def tallied(self, **settings: Any) -> TallyWorker:
        """A tally worker that has read the log to its end."""
        worker = await self.tally(**settings)
        while await worker.step():
            pass
        return worker

    def judge(self, store: Store | None = None, slice_rows: int = 5_000) -> JudgeWorker:
        judging = Judging(context=self.context, experiments=self.experiments, slice_rows=slice_rows)
        return JudgeWorker(store=store or self.store, judging=judging)

    async def judged(self) -> int:
        """Judge all that is due; how many decisions that were."""
        worker = self.judge()
        while await worker.step():
            pass
        return worker.counts.decisions

    async def relayed(self) -> int:
        relay = Relay(store=self.store, log=self.log, now=lambda: from_ms(self.now_ms))
        while await relay.step():
            pass
        await relay.close()
        return relay.sent

    async def append(self, *events: Event | NewRecord, partition: int | None = None) -> None:
        await self.log.append(list(self.records(events, partition)))

    def records(self, events: Iterable[Event | NewRecord], partition: int | None) -> Iterable[NewRecord]:
        for event in events:
            record = event if isinstance(event, NewRecord) else record_of(event, self.topics, source="test")
            given = record.partition if partition is None else partition
            yield NewRecord(
                topic=record.topic,
                key=record.key,
                value=record.value,
                timestamp_ms=record.timestamp_ms,
                headers=record.headers,
                partition=given,
            )

    async def beat(self, at_ms: int, partitions: Sequence[int] | None = None) -> None:
        """Heartbeats on both topics."""
        await self.append(
            *(
                heartbeat(topic, partition, at_ms)
                for topic in (self.topics.predictions, self.topics.outcomes)
                for partition in (range(self.partitions) if partitions is None else partitions)
            )
        )

    async def register(self, *profiles: ReferenceProfile) -> None:
        """Versions with these reference profiles, in force when the profiles say so."""
        async with self.store.write() as session:
            models = ModelRepository(session)
            for one in profiles:
                await models.create_model(name=one.model, task=one.task, created_at_ms=1)
                await models.add_version(version(one.version, model=one.model))
                body = orjson.dumps(one.to_json(), option=orjson.OPT_SORT_KEYS)
                await ProfileRepository(session).add(
                    model=one.model,
                    version=one.version,
                    body=body,
                    digest=digest_of(body),
                    effective_from_ms=one.effective_from_ms,
                )

    async def register_another(self, number: str) -> None:
        """A further version of the model, without a profile."""
        async with self.store.write() as session:
            await ModelRepository(session).add_version(version(number, model=MODEL))

    async def rows(self, partition: int | None = None) -> Rows:
        """Every window row: key -> (due, body)."""
        async with self.store.read() as session:
            return {
                tuple(getattr(row.key, name) for name in row.key.__slots__): (row.due_ms, row.body)
                async for row in TallyRepository(session).all_rows()
                if partition is None or row.key.partition == partition
            }

    async def arrivals(self, partition: int = 0) -> dict[tuple[str, int], bytes]:
        async with self.store.read() as session:
            return {
                (row.side, row.window_start_ms): row.body
                async for row in TallyRepository(session).all_arrivals()
                if row.partition == partition
            }

    async def decisions(self) -> list[Decision]:
        async with self.store.read() as session:
            return await DecisionRepository(session).list()

    async def accounts(self) -> list[Account]:
        return await Reconciling(store=self.store, refolding=self.refolding).accounts()

    async def balanced(self) -> bool:
        return all(account.balanced for account in await self.accounts())

    async def divergences(self) -> int:
        async with self.store.read() as session:
            return await TallyRepository(session).divergence_count()

    async def dead_letters(self) -> list[LogRecord]:
        topic, found = self.topics.dead_letter, []
        for partition in range((await self.log.topics())[topic].partitions):
            at = 0
            while records := await self.log.read(topic, partition, at, 1_000):
                found += records
                at = records[-1].offset + 1
        return found

    def sql(self, file: str, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Behind everybody's back: `file` is `store.db` or `log.db`."""
        with closing(sqlite3.connect(self.folder / file)) as connection, connection:
            return connection.execute(statement, arguments).fetchall()

    async def another_log(self, **settings: Any) -> EmbeddedLog:
        """Another process's view of the log file."""
        opened = await EmbeddedLog.open(self.folder / "log.db", **{"now_ms": lambda: self.now_ms, **settings})
        self._open.append(opened)
        return opened

    async def close(self) -> None:
        for log in [*self._open, self.log]:
            await log.close()
        await self.store.dispose()


EACH = 120
"""Predictions in a window of `served`."""


def served(first: int, last: int, *, low: int = 5, actual: float = 0.1, **other: Any) -> list[Event]:
    """Windows `first` to `last` (not included), outcomes too; `low` of ten x lie in the lower half."""
    events: list[Event] = []
    for number in range(first * EACH, last * EACH):
        at_ms = LENGTH * (number // EACH) + number % EACH * 8
        x = -1.0 if number % 10 < low else 1.0
        events.append(prediction(number, at_ms, features={"x": x}, **other))
        events.append(outcome(number, at_ms + 20, actual=actual))
    return events


async def drifting_life(where: Deployment, windows: int = 14, drift_from: int = 6) -> None:
    """Version 1 serves `windows` windows; from `drift_from` on its feature moves and its errors grow."""
    await where.register(profile())
    await where.append(*served(0, min(drift_from, windows)), *served(drift_from, windows, low=9, actual=0.9))
    await where.beat(LENGTH * windows + 10_000)


@asynccontextmanager
async def deployment(
    folder: Path,
    migrated: Path | str,
    *,
    policy: WindowPolicy = POLICY,
    partitions: int = 1,
    busy_timeout_s: float = 30,
) -> AsyncIterator[Deployment]:
    """A new deployment in `folder`, which exists, around a copy of the `migrated` store, or that at a URL."""
    url = migrated if isinstance(migrated, str) else f"sqlite:///{folder / 'store.db'}"
    if isinstance(migrated, Path):
        shutil.copy(migrated, folder / "store.db")
    made: list[Deployment] = []
    log = await EmbeddedLog.open(
        folder / "log.db",
        now_ms=lambda: made[0].now_ms if made else WALL_MS,
        busy_timeout_s=busy_timeout_s,
    )
    store = await open_store(url, busy_timeout_s=busy_timeout_s)
    made.append(Deployment(folder=folder, log=log, store=store, policy=policy, partitions=partitions))
    await log.create_topics(made[0].topics.specs(partitions))
    try:
        yield made[0]
    finally:
        await made[0].close()
