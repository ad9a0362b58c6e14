"""History for training, read from the two hot topics themselves and joined by the rules of the windows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

from consumers.log.decode import Limits, decode_outcomes, decode_predictions
from consumers.log.port import EventLog, LogRecord
from domain.retraining.history import HistoryRow
from domain.windows.policy import WindowPolicy
from domain.windows.records import Feature, Invalid, OutcomeRecord, PredictionRecord

_BATCH = 5_000

Decoded = TypeVar("Decoded", PredictionRecord, OutcomeRecord)


class HistoryNotClosed(Exception):
    """The log has not moved past the asked time: what history holds could still change. Try again later."""

    def __init__(self, topic: str, partition: int, through_ms: int, needed_ms: int) -> None:
        super().__init__(f"{topic}[{partition}] is closed through {through_ms} ms, {needed_ms} ms needed")
        self.topic = topic
        self.partition = partition
        self.through_ms = through_ms
        self.needed_ms = needed_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A served answer whose outcome side is closed; the outcome may be missing."""

    answer: PredictionRecord
    outcome: OutcomeRecord | None
    occurred_at_ms: int
    window_start_ms: int
    due_ms: int
    """Cutoff of its window's outcomes."""


@dataclass(slots=True)
class _Request:
    """What was answered to one request of one window."""

    window_start_ms: int
    cutoff_ms: int
    occurred_at_ms: int
    horizon_s: int
    served: PredictionRecord | None = None
    answers: dict[str, float | str] = field(default_factory=dict)
    variants: set[str | None] = field(default_factory=set)
    outcome: OutcomeRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """Which predictions are read."""

    from_ms: int
    """At this event time or later."""
    before_ms: int | None = None
    """Before this event time."""
    cutoff_ms: int | None = None
    """Whose outcomes close by then."""
    inputs_ms: int
    """Event time that the topic must have passed."""

    def holds(self, at_ms: int) -> bool:
        return self.from_ms <= at_ms and (self.before_ms is None or at_ms < self.before_ms)


@dataclass(slots=True)
class _Clock:
    """The largest timestamp of a topic-partition so far, and what it makes late."""

    slack_ms: int
    newest_ms: int = 0

    @property
    def through_ms(self) -> int:
        """No later record that counts is older than this."""
        return self.newest_ms - self.slack_ms

    def see(self, timestamp_ms: int) -> bool:
        """Moves time; whether the record is late, judged against those before it."""
        late = timestamp_ms < self.through_ms
        self.newest_ms = max(self.newest_ms, timestamp_ms)
        return late


