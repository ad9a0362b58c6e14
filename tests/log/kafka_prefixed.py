"""Kafka held to the conformance suite on a shared broker: every test has topics and groups of its own."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from aiokafka.admin import AIOKafkaAdminClient

from consumers.log.kafka import KafkaLog
from consumers.log.port import DEFAULT_MAX_BYTES, LogRecord, NewRecord, TopicSpec
from consumers.settings import KafkaSettings


def wall_ms() -> int:
    """The brokers' clock, as far as one machine has one."""
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def kafka_log(
    bootstrap: str, prefix: str, *, now_ms: Callable[[], int] = wall_ms
) -> AsyncIterator[KafkaLog]:
    """A log whose topics begin with `prefix`; they are deleted at the end."""
    log = await KafkaLog.open(KafkaSettings(bootstrap=bootstrap), now_ms=now_ms, prefix=prefix)
    try:
        yield log
    finally:
        await log.close()
        await delete_topics(bootstrap, prefix)


async def delete_topics(bootstrap: str, prefix: str) -> None:
    """Every topic that begins with `prefix`: files of thousands of tests would burden a shared broker."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        made = [name for name in await admin.list_topics() if name.startswith(prefix)]
        if made:
            await admin.delete_topics(made)
    finally:
        await admin.close()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Waits for what brokers do in their own time."""
    async with asyncio.timeout(20):
        while not await holds():  # noqa: ASYNC110 - brokers tell nobody when they are done
            await asyncio.sleep(0.02)


class PrefixedLog:
    """EventLog whose topics and groups are called otherwise on the brokers."""

    def __init__(self, log: KafkaLog, prefix: str) -> None:
        self._log = log
        self._prefix = prefix

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        await self._log.create_topics([replace(spec, name=self._prefix + spec.name) for spec in specs])

    async def topics(self) -> dict[str, TopicSpec]:
        found = (await self._log.topics()).values()
        return {
            spec.name.removeprefix(self._prefix): replace(spec, name=spec.name.removeprefix(self._prefix))
            for spec in found
        }

    async def topic_ids(self) -> dict[str, str]:
        found = await self._log.topic_ids()
        return {name.removeprefix(self._prefix): topic_id for name, topic_id in found.items()}

    async def append(self, records: Sequence[NewRecord]) -> list[tuple[int, int]]:
        return await self._log.append([replace(new, topic=self._prefix + new.topic) for new in records])

    async def read(
        self, topic: str, partition: int, offset: int, max_records: int, max_bytes: int = DEFAULT_MAX_BYTES
    ) -> list[LogRecord]:
        found = await self._log.read(self._prefix + topic, partition, offset, max_records, max_bytes)
        return [record._replace(topic=topic) for record in found]

    async def begin(self, topic: str, partition: int) -> int:
        return await self._log.begin(self._prefix + topic, partition)

    async def end(self, topic: str, partition: int) -> int:
        return await self._log.end(self._prefix + topic, partition)

    async def position(self, group: str, topic: str, partition: int) -> int | None:
        return await self._log.position(self._prefix + group, self._prefix + topic, partition)

    async def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        await self._log.commit(self._prefix + group, self._prefix + topic, partition, offset)

    async def delete_before(self, topic: str, partition: int, offset: int) -> int:
        return await self._log.delete_before(self._prefix + topic, partition, offset)

    async def close(self) -> None:
        await self._log.close()
