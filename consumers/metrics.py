"""The metrics of a process: one table of all names, and what turns numbers into Prometheus' families.

Nothing on the hot path knows of Prometheus. Workers count in plain fields for themselves, and a scrape reads
those fields (`services.measuring`). What is in the store or the log is read by a task of its own
(`services.figures`), so that a scrape never waits for either.

Metrics of scope DEPLOYMENT say the same in every process that shows them: take their `max`, not their `sum`.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from itertools import accumulate
from typing import Literal

import orjson
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

Kind = Literal["counter", "gauge", "histogram"]
Scope = Literal["PROCESS", "DEPLOYMENT"]
Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric as Prometheus knows it."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    scope: Scope = "PROCESS"


def _counter(name: str, text: str, *labels: str) -> Definition:
    return Definition(f"lifecycle_{name}_total", "counter", text, labels)


def _gauge(name: str, text: str, *labels: str) -> Definition:
    return Definition(f"lifecycle_{name}", "gauge", text, labels)


def _deployment(name: str, text: str, *labels: str) -> Definition:
    return Definition(f"lifecycle_{name}", "gauge", text, labels, "DEPLOYMENT")


class Metric(Enum):
    """Every metric of the service. `process_…` (CPU, memory, open files) come from the client library."""

    # tally
    RECORDS_READ = _counter("records_read", "Records folded, heartbeats and invalid ones too.")
    RECORDS = _counter("records", "Records by what became of them, once that is settled.", "side", "fate")
    INVALID = _counter("invalid_records", "Records that could not be read, as they were met.")
    CLOSINGS = _counter("closings", "Transactions that wrote closed windows.")
    ROWS = _counter("rows", "Window rows offered to the store.")
    DIVERGED = _counter("diverged_rows", "Rows that differed from the stored ones; 0 in a sound deployment.")
    UNREADABLE = _gauge(
        "unreadable_partitions", "Partitions that stand still: their next records cannot be decoded."
    )
    OPEN_WINDOWS = _gauge("open_windows", "Windows held in memory.", "partition")
    OPEN_RECORDS = _gauge("open_records", "Predictions and outcomes held in memory.", "partition")
    WATERMARK_DELAY = _gauge(
        "watermark_delay_seconds",
        "Wall clock less the newest event time read of one side of a partition.",
        "partition",
        "side",
    )
    CLOSED_DELAY = _gauge(
        "closed_delay_seconds",
        "Wall clock less the event time up to which windows are closed.",
        "partition",
        "side",
    )
    LAG_RECORDS = _gauge("lag_records", "Records that wait to be read.", "topic", "partition")
    LAG_SECONDS = _gauge(
        "lag_seconds",
        "Wall clock less the event time reached, 0 when no record waits.",
        "topic",
        "partition",
    )
    # judge
    JUDGED_ROWS = _counter("judged_rows", "Window rows judged.")
    DECISIONS = _counter("decisions", "Decisions made.", "kind")
    JUDGE_FAILURES = _counter("judge_failures", "Judgements that ended in an error of the model's own.")
    DECISION_LATENCY = Definition(
        "lifecycle_decision_latency_seconds",
        "histogram",
        "Wall clock at a decision less the event time of its window's end.",
    )
    # relay, registry
    RELAY_SENT = _counter("relay_sent", "Events handed to the log.")
    RELAY_ACTIVE = _gauge("relay_active", "1 on the relay that sends: of several the one with the lock.")
    RELAY_REFUSED = _counter("relay_refused", "Events that the log will never take.")
    REGISTRY_RESULTS = _counter("registry_results", "Orders handled, by their result's first word.", "result")
    # every worker
    WORKER_STEPS = _counter("worker_steps", "Steps that found something to do.", "worker")
    WORKER_WAITS = _counter("worker_waits", "Times that a worker had to wait for a dependency.", "worker")
    WORKER_WAITING = _gauge("worker_waiting", "1 while a worker waits for a dependency.", "worker")
    WORKER_QUIET = _gauge("worker_quiet_seconds", "Time since a worker was heard of.", "worker")
    DEPENDENCY_UP = _gauge("dependency_up", "1 when the dependency answered the last probe.", "dependency")
    DEPENDENCY_QUIET = _gauge(
        "dependency_quiet_seconds", "Time since the dependency answered a probe.", "dependency"
    )
    FIGURES_AGE = _gauge("figures_age_seconds", "Age of the figures of scope deployment below.")
    # what is in the store and the log
    DIVERGENCES = _deployment("divergences", "Rows that two workers computed differently, ever.")
    OUTBOX_UNSENT = _deployment("outbox_unsent", "Events that wait for the relay.")
    OUTBOX_AGE = _deployment("outbox_age_seconds", "Age of the oldest event that waits for the relay, or 0.")
    JOBS = _deployment("jobs", "Retraining jobs.", "status")
    EPISODES_OPEN = _deployment("drift_episodes_open", "Drift episodes that have not ended.", "drift_type")
    EPISODES_UNACKNOWLEDGED = _deployment(
        "drift_episodes_unacknowledged",
        "Open drift episodes that nobody acknowledged and no mute silences.",
        "drift_type",
    )
    EPISODES_MUTED = _deployment(
        "drift_episodes_muted", "Open drift episodes that a mute silences.", "drift_type"
    )
    EXPERIMENTS_RUNNING = _deployment("experiments_running", "Experiments that run.")
    STORED_DELAY = _deployment(
        "stored_delay_seconds",
        "Wall clock less the event time up to which the store holds closed windows, whoever reads.",
        "partition",
        "side",
    )
    DEAD_LETTERS = _deployment("dead_letters", "Records in the dead-letter topic.")


# ---------------------------------------------------------------- what workers count with


@dataclass(slots=True)
class Fates:
    """Records by (side, fate), summed over the arrival rows that a worker wrote."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, side: str, body: bytes) -> None:
        """Count an arrival row: a JSON object of fate → records, and `read`, which is their sum."""
        for fate, records in orjson.loads(body).items():
            if fate != "read":
                self.counts[side, fate] += records


