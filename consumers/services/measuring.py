"""What a scrape reads: the counters of this process's workers, its health, and the deployment's figures.

Workers are known by what they show, not by their classes: this module serves whatever process it is in, and
workers do not know of it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, runtime_checkable

from prometheus_client.metrics_core import Metric as MetricFamily
from prometheus_client.registry import Collector

from consumers.health import Health
from consumers.metrics import DecisionCounts, Fates, Metric, Samples
from consumers.services.figures import Figures
from schemas.topics import Topics


class PartitionView(Protocol):
    """One partition of a tally worker. Times are event time, 0 before the first record."""

    @property
    def partition(self) -> int: ...
    @property
    def predictions_offset(self) -> int: ...
    @property
    def outcomes_offset(self) -> int: ...
    @property
    def predictions_end(self) -> int | None: ...
    @property
    def outcomes_end(self) -> int | None: ...
    @property
    def predictions_newest_ms(self) -> int: ...
    @property
    def outcomes_newest_ms(self) -> int: ...
    @property
    def inputs_through_ms(self) -> int: ...
    @property
    def outcomes_through_ms(self) -> int: ...
    @property
    def open_windows(self) -> int: ...
    @property
    def open_records(self) -> int: ...


class TallyCountsView(Protocol):
    """Counters of a tally worker."""

    records: int
    invalid: int
    rows: int
    closings: int
    divergences: int
    fates: Fates


class JudgeCountsView(Protocol):
    """Counters of a judge."""

    rows: int
    failed: int
    made: DecisionCounts


@runtime_checkable
class Tallies(Protocol):
    """A tally worker."""

    @property
    def counts(self) -> TallyCountsView: ...

    def partitions_state(self) -> Sequence[PartitionView]:
        """The partitions that it holds."""
        ...


@runtime_checkable
class Stands(Protocol):
    """A worker of several partitions, of which some may stand still."""

    def unreadable(self) -> Sequence[Exception]:
        """Why, for each that does."""
        ...

    def troubles(self) -> list[str]:
        """What keeps the worker from a part of its work, in words."""
        ...


@runtime_checkable
class Judges(Protocol):
    """A judge; `judging` tells it from others that count."""

    @property
    def counts(self) -> JudgeCountsView: ...
    @property
    def judging(self) -> object: ...


@runtime_checkable
class Relays(Protocol):
    """A relay."""

    @property
    def sent(self) -> int: ...
    @property
    def refused(self) -> int: ...
    @property
    def active(self) -> bool: ...


@runtime_checkable
class Obeys(Protocol):
    """A registry worker; first word of each result → how often."""

    @property
    def results(self) -> Counter[str]: ...


def pulse_of(worker: object) -> Callable[[], int] | None:
    """A count that grows while the worker is in the middle of a step; None for one that has none."""
    match worker:
        case Tallies():
            return lambda: worker.counts.records
        case Judges():
            return lambda: worker.counts.rows
        case Relays():
            return lambda: worker.sent + worker.refused
        case Obeys():
            return worker.results.total
        case _:
            return None


def troubles_of(worker: object) -> Callable[[], list[str]] | None:
    """What keeps the worker from a part of its work; None for one that does all or nothing."""
    return worker.troubles if isinstance(worker, Stands) else None


class ProcessMetrics(Collector):
    """The collector of one process. `now_ms` is the wall clock in milliseconds."""

    def __init__(
        self,
        *,
        workers: Iterable[object],
        health: Health,
        figures: Figures,
        topics: Topics,
        now_ms: Callable[[], int],
    ) -> None:
        self._workers = tuple(workers)
        self._health, self._figures, self._topics, self._now_ms = health, figures, topics, now_ms

    def describe(self) -> Iterable[MetricFamily]:
        """The families without samples: enough to refuse a second collector of the same names."""
        return Samples().families()

    def collect(self) -> Iterable[MetricFamily]:
        samples, now_ms = Samples(), self._now_ms()
        for worker in self._workers:
            match worker:
                case Tallies():
                    self._tally(samples, worker, now_ms)
                case Judges():
                    _judge(samples, worker)
                case Relays():
                    samples.add(Metric.RELAY_ACTIVE, worker.active)
                    samples.add(Metric.RELAY_SENT, worker.sent)
                    samples.add(Metric.RELAY_REFUSED, worker.refused)
                case Obeys():
                    for result, number in worker.results.items():
                        samples.add(Metric.REGISTRY_RESULTS, number, result)
            if isinstance(worker, Stands):
                samples.add(Metric.UNREADABLE, len(worker.unreadable()))
        self._of_health(samples)
        self._of_figures(samples, now_ms)
        return samples.families()

    def _tally(self, samples: Samples, worker: Tallies, now_ms: int) -> None:
        counts = worker.counts
        samples.add(Metric.RECORDS_READ, counts.records)
        samples.add(Metric.INVALID, counts.invalid)
        samples.add(Metric.CLOSINGS, counts.closings)
        samples.add(Metric.ROWS, counts.rows)
        samples.add(Metric.DIVERGED, counts.divergences)
        for (side, fate), records in counts.fates.counts.items():
            samples.add(Metric.RECORDS, records, side, fate)
        for state in worker.partitions_state():
            samples.add(Metric.OPEN_WINDOWS, state.open_windows, state.partition)
            samples.add(Metric.OPEN_RECORDS, state.open_records, state.partition)
            self._sides(samples, state, now_ms)

    def _sides(self, samples: Samples, state: PartitionView, now_ms: int) -> None:
        partition = state.partition
        ends = {} if self._figures.of_log is None else self._figures.of_log.ends
        for side, topic, newest_ms, through_ms, offset, end in (
            (
                "predictions",
                self._topics.predictions,
                state.predictions_newest_ms,
                state.inputs_through_ms,
                state.predictions_offset,
                state.predictions_end,
            ),
            (
                "outcomes",
                self._topics.outcomes,
                state.outcomes_newest_ms,
                state.outcomes_through_ms,
                state.outcomes_offset,
                state.outcomes_end,
            ),
        ):
            # before the first record event time is 0, and a delay of decades would only raise alarms
            if newest_ms > 0:
                samples.add(Metric.WATERMARK_DELAY, _seconds(now_ms - newest_ms), partition, side)
            if through_ms > 0:
                samples.add(Metric.CLOSED_DELAY, _seconds(now_ms - through_ms), partition, side)
            known = [number for number in (end, ends.get((topic, partition))) if number is not None]
            if not known:
                continue
            waiting = max(max(known) - offset, 0)
            samples.add(Metric.LAG_RECORDS, waiting, topic, partition)
            if not waiting or newest_ms > 0:
                behind = max(_seconds(now_ms - newest_ms), 0.0) if waiting else 0.0
                samples.add(Metric.LAG_SECONDS, behind, topic, partition)

    def _of_health(self, samples: Samples) -> None:
        now = self._health.clock()
        for name, state in self._health.workers.items():
            samples.add(Metric.WORKER_STEPS, state.steps, name)
            samples.add(Metric.WORKER_WAITS, state.waits, name)
            samples.add(Metric.WORKER_WAITING, state.waiting is not None, name)
            samples.add(Metric.WORKER_QUIET, now - state.heard_s, name)
        for name, dependency in self._health.dependencies.items():
            up = dependency.problem is None and dependency.succeeded_s is not None
            samples.add(Metric.DEPENDENCY_UP, up, name)
            if dependency.succeeded_s is not None:
                samples.add(Metric.DEPENDENCY_QUIET, now - dependency.succeeded_s, name)

    def _of_figures(self, samples: Samples, now_ms: int) -> None:
        if self._figures.age_s is not None:
            samples.add(Metric.FIGURES_AGE, self._figures.age_s)
        if (stored := self._figures.of_store) is not None:
            oldest_ms = stored.outbox_oldest_ms
            samples.add(Metric.DIVERGENCES, stored.divergences)
            samples.add(Metric.OUTBOX_UNSENT, stored.outbox_unsent)
            samples.add(Metric.OUTBOX_AGE, 0.0 if oldest_ms is None else _seconds(now_ms - oldest_ms))
            samples.add(Metric.EXPERIMENTS_RUNNING, stored.experiments_running)
            for status, number in stored.jobs.items():
                samples.add(Metric.JOBS, number, status)
            for kind, number in stored.episodes_open.items():
                samples.add(Metric.EPISODES_OPEN, number, kind)
            for kind, number in stored.episodes_unacknowledged.items():
                samples.add(Metric.EPISODES_UNACKNOWLEDGED, number, kind)
            for kind, number in stored.episodes_muted.items():
                samples.add(Metric.EPISODES_MUTED, number, kind)
            for (partition, side), through_ms in stored.through_ms.items():
                if through_ms > 0:
                    samples.add(Metric.STORED_DELAY, _seconds(now_ms - through_ms), partition, side)
        if (logged := self._figures.of_log) is not None:
            samples.add(Metric.DEAD_LETTERS, logged.dead_letters)
            for lag in logged.lags:
                samples.add(Metric.LAG_RECORDS, lag.records, lag.topic, lag.partition)
                behind = 0.0 if lag.next_ms is None else max(_seconds(now_ms - lag.next_ms), 0.0)
                samples.add(Metric.LAG_SECONDS, behind, lag.topic, lag.partition)


def _judge(samples: Samples, worker: Judges) -> None:
    counts = worker.counts
    samples.add(Metric.JUDGED_ROWS, counts.rows)
    samples.add(Metric.JUDGE_FAILURES, counts.failed)
    for kind, number in counts.made.kinds.items():
        samples.add(Metric.DECISIONS, number, kind)
    samples.add_histogram(Metric.DECISION_LATENCY, counts.made.buckets(), counts.made.seconds)


def _seconds(milliseconds: int) -> float:
    return milliseconds / 1_000
