"""Figures of the whole deployment, read from the store and the log now and then, for whoever asks.

A metric must not cost a query for each scrape, and a scrape must not hang on a store that hangs. So one task
reads, with a limit on its time, and keeps what it read; figures that could not be renewed for a while are
shown no more, because an alert on an old number is worse than an alert on none. Reading them is also the
probe that tells whether the store and the log can be used.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from consumers.log.port import EventLog, LogError
from consumers.logger import get_logger
from consumers.store.engine import Store
from consumers.store.errors import StoreError
from consumers.store.repositories.figures import FigureRepository
from consumers.store.repositories.outbox import OutboxRepository
from consumers.store.repositories.tallies import TallyRepository
from schemas.clock import to_ms
from schemas.events import DriftType
from schemas.topics import Topics

_log = get_logger("figures")
EVERY_S = 15.0
WITHIN_S = 10.0
STALE_S = 60.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a group is behind in one partition. `next_ms`: time of the first record that waits."""

    topic: str
    partition: int
    records: int
    next_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFigures:
    """From one snapshot of the store."""

    divergences: int
    outbox_unsent: int
    outbox_oldest_ms: int | None
    """When the oldest event that waits was promised, by the wall clock."""
    jobs: Mapping[str, int]
    episodes_open: Mapping[str, int]
    experiments_running: int
    episodes_unacknowledged: Mapping[str, int] = field(default_factory=dict)
    """By drift type: open, known to nobody, not muted."""
    episodes_muted: Mapping[str, int] = field(default_factory=dict)
    through_ms: Mapping[tuple[int, str], int] = field(default_factory=dict)
    """(partition, side) → event time up to which closed windows are stored, whoever holds the partition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFigures:
    """From the log."""

    dead_letters: int
    lags: tuple[Lag, ...] = ()
    ends: Mapping[tuple[str, int], int] = field(default_factory=dict)
    """(topic, partition) → the next offset to be written, of predictions and outcomes."""


class Probed(Protocol):
    """Whoever wants to know which dependencies answer."""

    def reached(self, dependency: str) -> None:
        """It has answered."""
        ...

    def unreachable(self, dependency: str, problem: str) -> None:
        """It has not, or with an error."""
        ...


@dataclass(slots=True, kw_only=True)
class Figures:
    """`await refresh()`, or have `run()` do so every `every_s`; the attributes hold what was read last.

    `group` is the consumer group of the control plane, None where this process does not read it. `hot_ends`
    asks for the ends of predictions and outcomes too: Kafka tells those to whoever reads, the embedded log
    only to whoever asks.
    """

    store: Store
    log: EventLog
    topics: Topics
    probed: Probed
    clock: Callable[[], float]
    group: str | None = None
    hot_ends: bool = False
    every_s: float = EVERY_S
    within_s: float = WITHIN_S
    stale_s: float = STALE_S
    _store: tuple[float, StoreFigures] | None = None
    _log: tuple[float, LogFigures] | None = None

    @property
    def of_store(self) -> StoreFigures | None:
        """The store's figures, None while there are none or they are too old."""
        return self._store[1] if self._store and self._fresh(self._store[0]) else None

    @property
    def of_log(self) -> LogFigures | None:
        """The log's figures, None while there are none or they are too old."""
        return self._log[1] if self._log and self._fresh(self._log[0]) else None

    @property
    def age_s(self) -> float | None:
        """Seconds since both were read, whether shown or not; None before the first time."""
        read = [each[0] for each in (self._store, self._log) if each is not None]
        return self.clock() - min(read) if len(read) == 2 else None

    async def run(self) -> None:
        """Refresh for ever; ended by cancelling."""
        while True:
            await self.refresh()
            await asyncio.sleep(self.every_s)

    async def refresh(self) -> None:
        """Read both, each in at most `within_s`. What cannot be read stays as it was, and is reported."""
        stored = await self._read("store", read_store(self.store))
        if stored is not None:
            self._store = (self.clock(), stored)
        logged = await self._read("log", read_log(self.log, self.topics, self.group, self.hot_ends))
        if logged is not None:
            self._log = (self.clock(), logged)

    def _fresh(self, read_at: float) -> bool:
        return self.clock() - read_at <= self.stale_s

    async def _read(self, dependency: str, reading: Awaitable[T]) -> T | None:
        try:
            async with asyncio.timeout(self.within_s):
                found = await reading
        except TimeoutError:
            problem = f"did not answer in {self.within_s:g} s"
        except (StoreError, LogError) as error:
            problem = str(error)
        else:
            self.probed.reached(dependency)
            return found
        self.probed.unreachable(dependency, problem)
        _log.warning("figures.unread", dependency=dependency, message=problem)
        return None


async def read_store(store: Store) -> StoreFigures:
    """The store's figures. Raises StoreUnavailable."""
    async with store.read() as session:
        outbox, figures = OutboxRepository(session), FigureRepository(session)
        oldest = await outbox.oldest_unsent()
        return StoreFigures(
            divergences=await TallyRepository(session).divergence_count(),
            outbox_unsent=await outbox.unsent_count(),
            outbox_oldest_ms=None if oldest is None else to_ms(oldest),
            jobs={status.value: number for status, number in (await figures.jobs_by_status()).items()},
            episodes_open=_by_name(await figures.open_episodes_by_type()),
            episodes_unacknowledged=_by_name(await figures.unacknowledged_episodes_by_type()),
            episodes_muted=_by_name(await figures.muted_episodes_by_type()),
            experiments_running=await figures.running_experiments(),
            through_ms=await figures.stored_through(),
        )


def _by_name(counts: Mapping[DriftType, int]) -> dict[str, int]:
    return {kind.value: number for kind, number in counts.items()}


async def read_log(log: EventLog, topics: Topics, group: str | None, hot_ends: bool) -> LogFigures:
    """The log's figures, with the lags of `group` on the topics of the control plane. Raises LogError."""
    known = await log.topics()
    dead = known.get(topics.dead_letter)
    letters = 0 if dead is None else sum([await _held(log, dead.name, p) for p in range(dead.partitions)])
    lags = []
    if group is not None:
        for name in (topics.drift_detected, topics.retrain_requested, topics.model_promoted):
            partitions = known[name].partitions if name in known else 0
            lags += [await _lag(log, group, name, partition) for partition in range(partitions)]
    hot = [known[name] for name in (topics.predictions, topics.outcomes) if hot_ends and name in known]
    ends = {(spec.name, p): await log.end(spec.name, p) for spec in hot for p in range(spec.partitions)}
    return LogFigures(dead_letters=letters, lags=tuple(lags), ends=ends)


async def _held(log: EventLog, topic: str, partition: int) -> int:
    return await log.end(topic, partition) - await log.begin(topic, partition)


async def _lag(log: EventLog, group: str, topic: str, partition: int) -> Lag:
    committed = await log.position(group, topic, partition)
    offset = await log.begin(topic, partition) if committed is None else committed
    records = max(await log.end(topic, partition) - offset, 0)
    waiting = await log.read(topic, partition, offset, 1) if records else []
    return Lag(topic, partition, records, waiting[0].timestamp_ms if waiting else None)
