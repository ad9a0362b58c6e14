"""What a run left behind, as plain values: the tables by plain SQL, the topics by a plain consumer."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson

from domain.windows.profile import ReferenceProfile
from tests.chaos.expected import Expectation, expectation
from tests.chaos.scenario import Scenario
from tests.chaos.topics import Partitions, read_topic, without_gaps

Row = Mapping[str, Any]
LIFECYCLE_TOPICS = (
    "drift-detected",
    "retrain-requested",
    "model-promoted",
    "model-stage-changed",
    "experiment-changed",
    "retraining-changed",
)
DEAD_LETTER = "dead-letter"
COMPACTED = ("model-stage-changed", "experiment-changed")
TABLES = (
    "window_tallies",
    "arrival_tallies",
    "partition_progress",
    "divergences",
    "judgement_states",
    "decisions",
    "outbox",
    "inbox",
    "models",
    "model_versions",
    "reference_profiles",
    "transitions",
    "experiments",
    "retraining_jobs",
    "drift_episodes",
)
_ROW_KEY = (
    "kind",
    "window_start_ms",
    "partition",
    "model",
    "version",
    "variant",
    "experiment",
    "epoch",
    "horizon_s",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that the checks look at."""

    prefix: str
    tables: Mapping[str, Sequence[Row]]
    topics: Mapping[str, Partitions]
    """The lifecycle topics and the dead letters, by name without prefix."""
    expected: Expectation

    @property
    def rows(self) -> dict[tuple[Any, ...], tuple[int, bytes]]:
        return {
            tuple(row[name] for name in _ROW_KEY): (row["due_ms"], bytes(row["body"]))
            for row in self.tables["window_tallies"]
        }

    @property
    def arrivals(self) -> dict[tuple[str, int, int], bytes]:
        return {
            (row["side"], row["partition"], row["window_start_ms"]): bytes(row["body"])
            for row in self.tables["arrival_tallies"]
        }


async def collect(scenario: Scenario, bootstrap: str, prefix: str, database_url: str) -> Evidence:
    """Read it all, and fold the hot topics anew."""
    tables = await read_tables(database_url)
    topics = {
        name: await read_topic(bootstrap, f"{prefix}{name}") for name in (*LIFECYCLE_TOPICS, DEAD_LETTER)
    }
    hot = {name: await read_topic(bootstrap, f"{prefix}{name}") for name in ("predictions", "outcomes")}
    for name, partitions in hot.items():
        without_gaps(name, partitions)
    profiles = {
        (row["model"], row["version"]): ReferenceProfile.from_json(orjson.loads(bytes(row["body"])))
        for row in tables["reference_profiles"]
    }
    expected = await asyncio.to_thread(
        expectation, scenario.windows, profiles, hot["predictions"], hot["outcomes"]
    )
    return Evidence(prefix=prefix, tables=tables, topics=topics, expected=expected)


async def read_tables(database_url: str) -> dict[str, list[Row]]:
    """Every table, by name, in one snapshot."""
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return {name: [dict(row) for row in await connection.fetch(f"TABLE {name}")] for name in TABLES}
    finally:
        await connection.close()
