"""Idempotent appending: whole batches per partition, each acknowledged before the next one goes out.

A producer's sequence is only good as long as every batch's fate is known. After a failure, and after a
cancelled append, it is thrown away and the brokers give a new one: else the next batch could bear the
number of one that was written, and be taken for it.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import errors
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from consumers.log.kafka_brokers import Brokers, checked, passes
from consumers.log.port import FutureTimestamp, NewRecord, RecordTooLarge

Place = tuple[str, int]
"""Topic and partition."""

_CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
_MAGIC = 2
_ALL = -1
# half of what a broker takes by default (1 MiB), so that framing never decides
_BATCH_BYTES = 512 << 10
# of one request, which holds a batch of each partition at most
_REQUEST_BYTES = 8 << 20
_BROKEN = (
    errors.OutOfOrderSequenceNumber,
    errors.DuplicateSequenceNumber,
    errors.UnknownProducerId,
    errors.InvalidProducerEpoch,
    errors.InvalidProducerIdMapping,
)
"""The brokers' idea of our sequence is not ours: a new producer writes what was not acknowledged."""
_TOO_LARGE = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)


@dataclass(slots=True)
class _Pending:
    """What one append has yet to write to one partition: positions in the append, in order."""

    positions: deque[int] = field(default_factory=deque)
    at_most: int = 1 << 30
    """Records in a batch: fewer after one was too large."""


@dataclass(frozen=True, slots=True)
class _Batch:
    place: Place
    count: int
    data: bytes


class Producer:
    """Writes batches to the leaders of partitions. One append at a time."""

    def __init__(self, brokers: Brokers, compression: str) -> None:
        self._brokers = brokers
        self._codec = _CODECS[compression]
        self._identity: tuple[int, int] | None = None
        self._sequences: defaultdict[Place, int] = defaultdict(int)
        self._turn = asyncio.Lock()

    async def append(self, records: Sequence[NewRecord], partitions: Sequence[int]) -> list[int]:
        """Writes each record to its partition, in order; returns the offsets.

        Raises LogUnavailable, LogRefused, FutureTimestamp, RecordTooLarge; then some records may be written.
        """
        async with self._turn:
            try:
                return await self._append(records, partitions)
            except BaseException:
                self._identity = None
                raise

    async def _append(self, records: Sequence[NewRecord], partitions: Sequence[int]) -> list[int]:
        pending: defaultdict[Place, _Pending] = defaultdict(_Pending)
        for position, (record, partition) in enumerate(zip(records, partitions, strict=True)):
            pending[record.topic, partition].positions.append(position)
        offsets = [0] * len(records)
        while pending:
            # the time limit is for one batch: an append of any size goes on as long as it moves
            written = await self._some(records, pending)
            for place, (offset, count) in written.items():
                positions = pending[place].positions
                for index in range(count):
                    offsets[positions.popleft()] = offset + index
                if not positions:
                    del pending[place]
        return offsets

    async def _some(
        self, records: Sequence[NewRecord], pending: dict[Place, _Pending]
    ) -> dict[Place, tuple[int, int]]:
        """Sends a batch of each partition until at least one is written: first offset and count of each."""

        async def attempt() -> dict[Place, tuple[int, int]]:
            while True:
                written, failures = await self._round(records, pending)
                for batch, error in failures:
                    self._settle(records, pending[batch.place], batch, error)
                    self._brokers.forget(batch.place[0])
                if written:
                    return written
                for _, error in failures:
                    if passes(error):
                        raise error

        return await self._brokers.answered(attempt)

    async def _round(
        self, records: Sequence[NewRecord], pending: dict[Place, _Pending]
    ) -> tuple[dict[Place, tuple[int, int]], list[tuple[_Batch, errors.KafkaError]]]:
        if self._identity is None:
            self._identity = await self._new_identity()
            self._sequences.clear()
        batches: dict[int, list[_Batch]] = defaultdict(list)
        size = 0
        for place, waiting in pending.items():
            batch = self._batch(records, place, waiting)
            batches[await self._brokers.leader(*place)].append(batch)
            size += len(batch.data)
            if size > _REQUEST_BYTES:
                break
        answers = await asyncio.gather(*(self._send(node, sent) for node, sent in batches.items()))
        written: dict[Place, tuple[int, int]] = {}
        failures = []
        for answer in answers:
            for batch, outcome in answer:
                if isinstance(outcome, int):
                    self._sequences[batch.place] += batch.count
                    written[batch.place] = outcome, batch.count
                else:
                    failures.append((batch, outcome))
        return written, failures

    async def _send(self, node: int, batches: list[_Batch]) -> list[tuple[_Batch, int | errors.KafkaError]]:
        """Each batch with its first offset, or the error that kept it from being written."""
        topics: defaultdict[str, list[tuple[int, bytes]]] = defaultdict(list)
        for batch in batches:
            topic, partition = batch.place
            topics[topic].append((partition, batch.data))
        request = ProduceRequest(
            transactional_id=None,
            required_acks=_ALL,
            timeout=self._brokers.attempt_ms,
            topics=list(topics.items()),
        )
        try:
            response = await self._brokers.ask(request, node)
        except errors.KafkaError as error:
            return [(batch, error) for batch in batches]
        outcomes: dict[Place, int | errors.KafkaError] = {}
        for topic, partitions in response.topics:
            for partition, code, offset, *_ in partitions:
                try:
                    checked(code)
                except errors.KafkaError as error:
                    outcomes[topic, partition] = error
                else:
                    outcomes[topic, partition] = offset
        return [(batch, outcomes[batch.place]) for batch in batches]

    def _settle(
        self, records: Sequence[NewRecord], waiting: _Pending, batch: _Batch, error: errors.KafkaError
    ) -> None:
        """What a failed batch changes before the next attempt. Raises what no attempt changes."""
        topic = batch.place[0]
        if isinstance(error, _BROKEN):
            self._identity = None
        elif isinstance(error, _TOO_LARGE) and batch.count > 1:
            waiting.at_most = batch.count // 2
        elif isinstance(error, _TOO_LARGE):
            raise RecordTooLarge(topic, len(batch.data)) from error
        elif isinstance(error, errors.InvalidTimestampError):
            # the brokers' clock decides, and it is not ours: they say no more than that
            latest = max(records[waiting.positions[index]].timestamp_ms for index in range(batch.count))
            raise FutureTimestamp(topic, latest, latest - 1) from error
        elif not passes(error):
            raise error

    def _batch(self, records: Sequence[NewRecord], place: Place, waiting: _Pending) -> _Batch:
        """The same batch each time, until one was written: brokers know a repeated one by its sequence."""
        identity = self._identity or (-1, -1)
        builder: Any = DefaultRecordBatchBuilder(
            _MAGIC, self._codec, 0, *identity, self._sequences[place], _BATCH_BYTES
        )
        count = 0
        for position in waiting.positions:
            record = records[position]
            added = builder.append(count, record.timestamp_ms, record.key, record.value, list(record.headers))
            if added is None:
                break
            count += 1
            if count == waiting.at_most:
                break
        return _Batch(place, count, bytes(builder.build()))

    async def _new_identity(self) -> tuple[int, int]:
        response = await self._brokers.ask(InitProducerIdRequest(None, self._brokers.attempt_ms))
        checked(response.error_code)
        return response.producer_id, response.producer_epoch
