"""The deployment under test: its settings, as environment, and commands of a person at it."""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tests.chaos.crew import ROOT
from tests.chaos.scenario import PARTITIONS, Scenario
from tests.chaos.schedule import SESSION_S

_COMMAND = [sys.executable, "-c", "from consumers.cli.main import main; main()"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return orjson.loads(self.out)


def environment(
    scenario: Scenario, *, home: Path, database: str, bootstrap: str, prefix: str, group: str
) -> dict[str, str]:
    """Settings of every process of the run. Timeouts are short, so that much happens in little time."""
    windows = scenario.windows
    settings: dict[str, object] = {
        "HOME": home,
        "DATABASE_URL": database,
        "KAFKA__BOOTSTRAP": bootstrap,
        "KAFKA__GROUP": group,
        "KAFKA__REPLICATION": scenario.brokers,
        "KAFKA__SESSION_TIMEOUT_S": SESSION_S,
        "KAFKA__REQUEST_TIMEOUT_S": 15,
        "KAFKA__STUCK_AFTER_S": 45,
        "TOPIC_PREFIX": prefix,
        "PARTITIONS": PARTITIONS,
        "WINDOWS__LENGTH_S": windows.length_ms / 1_000,
        "WINDOWS__SLACK_S": windows.slack_ms / 1_000,
        "WINDOWS__GRACE_S": windows.grace_ms / 1_000,
        "WINDOWS__MEMORY_S": windows.memory_ms / 1_000,
        "WINDOWS__MAX_HORIZON_S": windows.max_horizon_s,
        "HEARTBEATS": scenario.live,
        "HEARTBEAT_IDLE_S": 2,
        "POLL_INTERVAL_S": 0.2,
        "LEASE_S": 8,
        "STATEMENT_TIMEOUT_S": 15,
    }
    return {f"LIFECYCLE_{name}": str(value) for name, value in settings.items()}


async def lifecycle(*arguments: str, environment: Mapping[str, str], patience_s: float = 300) -> Said:
    """`lifecycle ARGUMENTS` with these settings."""
    process = await asyncio.create_subprocess_exec(
        *_COMMAND,
        *arguments,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), patience_s)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return Said(code=process.returncode or 0, out=out.decode(), err=err.decode())
