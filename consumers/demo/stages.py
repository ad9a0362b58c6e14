"""Where the demo is played: all workers in this process, or every worker a process of its own.

Both know how far the clock has moved, move it, and wait until everything that follows from it has happened.
"""

import asyncio
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from consumers.bootstrap import WORKERS, System
from consumers.demo.plan import SLACK_MS, WEEK_MS
from consumers.log.embedded import EmbeddedLog
from consumers.log.port import NewRecord
from consumers.services.quiet import Quiet
from consumers.workers.shell import Worker, close, settle
from domain.errors import DomainError
from schemas.outgoing import heartbeat

CLOCK = "demo-clock"
_WORKER = (
    "from consumers.demo.leash import end_with_starter; end_with_starter(); "
    "from consumers.cli.main import main; main()"
)


class Stage(Protocol):
    """What the driver needs from either way of running."""

    async def begin(self) -> None:
        """Start the workers."""
        ...

    async def last_week(self) -> int | None:
        """The last week that the clock has passed, in this run or an earlier one."""
        ...

    async def pass_week(self, week: int) -> None:
        """Let event time pass the end of `week` in every partition, once."""
        ...

    async def settle(self) -> None:
        """Wait until nothing is left to do."""
        ...

    async def end(self) -> None:
        """Stop the workers; after `begin` failed, too."""
        ...


@dataclass(slots=True, kw_only=True)
class InProcess:
    """The embedded engine: workers step in turn, so nothing depends on any speed."""

    system: System
    log: EmbeddedLog
    _workers: dict[str, Worker] = field(default_factory=dict)

    async def begin(self) -> None:
        for name in WORKERS:
            self._workers[name] = await self.system.worker(name)

    async def last_week(self) -> int | None:
        return await self.log.last_sequence(CLOCK)

    async def pass_week(self, week: int) -> None:
        await self.log.append_once(_beats(self.system, week), producer=CLOCK, sequence=week)

    async def settle(self) -> None:
        await settle(self._workers)

    async def end(self) -> None:
        for worker in self._workers.values():
            await close(worker)


class WorkerEnded(DomainError):
    """A worker's process ended; its log says why."""

    def __init__(self, name: str, code: int, log: Path) -> None:
        last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["(it said nothing)"]
        super().__init__(f"lifecycle run {name} ended with exit code {code}, see {log}: {last[0]}")


class NotSettled(DomainError):
    """The workers did not come to rest."""


@dataclass(slots=True, kw_only=True)
class Processes:
    """The service engine: `lifecycle run NAME` for every worker, two of those that share partitions.

    They end with this process, however it ends: of a demo that was killed nobody goes on working.
    """

    system: System
    patience_s: float = 120.0
    _running: dict[str, tuple[asyncio.subprocess.Process, Path]] = field(default_factory=dict)

    async def begin(self) -> None:
        folder = self.system.settings.home / "processes"
        folder.mkdir(exist_ok=True)
        for name in WORKERS:
            for number in range(2 if name == "tally" else 1):
                log = folder / f"{name}-{number}.log"
                with log.open("ab") as said:
                    process = await asyncio.create_subprocess_exec(
                        sys.executable,
                        *("-c", _WORKER),
                        *("run", name, "--home", str(self.system.settings.home)),
                        stdin=asyncio.subprocess.PIPE,
                        stdout=said,
                        stderr=said,
                        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                    )
                self._running[f"{name}-{number}"] = (process, log)

    async def last_week(self) -> int | None:
        """Every partition's last record tells: the clock's are the last of their week."""
        newest = [await self._newest_ms(topic, partition) for topic, partition in self._places()]
        week = (min(newest) - SLACK_MS) // WEEK_MS - 1
        return week if week >= 0 else None

    async def pass_week(self, week: int) -> None:
        beats = _beats(self.system, week)
        await self.system.log.append(
            [
                beat
                for beat in beats
                if await self._newest_ms(beat.topic, beat.partition or 0) < beat.timestamp_ms
            ]
        )

    async def settle(self) -> None:
        settings = self.system.settings
        quiet = Quiet(
            store=self.system.store,
            log=self.system.log,
            topics=self.system.topics,
            partitions=settings.partitions,
            tally_group=settings.group("tally"),
            windows=self.system.windows,
        )
        give_up = time.monotonic() + self.patience_s
        while (doing := await quiet.busy_with()) is not None:
            for name, (process, log) in self._running.items():
                if process.returncode is not None:
                    raise WorkerEnded(name, process.returncode, log)
            if time.monotonic() > give_up:
                raise NotSettled(f"the workers did not settle in {self.patience_s:g} s: still {doing}")
            await asyncio.sleep(settings.poll_interval_s / 2)

    async def end(self) -> None:
        for process, _ in self._running.values():
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
        for process, _ in self._running.values():
            try:
                await asyncio.wait_for(process.wait(), 10)
            except TimeoutError:
                process.kill()
                await process.wait()

    def _places(self) -> list[tuple[str, int]]:
        topics = self.system.topics
        return [
            (topic, partition)
            for topic in (topics.predictions, topics.outcomes)
            for partition in range(self.system.settings.partitions)
        ]

    async def _newest_ms(self, topic: str, partition: int) -> int:
        end = await self.system.log.end(topic, partition)
        if end == await self.system.log.begin(topic, partition):
            return 0
        return (await self.system.log.read(topic, partition, end - 1, 1))[0].timestamp_ms


def _beats(system: System, week: int) -> list[NewRecord]:
    now_ms = (week + 1) * WEEK_MS + SLACK_MS
    return [
        heartbeat(topic, partition, now_ms)
        for topic in (system.topics.predictions, system.topics.outcomes)
        for partition in range(system.settings.partitions)
    ]
