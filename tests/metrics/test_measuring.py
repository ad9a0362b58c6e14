"""What a collector makes of what workers, health and figures show it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from consumers.health import Health
from consumers.metrics import Fates
from consumers.services.figures import Figures
from consumers.services.measuring import Judges, Obeys, ProcessMetrics, Relays, Tallies, pulse_of, troubles_of
from consumers.store.repositories.tallies import TallyRepository
from consumers.workers import shell
from consumers.workers.tally import PartitionState, TallyCounts, TallyWorker
from schemas.clock import from_ms
from schemas.errors import UnreadableBatch
from tests.metrics.process import workers_of
from tests.metrics.scraping import Scrape, of_text
from tests.services.deployment import WALL_MS, Deployment, drifting_life
from tests.store.builders import progress

PREDICTIONS, OUTCOMES = "lifecycle.predictions", "lifecycle.outcomes"


def state(**other: Any) -> PartitionState:
    """Partition 3, ten seconds behind the wall clock with predictions and a minute with outcomes."""
    values = {
        "partition": 3,
        "predictions_offset": 100,
        "outcomes_offset": 90,
        "predictions_end": 100,
        "outcomes_end": 150,
        "predictions_newest_ms": WALL_MS - 10_000,
        "outcomes_newest_ms": WALL_MS - 60_000,
        "inputs_through_ms": WALL_MS - 70_000,
        "outcomes_through_ms": WALL_MS - 120_500,
        "open_windows": 2,
        "open_records": 40,
        **other,
    }
    return PartitionState(**values)


@dataclass
class Reader:
    """A tally worker, as far as a collector can see."""

    states: Iterable[PartitionState]
    counts: TallyCounts = field(default_factory=lambda: TallyCounts(fates=Fates()))

    def partitions_state(self) -> list[PartitionState]:
        return list(self.states)


def measured(where: Deployment, *workers: object, figures: Figures | None = None) -> Scrape:
    health = Health()
    nothing = Figures(
        store=where.store, log=where.log, topics=where.topics, probed=health, clock=health.clock
    )
    collector = ProcessMetrics(
        workers=workers,
        health=health,
        figures=figures or nothing,
        topics=where.topics,
        now_ms=lambda: WALL_MS,
    )
    registry = CollectorRegistry()
    registry.register(collector)
    return of_text(generate_latest(registry).decode())


async def test_the_service_s_own_workers_are_each_known_as_what_they_are(where: Deployment) -> None:
    workers = await workers_of(where)
    views: dict[str, type] = {"tally": Tallies, "judge": Judges, "relay": Relays, "registry": Obeys}
    assert {
        (name, other)
        for name, worker in workers.items()
        for other, view in views.items()
        if isinstance(worker, view)
    } == {(name, name) for name in views}


async def test_every_worker_but_a_trainer_has_a_pulse_that_counts_what_it_does(where: Deployment) -> None:
    workers = await workers_of(where)
    await drifting_life(where)
    pulses = {name: pulse_of(worker) for name, worker in workers.items()}
    before = {name: pulse() for name, pulse in pulses.items() if pulse is not None}
    assert before == {"tally": 0, "judge": 0, "relay": 0, "registry": 0}
    await shell.settle(workers)
    assert all(pulse() > 0 for pulse in pulses.values() if pulse is not None)
    assert pulse_of(object()) is None


@pytest.mark.parametrize("active", [True, False])
def test_a_relay_shows_whether_it_is_the_one_that_sends(where: Deployment, active: bool) -> None:
    class Sender:
        def __init__(self) -> None:
            self.sent, self.refused, self.active = 5, 0, active

    assert measured(where, Sender())("lifecycle_relay_active") == active


def test_a_partition_shows_delay_lag_and_what_it_holds(where: Deployment) -> None:
    scrape = measured(where, Reader([state()]))
    assert scrape("lifecycle_watermark_delay_seconds", partition=3, side="predictions") == 10
    assert scrape("lifecycle_watermark_delay_seconds", partition=3, side="outcomes") == 60
    assert scrape("lifecycle_closed_delay_seconds", partition=3, side="predictions") == 70
    assert scrape("lifecycle_closed_delay_seconds", partition=3, side="outcomes") == 120.5
    assert scrape("lifecycle_lag_records", topic=PREDICTIONS, partition=3) == 0
    assert scrape("lifecycle_lag_records", topic=OUTCOMES, partition=3) == 60
    assert scrape("lifecycle_lag_seconds", topic=PREDICTIONS, partition=3) == 0
    assert scrape("lifecycle_lag_seconds", topic=OUTCOMES, partition=3) == 60
    assert scrape("lifecycle_open_windows", partition=3) == 2
    assert scrape("lifecycle_open_records", partition=3) == 40


def test_what_is_not_known_is_not_shown(where: Deployment) -> None:
    unread = state(predictions_newest_ms=0, outcomes_newest_ms=0, inputs_through_ms=0, outcomes_end=None)
    scrape = measured(where, Reader([unread]))
    assert scrape.all("lifecycle_watermark_delay_seconds") == {}
    assert len(scrape.all("lifecycle_closed_delay_seconds")) == 1
    assert len(scrape.all("lifecycle_lag_records")) == 1
    # no record was read, many wait: how long is not known, that they do is
    scrape = measured(where, Reader([state(predictions_newest_ms=0, predictions_offset=0)]))
    assert scrape("lifecycle_lag_records", topic=PREDICTIONS, partition=3) == 100
    assert len(scrape.all("lifecycle_lag_seconds")) == 1


def test_records_of_the_future_make_a_delay_negative_and_no_lag(where: Deployment) -> None:
    scrape = measured(where, Reader([state(outcomes_newest_ms=WALL_MS + 5_000)]))
    assert scrape("lifecycle_watermark_delay_seconds", partition=3, side="outcomes") == -5
    assert scrape("lifecycle_lag_seconds", topic=OUTCOMES, partition=3) == 0


def test_a_worker_that_shows_nothing_is_no_error(where: Deployment) -> None:
    scrape = measured(where, object())
    assert scrape.all("lifecycle_records_read_total") == {}
    assert "lifecycle_records_read_total" in scrape.families


async def test_lag_on_a_log_that_tells_its_end_only_when_asked_is_what_the_figures_found(
    where: Deployment,
) -> None:
    await drifting_life(where, windows=2)
    worker = await where.tally(batch_records=10)
    await worker.step()
    unasked = measured(where, worker)
    assert unasked("lifecycle_lag_records", topic=PREDICTIONS, partition=0) == 0
    ends = [await where.log.end(PREDICTIONS, partition) for partition in range(2)]
    health = Health()
    figures = Figures(
        store=where.store,
        log=where.log,
        topics=where.topics,
        probed=health,
        clock=health.clock,
        hot_ends=True,
    )
    await figures.refresh()
    asked = measured(where, worker, figures=figures)
    for partition in range(2):
        lag = asked("lifecycle_lag_records", topic=PREDICTIONS, partition=partition)
        assert lag == ends[partition] - 10 > 0
        assert asked("lifecycle_lag_seconds", topic=PREDICTIONS, partition=partition) > 0


async def test_a_partition_that_nobody_holds_goes_on_growing_older(where: Deployment) -> None:
    async with where.store.write() as session:
        tallies = TallyRepository(session)
        at = progress(WALL_MS - 3_600_000, 0, partition=1, offset=9)
        await tallies.insert_closed([], [], at, now=from_ms(WALL_MS))
    health = Health()
    figures = Figures(
        store=where.store, log=where.log, topics=where.topics, probed=health, clock=health.clock
    )
    await figures.refresh()
    scrape = measured(where, figures=figures)
    assert scrape("lifecycle_stored_delay_seconds", partition=1, side="predictions") == 3_600
    # of the other side nothing was closed yet, of the other partition nothing at all
    assert len(scrape.all("lifecycle_stored_delay_seconds")) == 1
    assert scrape.all("lifecycle_open_windows") == {}


async def test_partitions_that_stand_still_are_counted_and_named(where: Deployment) -> None:
    tally = (await workers_of(where))["tally"]
    assert measured(where, tally)("lifecycle_unreadable_partitions") == 0
    assert isinstance(tally, TallyWorker)
    error = UnreadableBatch("log", PREDICTIONS, 0, 4, 7, "damaged")
    tally._standing.stand(0, error, WALL_MS)
    assert measured(where, tally)("lifecycle_unreadable_partitions") == 1
    troubles = troubles_of(tally)
    assert troubles is not None
    assert troubles() == [str(error)]
    assert troubles_of(object()) is None