class HistoricalDataService:
    """Joined rows of one model, a function of the log and of `as_of` alone.

    Reads from the first kept record of every partition: lateness depends on all records before. The requests
    asked for are kept in memory; one without a served answer or without an outcome gives no row.
    """

    def __init__(
        self, log: EventLog, predictions: str, outcomes: str, windows: WindowPolicy, limits: Limits
    ) -> None:
        self._log = log
        self._predictions = predictions
        self._outcomes = outcomes
        self._windows = windows
        self._limits = limits

    async def fetch(self, model: str, as_of_ms: int, *, from_ms: int = 0) -> list[HistoryRow]:
        """Served answers whose outcome side closes by `as_of_ms`, with the outcome that the windows use.

        Only predictions at or after `from_ms`; ordered by time and prediction_id. Later records cannot change
        the answer: until the log has passed the last cutoff needed, HistoryNotClosed is raised.
        """
        rows: list[HistoryRow] = []
        for partition in range(await self._partitions()):
            requests = await self._read_predictions(partition, model, self._closed_by(as_of_ms, from_ms))
            await self._read_outcomes(partition, requests)
            rows.extend(_rows(requests.values()))
        return sorted(rows, key=lambda row: (row.occurred_at_ms, row.prediction_id))

    async def answered(self, model: str, version: str, as_of_ms: int) -> list[Answered]:
        """Served answers of one version whose outcome side closes by `as_of_ms`, with or without outcome, in
        the order in which they are judged. Raises HistoryNotClosed."""
        found: list[Answered] = []
        for partition in range(await self._partitions()):
            requests = await self._read_predictions(partition, model, self._closed_by(as_of_ms, 0))
            await self._read_outcomes(partition, requests)
            found += _answered(requests.values(), version)
        found.sort(key=_judging_order)
        return found

    async def stretch(self, model: str, version: str, from_ms: int, to_ms: int) -> list[Answered]:
        """Served answers of one version in windows, by window and prediction_id.

        The windows are those from `from_ms` to `to_ms` (not included); both are starts of windows. An outcome
        whose side is not closed yet is not there.
        Raises HistoryNotClosed while a window could still change.
        """
        found: list[Answered] = []
        span = _Span(from_ms=from_ms, before_ms=to_ms, inputs_ms=to_ms)
        for partition in range(await self._partitions()):
            requests = await self._read_predictions(partition, model, span)
            through_ms = await self._read_outcomes(partition, requests, wait=False)
            for request in requests.values():
                if request.cutoff_ms > through_ms:
                    request.outcome = None
            found += _answered(requests.values(), version)
        found.sort(key=lambda each: (each.window_start_ms, each.answer.prediction_id))
        return found

    def _closed_by(self, as_of_ms: int, from_ms: int) -> _Span:
        # An outcome is due a second after its prediction or later, so windows that end later close later.
        inputs_ms = as_of_ms - self._windows.grace_ms - 1_000
        return _Span(from_ms=from_ms, cutoff_ms=as_of_ms, inputs_ms=inputs_ms)

    async def _partitions(self) -> int:
        return (await self._log.topics())[self._predictions].partitions

    async def _read_predictions(
        self, partition: int, model: str, span: _Span
    ) -> dict[tuple[int, str], _Request]:
        clock = _Clock(self._windows.slack_ms)
        requests: dict[tuple[int, str], _Request] = {}
        offset = await self._log.begin(self._predictions, partition)
        while clock.through_ms < span.inputs_ms:
            batch = await self._log.read(self._predictions, partition, offset, _BATCH)
            if not batch:
                raise HistoryNotClosed(self._predictions, partition, clock.through_ms, span.inputs_ms)
            offset = batch[-1].offset + 1
            for record, decoded in _timely(batch, decode_predictions(batch, self._limits), clock):
                if decoded.model == model and span.holds(record.timestamp_ms):
                    self._answer(requests, record.timestamp_ms, decoded, span)
        return requests

    def _answer(
        self, requests: dict[tuple[int, str], _Request], at_ms: int, answer: PredictionRecord, span: _Span
    ) -> None:
        window = self._windows.window_start(at_ms)
        cutoff = self._windows.cutoff_ms(window, answer.horizon_s)
        if span.cutoff_ms is not None and cutoff > span.cutoff_ms:
            return
        request = requests.setdefault(
            (window, answer.prediction_id), _Request(window, cutoff, at_ms, answer.horizon_s)
        )
        if answer.variant in request.variants:
            return  # a duplicate: the first record counts
        request.variants.add(answer.variant)
        request.answers.setdefault(answer.version, answer.prediction)
        if answer.served and request.served is None:
            request.served = answer
            request.occurred_at_ms, request.horizon_s, request.cutoff_ms = at_ms, answer.horizon_s, cutoff

    async def _read_outcomes(
        self, partition: int, requests: Mapping[tuple[int, str], _Request], *, wait: bool = True
    ) -> int:
        """Join them; how far outcomes are closed. Unless one is to `wait`, those in the log will do."""
        served = [request for request in requests.values() if request.served is not None]
        if not served:
            return 0
        by_id: dict[str, list[_Request]] = {}
        for (_, prediction_id), request in requests.items():
            by_id.setdefault(prediction_id, []).append(request)
        needed = max(request.cutoff_ms for request in served)
        clock = _Clock(self._windows.slack_ms)
        offset = await self._log.begin(self._outcomes, partition)
        while clock.through_ms < needed:
            batch = await self._log.read(self._outcomes, partition, offset, _BATCH)
            if not batch and not wait:
                break
            if not batch:
                raise HistoryNotClosed(self._outcomes, partition, clock.through_ms, needed)
            offset = batch[-1].offset + 1
            for record, outcome in _timely(batch, decode_outcomes(batch, self._limits), clock):
                self._join(by_id.get(outcome.prediction_id, ()), record.timestamp_ms, outcome)
        return clock.through_ms

    def _join(self, requests: Sequence[_Request], at_ms: int, outcome: OutcomeRecord) -> None:
        for request in requests:
            if request.window_start_ms - self._windows.slack_ms <= at_ms < request.cutoff_ms:
                request.outcome = outcome  # the last in the partition corrects those before it


def _answered(requests: Iterable[_Request], version: str) -> Iterator[Answered]:
    for request in requests:
        if request.served is not None and request.served.version == version:
            yield Answered(
                answer=request.served,
                outcome=request.outcome,
                occurred_at_ms=request.occurred_at_ms,
                window_start_ms=request.window_start_ms,
                due_ms=request.cutoff_ms,
            )


def _judging_order(each: Answered) -> tuple[int, int, int, str]:
    return (each.due_ms, each.window_start_ms, each.answer.horizon_s, each.answer.prediction_id)


def _timely(
    records: Sequence[LogRecord], decoded: Sequence[Decoded | Invalid | None], clock: _Clock
) -> Iterator[tuple[LogRecord, Decoded]]:
    """The valid records that are not late; every record but one with a lying clock moves time."""
    for record, value in zip(records, decoded, strict=True):
        if isinstance(value, Invalid):
            if value.moves_time:
                clock.see(record.timestamp_ms)
            continue
        late = clock.see(record.timestamp_ms)
        if value is not None and not late:
            yield record, value


def _rows(requests: Iterable[_Request]) -> Iterator[HistoryRow]:
    """One row per prediction_id: of a request repeated in a later window the first counts."""
    seen: set[str] = set()
    for request in sorted(requests, key=lambda request: request.window_start_ms):
        answer = request.served
        if answer is None or request.outcome is None or answer.prediction_id in seen:
            continue
        seen.add(answer.prediction_id)
        yield HistoryRow(
            prediction_id=answer.prediction_id,
            occurred_at_ms=request.occurred_at_ms,
            horizon_s=request.horizon_s,
            version=answer.version,
            prediction=answer.prediction,
            answers=request.answers,
            # as `decode_predictions` gives them; numbers as rows are for folds only
            features=cast(Mapping[str, Feature], answer.features),
            actual=request.outcome.actual,
        )
