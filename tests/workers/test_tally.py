"""The tally worker writes the oracle's bytes, whatever breaks around it."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from consumers.log.embedded import EmbeddedLog
from consumers.log.port import LogRecord
from consumers.store.engine import Store
from consumers.store.errors import StoreUnavailable
from consumers.store.session import WriteSession
from consumers.workers.tally import TallyWorker
from domain.windows.records import Invalid
from schemas.clock import from_ms
from schemas.errors import LogUnavailable
from schemas.events import Event, OutcomeObserved, PredictionMade
from schemas.logfile import DEFAULT_MAX_BYTES, LogFile, NewRecord
from schemas.outgoing import heartbeat, record_of
from tests.services.deployment import WALL_MS, Deployment, deployment
from tests.windows.logs import PROFILES, make_log, make_policy
from tests.windows.oracle import Oracle
from tests.windows.records import Log, Outcome, Prediction

SEEDS = range(int(os.environ.get("TALLY_SEEDS", "12")))


class UnreliableStore(Store):
    """Some transactions fail: before they begin, before they commit, or after."""

    def __init__(self, inner: Store, r: Random) -> None:
        super().__init__(inner.url, inner._engine, inner._busy_timeout_s)
        self.r = r

    @asynccontextmanager
    async def write(self) -> AsyncIterator[WriteSession]:
        fault = self.r.choice(["before", "within", "after"]) if self.r.random() < 0.15 else ""
        if fault == "before":
            raise StoreUnavailable("planned")
        async with super().write() as session:
            yield session
            if fault == "within":
                raise StoreUnavailable("planned")
        if fault == "after":
            raise StoreUnavailable("planned")


class UnreliableLog(EmbeddedLog):
    """Some reads fail."""

    def __init__(self, inner: EmbeddedLog, r: Random) -> None:
        super().__init__(inner._file)
        self.r = r

    async def read(
        self, topic: str, partition: int, offset: int, max_records: int, max_bytes: int = DEFAULT_MAX_BYTES
    ) -> list[LogRecord]:
        if self.r.random() < 0.03:
            raise LogUnavailable("log.db", "planned")
        return await super().read(topic, partition, offset, max_records, max_bytes)


def event_of(timestamp: int, record: Prediction | Outcome) -> Event:
    if isinstance(record, Outcome):
        return OutcomeObserved(
            occurred_at=from_ms(timestamp),
            prediction_id=record.prediction_id,
            actual=record.actual,
            values=dict(record.values),
        )
    return PredictionMade(
        occurred_at=from_ms(timestamp),
        **{name: getattr(record, name) for name in Prediction.__slots__},
    )


def wire(
    where: Deployment,
    topic: str,
    entries: Sequence[tuple[int, Prediction | Outcome | Invalid | None]],
    partition: int,
) -> list[NewRecord]:
    """The entries of a generated log as a producer would append them."""
    records = []
    for timestamp, record in entries:
        if record is None:
            made = heartbeat(topic, partition, timestamp)
        elif isinstance(record, Invalid):
            made = NewRecord(topic=topic, key=b"k", value=b"{", timestamp_ms=timestamp)
        else:
            made = record_of(event_of(timestamp, record), where.topics, source="test")
        records.append(replace(made, partition=partition))
    return records


def possible(log: Log) -> Log:
    """Without records from before the epoch, which no log accepts."""
    return Log(
        [entry for entry in log.predictions if entry[0] >= 0],
        [entry for entry in log.outcomes if entry[0] >= 0],
    )


async def write_log(where: Deployment, log: Log, partition: int) -> None:
    # a writer whose idea of the future is generous, so that the worker has to refuse what the log did not
    file = LogFile(where.folder / "log.db", now_ms=lambda: WALL_MS, future_ms=10**15)
    file.append(wire(where, where.topics.predictions, log.predictions, partition))
    file.append(wire(where, where.topics.outcomes, log.outcomes, partition))
    file.close()


async def run(where: Deployment, r: Random, workers: int) -> int:
    """Step `workers` over unreliable parts, replacing some of them, until nothing is left; divergences."""
    store, log = UnreliableStore(where.store, r), UnreliableLog(where.log, r)
    divergences, idle = 0, 0
    crew: list[TallyWorker | None] = [None] * workers
    while idle < 3 * workers:
        at = r.randrange(workers)
        worker = crew[at]
        try:
            worker = worker or await where.tally(
                store=store, log=log, batch_records=r.choice([1, 4, 30, 1_000])
            )
            crew[at] = worker
            idle = 0 if await worker.step() else idle + 1
        except (StoreUnavailable, LogUnavailable):
            idle = 0
        if worker is not None and r.random() < 0.05:
            divergences += worker.counts.divergences
            crew[at], idle = None, 0
    last = await where.tallied()
    return divergences + sum(worker.counts.divergences for worker in [*crew, last] if worker)


@pytest.mark.parametrize("seed", SEEDS)
async def test_rows_are_the_oracles_whatever_breaks(seed: int, tmp_path: Path, migrated_file: Path) -> None:
    r = Random(seed)
    policy, partitions, workers = make_policy(r), r.choice([1, 2]), r.choice([1, 2, 2])
    async with deployment(tmp_path, migrated_file, policy=policy, partitions=partitions) as where:
        await where.register(*PROFILES.values())
        logs = [possible(make_log(r, r.choice([5, 60, 200]))) for _ in range(partitions)]
        for partition, log in enumerate(logs):
            await write_log(where, log, partition)
        assert await run(where, r, workers) == 0
        assert await where.divergences() == 0
        bad = 0
        for partition, log in enumerate(logs):
            expected = Oracle(policy, PROFILES, log, partition).expected
            assert await where.rows(partition) == expected.rows
            assert await where.arrivals(partition) == expected.arrivals
            bad += sum(isinstance(record, Invalid) for _, record in [*log.predictions, *log.outcomes])
        await where.relayed()
        assert len(await where.dead_letters()) == bad
        assert [account.unaccounted for account in await where.accounts()] == [0] * 2 * partitions
        assert await where.balanced()
