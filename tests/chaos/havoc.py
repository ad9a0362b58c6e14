"""Carrying out a schedule: each fault begins at its time, and what it breaks is mended."""

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from aiokafka import AIOKafkaProducer

from tests.chaos.crew import Crew
from tests.chaos.machines import Machines
from tests.chaos.schedule import Fault
from tests.chaos.topics import read_topic

SLOW_S = 0.25
"""What a slow link adds to every packet, each way."""
_REDELIVERED = ("drift-detected", "retrain-requested", "model-promoted")


@dataclass(slots=True, kw_only=True)
class Havoc:
    """Breaks things. Whatever goes wrong in a fault itself is an error of this suite, and is raised."""

    crew: Crew
    machines: Machines
    prefix: str
    seed: int
    say: Callable[[str], None]
    history: list[dict[str, Any]] = field(default_factory=list)
    redelivered: int = 0
    _extras: int = 0

    async def run(self, faults: Sequence[Fault], began: float) -> None:
        """All faults at their times; they may overlap."""
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                group.create_task(self._at(fault, began))

    async def _at(self, fault: Fault, began: float) -> None:
        await asyncio.sleep(max(0.0, began + fault.at_s - time.monotonic()))
        self.say(str(fault))
        entry: dict[str, Any] = {"fault": fault.kind, "target": fault.target, "planned_s": fault.at_s}
        entry["began_s"] = round(time.monotonic() - began, 2)
        self.history.append(entry)
        await self._inflict(fault)
        entry["ended_s"] = round(time.monotonic() - began, 2)

    async def _inflict(self, fault: Fault) -> None:
        machines = self.machines
        match fault.kind:
            case "kill":
                self.crew.members[fault.target].send(signal.SIGKILL)
            case "kill-all-of":
                for member in self.crew.members.values():
                    if member.kind == fault.target:
                        member.send(signal.SIGKILL)
            case "terminate":
                await self._terminate(fault.target)
            case "freeze" | "hiccup":
                await self._freeze(fault)
            case "rebalance-storm":
                await self._storm(fault)
            case "redelivery":
                await self._redeliver(fault)
            case "broker-kill":
                await machines.kill_broker(_number(fault), fault.for_s)
            case "rolling-restart":
                await machines.roll()
            case "database-restart":
                await machines.restart_database()
            case "database-kill":
                await machines.kill_database(fault.for_s)
            case "database-sessions-cut":
                async with machines.servers:
                    await machines.cut_sessions()
            case _:
                await self._break_link(fault)

    async def _break_link(self, fault: Fault) -> None:
        what, _, how = fault.kind.rpartition("-link-")
        link = self.machines.link if what == "database" else self.machines.broker_links[_number(fault)]
        actions: dict[str, Callable[[], None]] = {
            "cut": link.refuse,
            "slow": lambda: link.delay(SLOW_S),
            "dead": link.blackhole,
        }
        await asyncio.to_thread(actions[how])
        try:
            await asyncio.sleep(fault.for_s)
        finally:
            await asyncio.to_thread(link.heal)

    async def _freeze(self, fault: Fault) -> None:
        member = self.crew.members[fault.target]
        if member.send(signal.SIGSTOP):
            try:
                await asyncio.sleep(fault.for_s)
            finally:
                member.send(signal.SIGCONT)

    async def _terminate(self, name: str) -> None:
        """In service first: before it has said how it wants to end, SIGTERM just ends it."""
        member = self.crew.members[name]
        if await member.serving(30) and not member.frozen:
            member.send(signal.SIGTERM)

    async def _storm(self, fault: Fault) -> None:
        """Members join and leave, some in good order and some not."""
        r = Random(f"storm {self.seed} {fault.at_s}")
        give_up = time.monotonic() + fault.for_s
        while time.monotonic() < give_up:
            self._extras += 1
            name = f"{fault.target}-extra{self._extras}"
            self.crew.start(name)
            await self.crew.members[name].serving(10)
            await asyncio.sleep(r.uniform(0.0, 2.0))
            await self.crew.dismiss(name, signal.SIGKILL if r.random() < 0.5 else signal.SIGTERM)

    async def _redeliver(self, fault: Fault) -> None:
        """Some orders come again, byte for byte, as after a crash between the log and a mark."""
        r = Random(f"redelivery {self.seed} {fault.at_s}")
        async with self.machines.servers:
            await self.repeat(r, most=6)

    async def repeat(self, r: Random, most: int) -> int:
        """Append copies of up to `most` records of each topic that orders something."""
        copies = 0
        bootstrap = self.machines.bootstrap
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
        await producer.start()
        try:
            for name in _REDELIVERED:
                topic = f"{self.prefix}{name}"
                for partition, records in (await read_topic(bootstrap, topic)).items():
                    for record in r.sample(list(records), min(most, len(records))):
                        await producer.send_and_wait(
                            topic,
                            record.value,
                            record.key,
                            partition,
                            record.timestamp_ms,
                            list(record.headers),
                        )
                        copies += 1
        finally:
            await producer.stop()
        self.redelivered += copies
        return copies


def _number(fault: Fault) -> int:
    return int(fault.target.partition("-")[2])
