"""Appending for as long as it takes: what is not acknowledged is sent again."""

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from tests.chaos.traffic import Raw

_RETRY_S = 0.3


@dataclass(slots=True)
class Sender:
    """A producer that never gives up. A record may be written more than once; its topics tell how often."""

    bootstrap: str
    prefix: str
    sent: int = 0
    repeated: int = 0
    _producer: AIOKafkaProducer | None = None

    async def send(self, records: Iterable[Raw]) -> None:
        """Return once all are acknowledged by the brokers."""
        left = list(records)
        while left:
            left = await self._attempt(left)
            if left:
                self.repeated += len(left)
                await asyncio.sleep(_RETRY_S)

    async def _attempt(self, records: list[Raw]) -> list[Raw]:
        """Send all; those that were not acknowledged."""
        try:
            producer = await self._started()
            futures = [
                await producer.send(
                    f"{self.prefix}{raw.topic}",
                    value=raw.value,
                    key=raw.key,
                    partition=raw.partition,
                    timestamp_ms=raw.timestamp_ms,
                )
                for raw in records
            ]
        except (KafkaError, OSError, TimeoutError):
            await self._restart()
            return records
        results = await asyncio.gather(*futures, return_exceptions=True)
        failed = [raw for raw, result in zip(records, results, strict=True) if not _fine(result)]
        self.sent += len(records) - len(failed)
        if failed:
            await self._restart()
        return failed

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                bootstrap_servers=self.bootstrap,
                acks="all",
                compression_type="lz4",
                linger_ms=5,
                request_timeout_ms=8_000,
                max_request_size=4 << 20,
            )
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer

    async def _restart(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                await asyncio.wait_for(producer.stop(), 10)

    async def close(self) -> None:
        await self._restart()


def _fine(result: object) -> bool:
    if isinstance(result, KafkaError | OSError | TimeoutError):
        return False
    if isinstance(result, BaseException):
        raise result
    return True
