"""The log on Apache Kafka: what EventLog promises, from brokers shared by all processes of a deployment."""

from collections.abc import Callable, Sequence

from aiokafka import errors
from aiokafka.protocol.admin import DeleteRecordsRequest
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest

from consumers.log.differences import TopicDifference
from consumers.log.kafka_brokers import Brokers, checked
from consumers.log.kafka_producer import Producer
from consumers.log.kafka_reader import Reader
from consumers.log.kafka_topics import KafkaTopic, create_topics, differences, find_topics
from consumers.log.port import (
    DEFAULT_MAX_BYTES,
    DamagedBatch,
    LogRecord,
    LogRefused,
    NewRecord,
    TopicSpec,
)
from consumers.log.skips import Skips
from consumers.settings import KafkaSettings
from schemas.logrecords import check_read, check_timestamps, place

_NO_MEMBER, _NO_GENERATION, _KEEP = "", -1, -1
_HAS_MEMBERS = (errors.UnknownMemberIdError, errors.IllegalGenerationError, errors.RebalanceInProgressError)


class KafkaLog:
    """EventLog over Kafka. Safe for concurrent tasks of the event loop that opened it.

    `appended_ms` of its records is their own timestamp: Kafka keeps one time per record, and with
    `CreateTime` that is the event's. The check that the embedded log's append time serves is the brokers':
    `message.timestamp.after.max.ms` refuses what is later than their clock allows. Where that clock is behind
    ours, an append of several batches may be refused with FutureTimestamp after the first ones were written.
    """

    def __init__(
        self,
        brokers: Brokers,
        settings: KafkaSettings,
        *,
        now_ms: Callable[[], int],
        future_ms: int,
        prefix: str,
        skips: Skips,
    ) -> None:
        self._brokers = brokers
        self._replication = settings.replication
        self._now_ms = now_ms
        self._future_ms = future_ms
        self._prefix = prefix
        self._producer = Producer(brokers, settings.compression)
        self._reader = Reader(brokers, settings.fetch_bytes, skips)

    @classmethod
    async def open(
        cls,
        settings: KafkaSettings,
        *,
        now_ms: Callable[[], int],
        future_ms: int = 60_000,
        prefix: str = "",
        skips: Skips | None = None,
    ) -> "KafkaLog":
        """The log of `settings`; `topics` gives those whose names begin with `prefix`, reads skip `skips`.

        Raises LogUnavailable if no broker answers, LogRefused if they turn us away.
        """
        brokers = Brokers(settings)
        await brokers.connect()
        return cls(
            brokers, settings, now_ms=now_ms, future_ms=future_ms, prefix=prefix, skips=skips or Skips()
        )

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Also sets what differs in the configuration of topics that exist."""
        await create_topics(self._brokers, specs, replication=self._replication, future_ms=self._future_ms)

    async def topics(self) -> dict[str, TopicSpec]:
        found = await self.found_topics()
        return {name: topic.spec for name, topic in sorted(found.items())}

    async def found_topics(self) -> dict[str, KafkaTopic]:
        """Every topic with its configuration and replication, by name."""
        return await find_topics(self._brokers, self._prefix)

    async def configuration_differences(self, specs: Sequence[TopicSpec]) -> list[TopicDifference]:
        """What differs beyond partitions, cleanup and retention, in topics of `specs` that exist."""
        found = await self.found_topics()
        return [
            difference
            for spec in specs
            if spec.name in found
            for difference in differences(
                found[spec.name], spec, replication=self._replication, future_ms=self._future_ms
            )
        ]

    async def topic_ids(self) -> dict[str, str]:
        """The id of each topic: another one than before means that the topic was deleted and made anew."""
        found = await self._brokers.answered(self._brokers.all_topics)
        return {each.name: each.topic_id for each in found if each.name.startswith(self._prefix)}

    async def append(self, records: Sequence[NewRecord]) -> list[tuple[int, int]]:
        check_timestamps(records, self._now_ms() + self._future_ms)
        counts = {topic: await self._count(topic) for topic in sorted({record.topic for record in records})}
        # all placed before the first is written: a record that has no place must leave no trace of the others
        partitions = [place(record, counts[record.topic]) for record in records]
        offsets = await self._producer.append(records, partitions)
        return list(zip(partitions, offsets, strict=True))

    async def read(
        self, topic: str, partition: int, offset: int, max_records: int, max_bytes: int = DEFAULT_MAX_BYTES
    ) -> list[LogRecord]:
        check_read(max_records)
        return await self._reader.read(topic, partition, offset, max_records, max_bytes)

    async def damaged(self, topic: str, partition: int, offset: int) -> DamagedBatch | None:
        return await self._reader.damaged(topic, partition, offset)

    async def begin(self, topic: str, partition: int) -> int:
        return await self._reader.begin(topic, partition)

    async def end(self, topic: str, partition: int) -> int:
        return await self._reader.end(topic, partition)

    async def position(self, group: str, topic: str, partition: int) -> int | None:
        async def attempt() -> int | None:
            node = await self._brokers.coordinator(group)
            response = await self._brokers.ask(OffsetFetchRequest(group, [(topic, [partition])]), node)
            checked(response.error_code)
            ((_, ((_, offset, _, code),)),) = response.topics
            checked(code)
            return offset if offset >= 0 else None

        return await self._brokers.answered(attempt, topic)

    async def commit(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Raises LogRefused while members of `group` are there: its positions are theirs."""

        async def attempt() -> None:
            await self._brokers.leader(topic, partition)  # the brokers would take a position of any topic
            node = await self._brokers.coordinator(group)
            request = OffsetCommitRequest(
                group, _NO_GENERATION, _NO_MEMBER, _KEEP, [(topic, [(partition, offset, "")])]
            )
            ((_, ((_, code),)),) = (await self._brokers.ask(request, node)).topics
            if errors.for_code(code) in _HAS_MEMBERS:
                raise LogRefused(self._brokers.name, f"group {group} has members: stop them first")
            checked(code)

        await self._brokers.answered(attempt, topic)

    async def delete_before(self, topic: str, partition: int, offset: int) -> int:
        """Raises LogRefused for a compacted topic: Kafka deletes only from those that are not."""
        begin, end = await self.begin(topic, partition), await self.end(topic, partition)
        target = min(max(offset, begin), end)

        async def attempt() -> None:
            node = await self._brokers.leader(topic, partition)
            request = DeleteRecordsRequest([(topic, [(partition, target)])], self._brokers.attempt_ms)
            ((_, ((_, _, code, *_), *_), *_), *_) = (await self._brokers.ask(request, node)).topics
            checked(code)

        if target > begin:
            self._reader.forget(topic, partition)
            await self._brokers.answered(attempt, topic)
        return target - begin

    async def close(self) -> None:
        await self._brokers.close()

    async def _count(self, topic: str) -> int:
        found = await self._brokers.answered(lambda: self._brokers.topic(topic), topic)
        return found.partitions
