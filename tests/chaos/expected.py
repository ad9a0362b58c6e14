"""The rows that the topics lead to, by the plain oracle of the window tests: no code of the fold.

Records are decoded by the contract (pydantic), not by the worker's decoder.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from typing import Any

from domain.windows.policy import WindowPolicy
from domain.windows.profile import ReferenceProfile
from domain.windows.records import Invalid
from schemas.codec import decode
from schemas.errors import InvalidRecord
from schemas.events import OutcomeObserved, PredictionMade
from tests.chaos.topics import Found, Partitions
from tests.windows.oracle import Expected, Key, Oracle, Profiles, Told
from tests.windows.records import Log, Outcome, Prediction

MAX_BYTES = 1 << 20
_FEW = 30_000
"""Records that are folded sooner than other processes are started."""


@dataclass(slots=True)
class Expectation:
    """What the store must hold, and nothing else."""

    rows: dict[Key, tuple[int, bytes]] = field(default_factory=dict)
    """RowKey fields -> (due, body)"""
    arrivals: dict[tuple[str, int, int], bytes] = field(default_factory=dict)
    """(side, partition, window start) -> body"""
    invalid: set[tuple[str, int, int]] = field(default_factory=set)
    """(side, partition, offset) of every record that nobody can use"""
    records: int = 0


class IndexedOracle(Oracle):
    """The oracle with what it searches for looked up by id: it is quadratic in a log otherwise."""

    def __init__(self, policy: WindowPolicy, profiles: Profiles, log: Log, partition: int) -> None:
        self._by_id: dict[str, list[int]] | None = None
        self._answered: dict[str, list[tuple[int, Prediction]]] | None = None
        self._forgotten: dict[int, int] = {}
        super().__init__(policy, profiles, log, partition)

    def eligible(self, w: int, record: Prediction) -> list[int]:
        if self._by_id is None:
            self._by_id = defaultdict(list)
            for t in self.otold:
                if t.fate == "taken":
                    self._by_id[self.outcome(t.position).prediction_id].append(t.position)
        from_ms, cutoff = w * self.L - self.policy.slack_ms, self.cutoff(w, record.horizon_s)
        positions = self._by_id.get(record.prediction_id, ())
        return [p for p in positions if from_ms <= self.otold[p].timestamp < cutoff]

    def forgotten(self, w: int) -> int:
        if w not in self._forgotten:
            self._forgotten[w] = super().forgotten(w)
        return self._forgotten[w]

    def fate(self, t: Told) -> str:
        if t.fate != "taken" or t.position in self.winners or t.position in self.losers:
            return super().fate(t)
        if self._answered is None:
            self._answered = defaultdict(list)
            for w, records in self.windows.items():
                for record in records:
                    self._answered[record.prediction_id].append((w, record))
        for w, record in self._answered.get(self.outcome(t.position).prediction_id, ()):
            if self.cutoff(w, record.horizon_s) <= t.timestamp < self.forgotten(w):
                return "late_correction"
        return "orphan"


def expectation(
    policy: WindowPolicy,
    profiles: Mapping[tuple[str, str], ReferenceProfile],
    predictions: Partitions,
    outcomes: Partitions,
    workers: int = 2,
) -> Expectation:
    """Fold every partition of both topics, one after the other, from its first record to its last."""
    logs = [(p, predictions[p], outcomes[p]) for p in sorted(predictions)]
    fold = partial(of_partition, policy, profiles)
    if sum(len(p) + len(o) for _, p, o in logs) < _FEW:
        return _together(map(fold, logs))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return _together(pool.map(fold, logs))


def _together(parts: Iterable[Expectation]) -> Expectation:
    whole = Expectation()
    for part in parts:
        whole.rows |= part.rows
        whole.arrivals |= part.arrivals
        whole.invalid |= part.invalid
        whole.records += part.records
    return whole


def of_partition(
    policy: WindowPolicy, profiles: Profiles, log: tuple[int, Sequence[Found], Sequence[Found]]
) -> Expectation:
    """What one partition leads to."""
    partition, predictions, outcomes = log
    decoded = Log(
        [(r.timestamp_ms, prediction_of(r.value, policy.max_horizon_s)) for r in predictions],
        [(r.timestamp_ms, outcome_of(r.value)) for r in outcomes],
    )
    answer: Expected = IndexedOracle(policy, profiles, decoded, partition).expected
    entries: tuple[tuple[str, Sequence[tuple[int, Any]]], ...] = (
        ("predictions", decoded.predictions),
        ("outcomes", decoded.outcomes),
    )
    return Expectation(
        rows=answer.rows,
        arrivals={(side, partition, start): body for (side, start), body in answer.arrivals.items()},
        invalid={
            (side, partition, offset)
            for side, records in entries
            for offset, (_, record) in enumerate(records)
            if isinstance(record, Invalid)
        },
        records=len(predictions) + len(outcomes),
    )


def prediction_of(value: bytes | None, max_horizon_s: int) -> Prediction | Invalid | None:
    """A heartbeat is None."""
    if not value:
        return None
    if len(value) > MAX_BYTES:
        return Invalid("oversize")
    try:
        made = decode(PredictionMade, value)
    except InvalidRecord as error:
        return Invalid(error.reason)
    if made.horizon_s > max_horizon_s:
        return Invalid("horizon")
    return Prediction(
        prediction_id=made.prediction_id,
        model=made.model,
        version=made.version,
        variant=made.variant,
        experiment=made.experiment,
        epoch=made.epoch,
        served=made.served,
        prediction=made.prediction,
        features=made.features,
        unit=made.unit,
        covariate=made.covariate,
        horizon_s=made.horizon_s,
    )


def outcome_of(value: bytes | None) -> Outcome | Invalid | None:
    """A heartbeat is None."""
    if not value:
        return None
    if len(value) > MAX_BYTES:
        return Invalid("oversize")
    try:
        made = decode(OutcomeObserved, value)
    except InvalidRecord as error:
        return Invalid(error.reason)
    return Outcome(prediction_id=made.prediction_id, actual=made.actual, values=made.values)
