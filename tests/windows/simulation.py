"""Workers that own one partition at once, in any batches, crashing; a store that never overwrites."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass, field, fields
from random import Random
from typing import Any

import orjson

from domain.windows.fold import Closed, PartitionFold
from domain.windows.policy import WindowPolicy
from domain.windows.progress import Progress, dominates
from tests.windows.oracle import Expected, Oracle, Profiles
from tests.windows.records import Log

PARTITION = 3


class Broken(AssertionError):
    """A run did not give what the design promises."""


@dataclass(frozen=True)
class Parts:
    """What a run is made of; a mutant replaces one."""

    fold: Callable[[WindowPolicy, Progress], PartitionFold] = PartitionFold
    policy: Callable[..., WindowPolicy] = WindowPolicy
    advance: Callable[[Progress, Progress], Progress] = lambda old, new: new if dominates(new, old) else old


def maxima(old: Progress, new: Progress) -> Progress:
    """The tempting rule that loses rows: the larger of each field."""
    return Progress(**{f.name: max(getattr(old, f.name), getattr(new, f.name)) for f in fields(Progress)})


@dataclass
class Store:
    """Rows by natural key. Writing other bytes under a key is a divergence."""

    advance: Callable[[Progress, Progress], Progress]
    rows: dict[tuple[Any, ...], tuple[int, bytes]] = field(default_factory=dict)
    arrivals: dict[tuple[str, int], bytes] = field(default_factory=dict)
    progress: Progress = field(default_factory=lambda: Progress.start(PARTITION))

    def commit(self, closed: Closed) -> None:
        for row in closed.rows:
            key, value = astuple(row.key), (row.due_ms, row.body)
            if self.rows.setdefault(key, value) != value:
                raise Broken(f"divergence at {key}: {self.rows[key]!r} stored, {value!r} offered")
        for arrival in closed.arrivals:
            name = (arrival.side, arrival.window_start_ms)
            if self.arrivals.setdefault(name, arrival.body) != arrival.body:
                raise Broken(
                    f"divergence at {name}: {self.arrivals[name]!r} stored, {arrival.body!r} offered"
                )
        self.progress = self.advance(self.progress, closed.progress)


def offset_of(position: int) -> int:
    """Offsets have gaps, as a log with aborted or compacted records has."""
    return 10 + 3 * position


@dataclass
class Worker:
    """One fold and how far it has read."""

    fold: PartitionFold
    log: Log
    predictions_at: int
    outcomes_at: int
    start: Progress
    emitted: set[tuple[Any, ...]] = field(default_factory=set)

    @classmethod
    def boot(cls, parts: Parts, policy: WindowPolicy, log: Log, progress: Progress) -> "Worker":
        fold = parts.fold(policy, progress)
        at = [
            bisect_left([offset_of(i) for i in range(count)], offset)
            for count, offset in (
                (len(log.predictions), progress.predictions_offset),
                (len(log.outcomes), progress.outcomes_offset),
            )
        ]
        return cls(fold, log, at[0], at[1], progress)

    @property
    def done(self) -> bool:
        return self.predictions_at == len(self.log.predictions) and self.outcomes_at == len(self.log.outcomes)

    def read_predictions(self, count: int) -> None:
        batch = range(self.predictions_at, min(self.predictions_at + count, len(self.log.predictions)))
        entries = [self.log.predictions[i] for i in batch]
        self.fold.add_predictions(
            [offset_of(i) for i in batch], [t for t, _ in entries], [r for _, r in entries]
        )
        self.predictions_at = batch.stop if batch else self.predictions_at

    def read_outcomes(self, count: int) -> None:
        batch = range(self.outcomes_at, min(self.outcomes_at + count, len(self.log.outcomes)))
        entries = [self.log.outcomes[i] for i in batch]
        self.fold.add_outcomes(
            [offset_of(i) for i in batch], [t for t, _ in entries], [r for _, r in entries]
        )
        self.outcomes_at = batch.stop if batch else self.outcomes_at

    def close(self, profiles: Profiles, length_ms: int) -> Closed:
        """Close with the profiles the fold asked for, and hold it to `closable`."""
        closable, wanted = self.fold.closable(), self.fold.closing_versions()
        closed = self.fold.close({version: profiles[version] for version in wanted if version in profiles})
        if (closed.rows or closed.arrivals) and not closable:
            raise Broken("rows came from a fold that was not closable")
        self._check_new(closed, length_ms)
        return closed

    def _check_new(self, closed: Closed, length_ms: int) -> None:
        """A fold emits each row once, and none that the progress it started from claims."""
        start = self.start
        for row in closed.rows:
            end_ms = row.key.window_start_ms + length_ms
            inside = end_ms <= start.inputs_through_ms
            if row.key.kind == "score":
                inside = inside and row.due_ms <= start.outcomes_through_ms
            self._emit(astuple(row.key), inside)
        for arrival in closed.arrivals:
            predictions = arrival.side == "predictions"
            through = (
                start.prediction_arrivals_through_ms if predictions else start.outcome_arrivals_through_ms
            )
            self._emit(
                (arrival.side, arrival.window_start_ms), arrival.window_start_ms + length_ms <= through
            )

    def _emit(self, key: tuple[Any, ...], claimed: bool) -> None:
        if claimed or key in self.emitted:
            raise Broken(f"{key} was emitted again")
        self.emitted.add(key)


@dataclass(frozen=True)
class Outcome:
    rows: int
    restarts: int


def run(
    log: Log, policy: WindowPolicy, profiles: Profiles, r: Random, workers: int, parts: Parts | None = None
) -> Outcome:
    """Fold `log` by several workers with crashes; raises Broken unless the store equals the oracle."""
    parts = parts or Parts()
    store = Store(parts.advance)
    crew = [Worker.boot(parts, policy, log, store.progress) for _ in range(workers)]
    restarts = 0
    while not all(worker.done for worker in crew):
        at = r.randrange(workers)
        worker = crew[at]
        crash = r.choice(("before reading", "before the commit", "after it")) if r.random() < 0.08 else None
        crash = crash if restarts < 60 else None
        if crash != "before reading":
            step(worker, r)
            if r.random() < 0.5 or worker.done:
                closed = worker.close(profiles, policy.length_ms)
                if crash != "before the commit":
                    store.commit(closed)
                    if store.progress == closed.progress:
                        check_conservation(store, worker, closed.progress)
        if crash:
            crew[at] = Worker.boot(parts, policy, log, store.progress)
            restarts += 1
    compare(Oracle(policy, profiles, log, PARTITION).expected, store)
    return Outcome(len(store.rows), restarts)


def step(worker: Worker, r: Random) -> None:
    """Read a batch of one topic, of one that is not at its end if there is one."""
    count = r.choice([1, 3, 20])
    predictions_left = worker.predictions_at < len(worker.log.predictions)
    if predictions_left and (r.random() < 0.5 or worker.outcomes_at == len(worker.log.outcomes)):
        worker.read_predictions(count)
    else:
        worker.read_outcomes(count)


def compare(expected: Expected, store: Store) -> None:
    tables: tuple[tuple[str, Mapping[Any, Any], Mapping[Any, Any]], ...] = (
        ("rows", expected.rows, store.rows),
        ("arrivals", expected.arrivals, store.arrivals),
    )
    for name, want, have in tables:
        if want != have:
            key = min((k for k in {*want, *have} if _get(want, k) != _get(have, k)), key=repr)
            raise Broken(f"{name} differ at {key}:\n oracle {_get(want, key)!r}\n store  {_get(have, key)!r}")


def _get(table: Mapping[Any, Any], key: Any) -> Any:
    return table.get(key, "no row")


def check_conservation(store: Store, worker: Worker, progress: Progress) -> None:
    """All that was read is in an arrival row or pending, all that was tallied in an input row or open."""
    pending = worker.fold.pending()
    arrived = {
        side: [
            orjson.loads(body)
            for (name, start), body in store.arrivals.items()
            if name == side and start < through
        ]
        for side, through in (
            ("predictions", progress.prediction_arrivals_through_ms),
            ("outcomes", progress.outcome_arrivals_through_ms),
        )
    }
    read: dict[str, list[object]] = {
        "predictions": [record for _, record in worker.log.predictions[: worker.predictions_at]],
        "outcomes": [record for _, record in worker.log.outcomes[: worker.outcomes_at]],
    }
    for side, open_counts in (("predictions", pending.predictions), ("outcomes", pending.outcomes)):
        bodies = [*arrived[side], open_counts]
        total = sum(body["read"] for body in bodies)
        heartbeats = sum(body["heartbeat"] for body in bodies)
        by_fate = sum(n for body in bodies for name, n in body.items() if name not in ("read", "heartbeat"))
        if total != sum(record is not None for record in read[side]) or by_fate != total:
            raise Broken(f"{side}: {total} counted, {by_fate} by fate, of {len(read[side])} read")
        if heartbeats != sum(record is None for record in read[side]):
            raise Broken(f"{side}: {heartbeats} heartbeats counted")
    tallied = sum(body["tallied"] for body in [*arrived["predictions"], pending.predictions])
    in_rows = sum(_input_sizes(store, progress.inputs_through_ms))
    if tallied != in_rows + pending.open_predictions:
        raise Broken(f"{tallied} tallied, {in_rows} in rows, {pending.open_predictions} open")


def _input_sizes(store: Store, through_ms: int) -> Iterable[int]:
    for key, (due_ms, body) in store.rows.items():
        if key[0] == "input" and due_ms <= through_ms:
            yield orjson.loads(body)["n"]
