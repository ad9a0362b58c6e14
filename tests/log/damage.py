"""Batches as a broken disk would give them out. No broker takes such a batch, so the answers are spoilt."""

import struct
from typing import Any

from consumers.log.kafka import KafkaLog
from consumers.log.kafka_feed import KafkaFeed


class Damage:
    """Which batches arrive damaged: (topic, partition, first offset)."""

    def __init__(self, *batches: tuple[str, int, int]) -> None:
        self.batches = set(batches)

    def of_log(self, log: KafkaLog) -> None:
        """Spoil what `log` reads from now on."""
        ask = log._brokers.ask

        async def spoilt(request: Any, node: int | None = None) -> Any:
            return self._spoil(await ask(request, node))

        log._brokers.ask = spoilt  # type: ignore[method-assign]

    def of_feed(self, feed: KafkaFeed) -> None:
        """Spoil what `feed` is sent from now on."""
        client = feed._consumer._client
        send = client.send

        async def spoilt(node: int, request: Any, **more: Any) -> Any:
            return self._spoil(await send(node, request, **more))

        client.send = spoilt

    def _spoil(self, answer: Any) -> Any:
        if type(answer).__name__.startswith("FetchResponse"):
            answer.topics = [
                (topic, [(at, *more, self._bytes(topic, at, data)) for at, *more, data in partitions])
                for topic, partitions in answer.topics
            ]
        return answer

    def _bytes(self, topic: str, partition: int, data: bytes | None) -> bytes | None:
        spoilt, at = bytearray(data or b""), 0
        while len(spoilt) - at > 61:
            first, length = struct.unpack_from(">qi", spoilt, at)
            at += 12 + length
            if (topic, partition, first) in self.batches and at <= len(spoilt):
                spoilt[at - 1] ^= 0xFF
        return data if data is None else bytes(spoilt)
