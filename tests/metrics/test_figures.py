"""Figures are read beside the scrapes, in bounded time; old ones are shown no more."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

from consumers.log.port import EventLog, LogUnavailable
from consumers.services.figures import Figures, Lag
from consumers.store.engine import Store
from consumers.store.errors import StoreUnavailable
from consumers.store.repositories.episodes import Acknowledgement, Episode, EpisodeRepository
from consumers.store.repositories.experiments import ExperimentRepository
from consumers.store.repositories.outbox import OutboxRepository
from consumers.store.repositories.retraining import RetrainingRepository
from consumers.store.repositories.tallies import TallyRepository
from schemas.clock import from_ms
from schemas.events import DriftType, ExperimentStatus
from schemas.logrecords import NewRecord
from tests.services.deployment import WALL_MS, Deployment
from tests.store.builders import experiment, job, progress

GROUP = "registry"


@dataclass
class Heard:
    """What a process was told of its dependencies."""

    said: list[tuple[str, str]] = field(default_factory=list)

    def reached(self, dependency: str) -> None:
        self.said.append((dependency, ""))

    def unreachable(self, dependency: str, problem: str) -> None:
        self.said.append((dependency, problem))


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def figures_of(where: Deployment, heard: Heard, clock: Clock, **other: Any) -> Figures:
    values = {"store": where.store, "log": where.log, "topics": where.topics, "group": GROUP, **other}
    return Figures(probed=heard, clock=clock, **values)


async def test_an_empty_deployment_is_all_zeros_with_every_status_named(where: Deployment) -> None:
    heard = Heard()
    figures = figures_of(where, heard, Clock())
    assert [figures.of_store, figures.of_log, figures.age_s] == [None, None, None]
    await figures.refresh()
    stored, logged = figures.of_store, figures.of_log
    assert stored is not None
    assert logged is not None
    assert (stored.divergences, stored.outbox_unsent, stored.outbox_oldest_ms) == (0, 0, None)
    assert set(stored.jobs.values()) == {0}
    assert "REQUESTED" in stored.jobs
    assert stored.episodes_open == {kind.value: 0 for kind in DriftType}
    assert logged.dead_letters == 0
    assert {lag.records for lag in logged.lags} == {0}
    assert heard.said == [("store", ""), ("log", "")]


async def test_the_store_s_figures_count_what_is_open(where: Deployment) -> None:
    promised = from_ms(WALL_MS - 90_000)
    async with where.store.write() as session:
        outbox = OutboxRepository(session)
        for number in range(3):
            await outbox.add(
                event_id=f"e{number}",
                topic="t",
                key=b"k",
                value=b"v",
                timestamp_ms=1,
                now=promised + timedelta(seconds=number),
            )
        await outbox.mark_sent([1], promised)
        await RetrainingRepository(session).open(job("j1", model="a"))
        await RetrainingRepository(session).open(job("j2", model="b"))
        await ExperimentRepository(session).add(experiment("x1", model="a"))
        await ExperimentRepository(session).add(experiment("x2", ExperimentStatus.CANCELLED, model="a"))
        episodes = EpisodeRepository(session)
        for number, kind in enumerate((DriftType.DATA_DRIFT, DriftType.DATA_DRIFT, DriftType.CONCEPT_DRIFT)):
            await episodes.open(
                Episode(
                    episode_id=f"d{number}",
                    model="a",
                    version="1",
                    drift_type=kind,
                    severity="warn",
                    opened_at_ms=number,
                )
            )
        await episodes.close("d0", closed_at_ms=9, closed_by=None)
        for known in ("d0", "d1"):
            await episodes.acknowledge(
                Acknowledgement(episode_id=known, actor="ada", reason="known", acknowledged_at=promised)
            )
    figures = figures_of(where, Heard(), Clock())
    await figures.refresh()
    stored = figures.of_store
    assert stored is not None
    assert (stored.outbox_unsent, stored.outbox_oldest_ms) == (2, WALL_MS - 89_000)
    assert (stored.jobs["REQUESTED"], stored.jobs["RUNNING"]) == (2, 0)
    assert stored.experiments_running == 1
    assert {kind: number for kind, number in stored.episodes_open.items() if number} == {
        "DATA_DRIFT": 1,
        "CONCEPT_DRIFT": 1,
    }
    unknown = stored.episodes_unacknowledged
    assert {kind: number for kind, number in unknown.items() if number} == {"CONCEPT_DRIFT": 1}
    assert set(stored.episodes_muted.values()) == {0}


async def test_how_far_each_partition_is_stored_is_known_without_whoever_holds_it(where: Deployment) -> None:
    async with where.store.write() as session:
        tallies = TallyRepository(session)
        for partition, through_ms in ((0, WALL_MS - 70_000), (1, WALL_MS - 3_600_000)):
            at = progress(through_ms, through_ms - 30_000, partition=partition, offset=9)
            await tallies.insert_closed([], [], at, now=from_ms(WALL_MS))
    figures = figures_of(where, Heard(), Clock())
    await figures.refresh()
    assert figures.of_store is not None
    assert figures.of_store.through_ms == {
        (0, "predictions"): WALL_MS - 70_000,
        (0, "outcomes"): WALL_MS - 100_000,
        (1, "predictions"): WALL_MS - 3_600_000,
        (1, "outcomes"): WALL_MS - 3_630_000,
    }


async def test_a_group_s_lag_is_counted_and_dated_by_the_first_record_that_waits(where: Deployment) -> None:
    topic, dead = where.topics.drift_detected, where.topics.dead_letter
    records = [
        NewRecord(topic=topic, key=b"k", value=b"v", timestamp_ms=1_000 + number) for number in range(5)
    ]
    letters = [NewRecord(topic=dead, key=b"k", value=b"v", timestamp_ms=1) for _ in range(2)]
    await where.log.append([*records, *letters])
    await where.log.commit(GROUP, topic, 0, 3)
    figures = figures_of(where, Heard(), Clock())
    await figures.refresh()
    logged = figures.of_log
    assert logged is not None
    assert logged.dead_letters == 2
    assert Lag(topic, 0, 2, 1_003) in logged.lags
    assert [lag.records for lag in logged.lags if lag.topic != topic] == [0, 0]
    await where.log.commit(GROUP, topic, 0, 5)
    without = figures_of(where, Heard(), Clock(), group=None)
    await without.refresh()
    await figures.refresh()
    assert figures.of_log is not None
    assert Lag(topic, 0, 0, None) in figures.of_log.lags
    assert without.of_log is not None
    assert without.of_log.lags == ()


class Broken:
    """A store and a log that fail, or never answer."""

    def __init__(self, *, hangs: bool) -> None:
        self.hangs = hangs

    def read(self) -> "Broken":
        return self

    async def __aenter__(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        raise StoreUnavailable("connection refused")

    async def __aexit__(self, *_: object) -> None:
        return None

    async def topics(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        raise LogUnavailable("broker:9092", "no answer")


async def test_what_fails_or_hangs_is_reported_and_the_other_is_read_all_the_same(where: Deployment) -> None:
    failing, hanging = Broken(hangs=False), Broken(hangs=True)
    heard = Heard()
    figures = figures_of(where, heard, Clock(), store=cast(Store, failing))
    await figures.refresh()
    assert figures.of_store is None
    assert figures.of_log is not None
    assert heard.said == [("store", "the store is unavailable: connection refused"), ("log", "")]
    heard = Heard()
    figures = figures_of(where, heard, Clock(), store=cast(Store, hanging), log=cast(EventLog, failing))
    figures.within_s = 0.02
    await figures.refresh()
    assert heard.said[0] == ("store", "did not answer in 0.02 s")
    assert heard.said[1] == ("log", "the log broker:9092 is unavailable: no answer")


async def test_figures_that_cannot_be_renewed_are_shown_for_a_while_only(where: Deployment) -> None:
    clock = Clock()
    figures = figures_of(where, Heard(), clock)
    await figures.refresh()
    clock.now = 60.0
    assert figures.of_store is not None
    assert figures.age_s == 60
    clock.now = 60.1
    assert [figures.of_store, figures.of_log] == [None, None]
    assert figures.age_s == 60.1, "that they are old is still worth knowing"
