"""The demo on Kafka and PostgreSQL, every worker a process, ends where the embedded one ends, to the byte."""

import asyncio
import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from consumers.bootstrap import open_log
from consumers.log.port import EventLog, TopicSpec
from consumers.settings import load_settings
from tests.demo.runs import LEFT_BEHIND, assert_equal_rows, lifecycle

pytestmark = [pytest.mark.demo, pytest.mark.slow]

WEEKS = 390
"""Enough for a job, a registered version, two years of shadow answers and a promotion.

DEMO_WEEKS=all in the environment plays all of them.
"""

Found = Mapping[str, Sequence[tuple[Any, ...]]]


def test_the_service_engine_decides_what_the_embedded_one_decides(
    tmp_path: Path, kafka: str, pg_url: str, topic_prefix: str
) -> None:
    weeks = os.environ.get("DEMO_WEEKS", str(WEEKS))
    chosen = [] if weeks == "all" else ["--weeks", weeks]
    embedded, service = tmp_path / "embedded", tmp_path / "service"
    played = lifecycle("demo", "--home", embedded, *chosen, "--json")
    assert played.code == 0, played.stderr
    engine = ("--kafka", kafka, "--topic-prefix", topic_prefix, "--database", pg_url)
    played_there = lifecycle("demo", "--home", service, *engine, *chosen, "--json")
    assert played_there.code == 0, played_there.stderr
    expected, found = in_files(embedded), asyncio.run(in_postgres(pg_url))
    assert len(expected["decisions"]) > 2
    for name, rows in expected.items():
        assert_equal_rows(name, list(rows), list(found[name]))
    records, records_there = asyncio.run(in_log(embedded)), asyncio.run(in_log(service))
    assert records.keys() == records_there.keys()
    for name, rows in records.items():
        assert_equal_rows(f"records of {name}", list(rows), list(records_there[name]))
    # and what was decided there is recomputed from Kafka
    for check in ("replay", "reconcile"):
        said = lifecycle(check, "--home", service)
        assert said.code == 0, said.stdout


def in_files(home: Path) -> Found:
    """What the embedded store holds, without wall clocks."""
    with closing(sqlite3.connect(f"file:{home / 'store.sqlite'}?mode=ro", uri=True)) as store:
        return {
            name: store.execute(query).fetchall()
            for name, (file, query) in LEFT_BEHIND.items()
            if file == "store"
        }


async def in_postgres(url: str) -> Found:
    """The same of a PostgreSQL store."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        return {
            name: [tuple(row) for row in await connection.fetch(query)]
            for name, (file, query) in LEFT_BEHIND.items()
            if file == "store"
        }
    finally:
        await connection.close()


async def in_log(home: Path) -> Found:
    """(timestamp, key, value) of the records of the home's log, by topic without prefix and partition.

    Of compacted topics the last of each key: what came before may be gone.
    """
    settings = load_settings(home)
    log = await open_log(settings)
    try:
        return {
            f"{name.removeprefix(settings.topic_prefix)}[{partition}]": await _records(log, spec, partition)
            for name, spec in (await log.topics()).items()
            if name.startswith(settings.topic_prefix)
            for partition in range(spec.partitions)
        }
    finally:
        await log.close()


async def _records(log: EventLog, topic: TopicSpec, partition: int) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    offset = await log.begin(topic.name, partition)
    while batch := await log.read(topic.name, partition, offset, 5_000):
        found += [(one.timestamp_ms, one.key, one.value) for one in batch]
        offset = batch[-1].offset + 1
    if topic.cleanup == "compact":
        return sorted({one[1]: one for one in found}.values())
    return found
