"""What lies in the topics, read with a plain consumer that knows nothing of ours."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError


@dataclass(frozen=True, slots=True)
class Found:
    """One record as the broker keeps it."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


Partitions = Mapping[int, Sequence[Found]]


class TopicDamaged(AssertionError):
    """The topic does not hold every offset from 0 on."""


async def read_topic(bootstrap: str, topic: str, *, seconds: float = 120) -> Partitions:
    """Every record of every partition, up to the ends as they are now. Raises TopicDamaged."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=8 << 20,
        fetch_max_bytes=32 << 20,
    )
    await consumer.start()
    try:
        async with asyncio.timeout(seconds):
            return await _read(consumer, topic)
    finally:
        await consumer.stop()


async def _read(consumer: AIOKafkaConsumer, topic: str) -> Partitions:
    places = sorted(consumer.assignment())
    if not places:
        raise TopicDamaged(f"{topic} is not there")
    begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
    found: dict[int, list[Found]] = {place.partition: [] for place in places}
    wanted = {place for place in places if begins[place] < ends[place]}
    while wanted:
        for place, records in (await consumer.getmany(*wanted, timeout_ms=1_000, max_records=5_000)).items():
            found[place.partition] += [
                Found(r.offset, r.timestamp, r.key, r.value, tuple(r.headers))
                for r in records
                if r.offset < ends[place]
            ]
            if records[-1].offset + 1 >= ends[place]:
                wanted.discard(place)
    return found


def without_gaps(topic: str, partitions: Partitions) -> None:
    """Raises TopicDamaged unless every offset from 0 on is there: nothing deleted, no markers."""
    for number, records in partitions.items():
        offsets = [record.offset for record in records]
        if offsets != list(range(len(offsets))):
            raise TopicDamaged(f"{topic} partition {number} begins at {offsets[:1]} or has gaps")


async def ends(bootstrap: str, topic: str) -> dict[TopicPartition, int]:
    """The next offset of each partition."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        found: dict[TopicPartition, int] = await consumer.end_offsets(consumer.assignment())
        return found
    finally:
        await consumer.stop()


async def lags(bootstrap: str, group: str, topic: str) -> dict[int, int]:
    """By partition, how many records `group` has not committed; nothing where it has committed all."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        committed = await admin.list_consumer_group_offsets(group)
    except GroupCoordinatorNotAvailableError:
        committed = {}  # the first group of a cluster waits for its topic to be made
    finally:
        await admin.close()
    want = await ends(bootstrap, topic)
    positions = {place: committed[place].offset if place in committed else 0 for place in want}
    return {p.partition: end - positions[p] for p, end in sorted(want.items()) if end != positions[p]}
