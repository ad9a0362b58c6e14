"""Publishing predictions and outcomes: keyed, in order, counted, to the embedded log once over restarts."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from .contracts import LogFile, NewRecord, OutcomeObserved, PredictionMade, Topics, record_of

HotEvent = PredictionMade | OutcomeObserved
MAX_BATCH = 10_000


class BatchTooLarge(ValueError):
    """A batch is bounded, so that a publisher that falls behind is told so instead of filling the memory."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"a batch of {size} events is over the limit of {limit}: publish it in parts")
        self.size, self.limit = size, limit


@dataclass(slots=True)
class Sent:
    """What a publisher has sent since it was made."""

    predictions: int = 0
    outcomes: int = 0
    repeated_batches: int = 0
    """Batches that the log had already, and that were not written again."""


class Publisher(Protocol):
    """Publishes events of the two hot topics. The record's time is the event's `occurred_at`.

    When a call returns, its events are in the log. When it raises, the embedded log has nothing of its batch.
    Kafka may have some (LogUnavailable, LogRefused, cancellation), and publishing the batch again is right:
    of several records of one answer, or of one outcome, the windows use one.
    """

    sent: Sent

    async def publish(self, events: Sequence[HotEvent], *, sequence: int | None = None) -> bool:
        """Publish all `events`, in order.

        With `sequence` (a number that never falls) the batch is written once, however often and by
        whichever restart of this producer it is offered; False says that the log had it already.
        Kafka keeps no sequences over a restart: there it raises SequencesUnsupported.
        Raises BatchTooLarge, FutureTimestamp, LogUnavailable.
        """
        ...

    async def predict(self, event: PredictionMade) -> None:
        """Publish one prediction."""
        ...

    async def outcome(self, event: OutcomeObserved) -> None:
        """Publish one outcome."""
        ...

    async def last_sequence(self) -> int | None:
        """The sequence of this producer's last batch; None before the first one.

        Raises SequencesUnsupported on Kafka: read the topics back instead (KafkaEvents).
        """
        ...

    async def close(self) -> None:
        """Let go of the log."""
        ...


class Single(ABC):
    """Publishing one by one, the same for every publisher."""

    @abstractmethod
    async def publish(self, events: Sequence[HotEvent], *, sequence: int | None = None) -> bool: ...

    @abstractmethod
    async def close(self) -> None: ...

    async def predict(self, event: PredictionMade) -> None:
        await self.publish([event])

    async def outcome(self, event: OutcomeObserved) -> None:
        await self.publish([event])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class EmbeddedPublisher(Single):
    """Publishes to the embedded log's file. `producer` names this publisher over restarts."""

    def __init__(
        self, path: Path, *, producer: str, topics: Topics | None = None, max_batch: int = MAX_BATCH
    ) -> None:
        """Raises LogUnavailable if `path` cannot be used; the topics must exist (`lifecycle init`)."""
        self.sent = Sent()
        self._topics = topics or Topics()
        self._producer = producer
        self._max_batch = max_batch
        self._file = LogFile(path, now_ms=_now_ms)
        self._turn = asyncio.Lock()

    async def publish(self, events: Sequence[HotEvent], *, sequence: int | None = None) -> bool:
        if len(events) > self._max_batch:
            raise BatchTooLarge(len(events), self._max_batch)
        records = [record_of(event, self._topics, source=self._producer) for event in events]
        async with self._turn:
            written = await asyncio.to_thread(self._append, records, sequence)
        count_sent(self.sent, events, written=written)
        return written

    async def last_sequence(self) -> int | None:
        async with self._turn:
            return await asyncio.to_thread(self._file.last_sequence, self._producer)

    async def close(self) -> None:
        async with self._turn:
            await asyncio.to_thread(self._file.close)

    def _append(self, records: Sequence[NewRecord], sequence: int | None) -> bool:
        producer = self._producer if sequence is not None else None
        return self._file.append(records, producer=producer, sequence=sequence) is not None


class InMemoryPublisher(Single):
    """The twin for your own tests: keeps what was published in `events`."""

    def __init__(self, *, max_batch: int = MAX_BATCH) -> None:
        self.sent = Sent()
        self.events: list[HotEvent] = []
        self._max_batch = max_batch
        self._sequence: int | None = None

    async def publish(self, events: Sequence[HotEvent], *, sequence: int | None = None) -> bool:
        if len(events) > self._max_batch:
            raise BatchTooLarge(len(events), self._max_batch)
        written = sequence is None or self._sequence is None or sequence > self._sequence
        if written:
            self.events.extend(events)
            self._sequence = self._sequence if sequence is None else sequence
        count_sent(self.sent, events, written=written)
        return written

    async def last_sequence(self) -> int | None:
        return self._sequence

    async def close(self) -> None:
        return None


def count_sent(sent: Sent, events: Sequence[HotEvent], *, written: bool) -> None:
    """Count a batch that was published, or that the log had already."""
    if not written:
        sent.repeated_batches += 1
        return
    predictions = sum(isinstance(event, PredictionMade) for event in events)
    sent.predictions += predictions
    sent.outcomes += len(events) - predictions


def _now_ms() -> int:
    # the log's check that no record comes from the future; never the time of an event
    return time.time_ns() // 1_000_000