@dataclass(slots=True)
class DecisionCounts:
    """Decisions by kind, and how long after their window's end they were made."""

    bounds_s: tuple[float, ...] = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3_600.0, 86_400.0)
    kinds: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    sizes: Counter[int] = field(default_factory=Counter)
    """Index of the smallest bound that is not below → how many; the last index is beyond all bounds."""

    def add(self, kind: str, seconds: float) -> None:
        """Count a decision. Event time may be ahead of the wall clock: such a latency counts as 0."""
        seconds = max(seconds, 0.0)
        self.kinds[kind] += 1
        self.sizes[bisect_left(self.bounds_s, seconds)] += 1
        self.seconds += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, how many are at most that), the last bound "+Inf"."""
        bounds = [*map(str, self.bounds_s), "+Inf"]
        return list(zip(bounds, accumulate(self.sizes[index] for index in range(len(bounds))), strict=True))


# ---------------------------------------------------------------- what a scrape is made of


class Samples:
    """Collects the samples of one scrape. Every metric of the table is a family, with samples or without."""

    def __init__(self) -> None:
        self._families = {metric: _family(metric.value) for metric in Metric}

    def add(self, metric: Metric, value: float, *labels: object) -> None:
        """One sample of a counter or gauge. Raises ValueError unless each label of the table has a value."""
        if len(labels) != len(metric.value.labels):
            raise ValueError(f"{metric.value.name} has the labels {metric.value.labels}, not {labels}")
        family = self._families[metric]
        if isinstance(family, HistogramMetricFamily):
            raise TypeError(f"{metric.value.name} is a histogram")
        family.add_metric([str(label) for label in labels], value)

    def add_histogram(self, metric: Metric, buckets: list[tuple[str, float]], total: float) -> None:
        """The one histogram of a metric without labels."""
        family = self._families[metric]
        if not isinstance(family, HistogramMetricFamily):
            raise TypeError(f"{metric.value.name} is no histogram")
        family.add_metric([], buckets, total)

    def families(self) -> Iterable[Family]:
        """All families, in the table's order."""
        return self._families.values()


def _family(definition: Definition) -> Family:
    text = definition.help if definition.scope == "PROCESS" else f"{definition.help} Of the deployment: max."
    match definition.kind:
        case "counter":
            return CounterMetricFamily(definition.name, text, labels=definition.labels)
        case "gauge":
            return GaugeMetricFamily(definition.name, text, labels=definition.labels)
        case "histogram":
            return HistogramMetricFamily(definition.name, text, labels=definition.labels)
