"""CPU per record of the tally worker on Kafka, beside the floor of fetching and decoding alone.

The floor is what nobody who reads JSON through this client can go below: the same fetch settings, thousands
of records at a time, each value decoded into a struct and dropped. It has no group, no checks, no store.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient

from consumers.bench.cost import Spread, TallyCost
from consumers.bench.places import fresh_store, store_name
from consumers.bench.stream import StreamPlan, chunks
from consumers.bench.versions import register
from consumers.bootstrap import open_log, open_system
from consumers.log.decode import Outcome, Prediction
from consumers.log.kafka_client import connection, kafka_faults, start
from consumers.log.port import LogUnavailable
from consumers.services.topics import wanted_topics
from consumers.settings import ConfigManager, load_settings
from consumers.workers.tally import TallyCounts, TallyWorker
from schemas.topics import Topics

_CHUNK = 1_000
"""Records of one append: batches of a few hundred records, as a busy producer writes."""
_PAUSE_S = 0.05
_SILENT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """Topics that hold the stream of `plan`, until the block that made them ends."""

    home: Path
    plan: StreamPlan
    settings: ConfigManager
    topics: Topics
    records: int


async def measure(
    home: Path,
    plan: StreamPlan,
    repeats: int,
    *,
    bootstrap: str,
    database_url: str | None = None,
    core: int | None = None,
) -> TallyCost:
    """Fill topics of its own with the stream, then time floor and worker in turn.

    `database_url` names a PostgreSQL server, where each repeat gets a database of its own; SQLite without.
    """
    floors, costs = [], []
    counts = TallyCounts()
    async with filled(home, plan, bootstrap) as topics:
        for _ in range(repeats):
            floors.append(await floor(topics))
            cost, counts = await tally(topics, database_url)
            costs.append(cost)
    return TallyCost(
        log="kafka",
        store=store_name(database_url),
        records=topics.records,
        partitions=plan.partitions,
        features=plan.features,
        models=plan.models,
        repeats=repeats,
        core=core,
        rows=counts.rows,
        divergences=counts.divergences,
        worker=Spread.of(costs),
        floor=Spread.of(floors),
    )


@asynccontextmanager
async def filled(home: Path, plan: StreamPlan, bootstrap: str) -> AsyncIterator[Filled]:
    """Topics with the stream, under a name that nobody else has; deleted when the block ends."""
    name = f"lifecycle-bench-{secrets.token_hex(6)}"
    settings = load_settings(
        home,
        # the stream is of the past: any retention would delete it at once
        kafka={"bootstrap": bootstrap, "group": name, "compression": "lz4", "hot_retention_s": -1},
        topic_prefix=f"{name}.",
        partitions=plan.partitions,
        heartbeats=False,
        log_level="WARNING",
    )
    topics = Topics(settings.topic_prefix)
    try:
        total = 0
        log = await open_log(settings)
        try:
            await log.create_topics(wanted_topics(settings))
            for chunk in chunks(plan, topics, _CHUNK):
                await log.append(chunk)
                total += len(chunk)
        finally:
            await log.close()
        yield Filled(home=home, plan=plan, settings=settings, topics=topics, records=total)
    finally:
        await _delete(settings)


async def floor(filled: Filled) -> float:
    """Microseconds per record to fetch all records and decode their values."""
    kafka, topics = filled.settings.kafka, filled.topics
    decode = {
        topics.predictions: msgspec.json.Decoder(Prediction).decode,
        topics.outcomes: msgspec.json.Decoder(Outcome).decode,
    }
    places = [TopicPartition(topic, each) for topic in decode for each in range(filled.plan.partitions)]
    consumer: Any = AIOKafkaConsumer(
        **connection(kafka),
        enable_auto_commit=False,
        auto_offset_reset="none",
        max_partition_fetch_bytes=kafka.fetch_bytes,
        isolation_level="read_uncommitted",
    )
    await start(consumer, kafka)
    try:
        began = time.process_time()
        consumer.assign(places)
        for place in places:
            consumer.seek(place, 0)
        read = 0
        while read < filled.records:
            with kafka_faults(kafka.bootstrap):
                found = await consumer.getmany(
                    timeout_ms=round(_SILENT_S * 1_000), max_records=filled.settings.batch_records
                )
            if not found:
                raise LogUnavailable(kafka.bootstrap, f"{read} of {filled.records} records, then nothing")
            for place, records in found.items():
                one = decode[place.topic]
                _ = [one(record.value) for record in records if record.value]
                read += len(records)
        return (time.process_time() - began) / read * 1e6
    finally:
        await consumer.stop()


async def tally(filled: Filled, database_url: str | None) -> tuple[float, TallyCounts]:
    """Microseconds per record of a tally worker that holds all partitions, joining included."""
    async with fresh_store(filled.home, database_url) as url:
        system = await open_system(filled.settings.model_copy(update={"database_url": url}), create=True)
        try:
            await register(system, filled.plan)
            worker = await system.tally()
            try:
                cost = await _fold_all(worker, filled)
            finally:
                await worker.close()
            if worker.counts.records != filled.records or worker.counts.invalid:
                raise AssertionError(f"the worker folded {worker.counts} of {filled.records} records")
        finally:
            await system.close()
    return cost, worker.counts


async def _fold_all(worker: TallyWorker, filled: Filled) -> float:
    began, moved_s = time.process_time(), time.monotonic()
    while worker.counts.records < filled.records:
        if await worker.step():
            moved_s = time.monotonic()
        elif time.monotonic() - moved_s > _SILENT_S:
            raise LogUnavailable(filled.settings.kafka.bootstrap, f"{worker.counts}, then nothing")
        else:  # not a member of the group yet
            await asyncio.sleep(_PAUSE_S)
    return (time.process_time() - began) / filled.records * 1e6


async def _delete(settings: ConfigManager) -> None:
    """Delete the topics; the brokers forget the group's positions with them."""
    log = await open_log(settings)
    try:
        names = [name for name in await log.topics() if name.startswith(settings.topic_prefix)]
    finally:
        await log.close()
    admin: Any = AIOKafkaAdminClient(**connection(settings.kafka))
    try:
        with kafka_faults(settings.kafka.bootstrap):
            await admin.start()
            response = await admin.delete_topics(names)
            for _, code, *_ in response.topic_error_codes:
                if code:
                    raise errors.for_code(code)
    finally:
        await admin.close()
