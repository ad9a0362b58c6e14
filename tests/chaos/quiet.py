"""Waiting until nothing is left to do: every window closed and judged, every promise sent and obeyed."""

import asyncio
import time
from dataclasses import dataclass

import asyncpg
from aiokafka.errors import KafkaError

from tests.chaos.scenario import PARTITIONS
from tests.chaos.topics import lags

_ORDERS = ("drift-detected", "retrain-requested", "model-promoted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """How it came to rest. `lacking` is what was still open at the deadline."""

    after_s: float
    lacking: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Looks at one deployment. `closing_ms`: the time that both sides of every partition must pass."""

    database: str
    bootstrap: str
    prefix: str
    group: str
    closing_ms: int

    async def until_quiet(self, patience_s: float, *, lag: bool = True) -> Quiet:
        """Ask twice a second. `lag` says whether the groups must have committed everything as well."""
        began = time.monotonic()
        while True:
            try:
                lacking = await self.lacking(lag=lag)
            except (OSError, TimeoutError, asyncpg.PostgresError, KafkaError) as error:
                lacking = [f"cannot ask: {error}"]
            after_s = time.monotonic() - began
            if not lacking or after_s > patience_s:
                return Quiet(after_s=round(after_s, 1), lacking=tuple(lacking))
            await asyncio.sleep(0.5)

    async def lacking(self, *, lag: bool) -> list[str]:
        """What is still to be done."""
        return await self._in_the_store() or (await self._in_the_log() if lag else [])

    async def _in_the_store(self) -> list[str]:
        connection = await asyncpg.connect(self.database, timeout=10)
        try:
            found = []
            progress = await connection.fetch("TABLE partition_progress")
            through = {
                p["partition"]: min(p["inputs_through_ms"], p["outcomes_through_ms"]) for p in progress
            }
            behind = [n for n in range(PARTITIONS) if through.get(n, 0) < self.closing_ms]
            if behind:
                found.append(f"partitions {behind} are not closed")
            query = """SELECT model FROM (SELECT DISTINCT model FROM window_tallies) AS tallied
                       LEFT JOIN judgement_states USING (model)
                       WHERE judged_through_ms IS NULL OR judged_through_ms < $1"""
            unjudged = [row["model"] for row in await connection.fetch(query, self.closing_ms)]
            if unjudged:
                found.append(f"models {unjudged} are not judged")
            unsent = await connection.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL")
            if unsent:
                found.append(f"{unsent} promises are unsent")
            query = "SELECT count(*) FROM retraining_jobs WHERE status IN ('REQUESTED', 'RUNNING')"
            if jobs := await connection.fetchval(query):
                found.append(f"{jobs} retraining jobs are open")
            return found
        finally:
            await connection.close()

    async def _in_the_log(self) -> list[str]:
        found = []
        for worker, names in (("tally", ("predictions", "outcomes")), ("registry", _ORDERS)):
            for name in names:
                left = await lags(self.bootstrap, f"{self.group}.{worker}", f"{self.prefix}{name}")
                if left:
                    found.append(f"{name} lags: {left}")
        return found
