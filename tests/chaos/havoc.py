"""Carrying out a schedule: each fault begins at its time, and what it breaks is mended."""

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from aiokafka import AIOKafkaProducer

from tests.chaos.crew import Crew, Member
from tests.chaos.machines import Machines
from tests.chaos.schedule import Fault
from tests.chaos.topics import read_topic

SLOW_S = 0.25
"""What a slow link adds to every packet, each way."""
_PATIENCE_S = 30.0
_SERVES_WITHIN_S = 25.0
"""A process starts in two seconds, ten of them on two cores in twenty."""
"""How long a fault waits for something to break: a process that is just starting, a connection."""
_REDELIVERED = ("drift-detected", "retrain-requested", "model-promoted")


@dataclass(slots=True, kw_only=True)
class Havoc:
    """Breaks things. Whatever goes wrong in a fault itself is an error of this suite, and is raised."""

    crew: Crew
    machines: Machines
    prefix: str
    seed: int
    seconds: float
    """Of traffic: orders that could come again are not waited for any longer."""
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
        entry["hit"] = await self._inflict(fault, began)
        entry["ended_s"] = round(time.monotonic() - began, 2)

    async def _inflict(self, fault: Fault, began: float) -> int:
        """How many processes, servers, connections or orders it hit."""
        match fault.kind:
            case "kill":
                return await self._kill([self.crew.members[fault.target]])
            case "kill-all-of":
                return await self._kill([m for m in self.crew.members.values() if m.kind == fault.target])
            case "terminate":
                return await self._terminate(fault.target)
            case "freeze" | "hiccup":
                return await self._freeze(fault)
            case "rebalance-storm":
                return await self._storm(fault)
            case "redelivery":
                return await self._redeliver(fault, began)
            case kind if "-link-" in kind:
                return await self._break_link(fault)
            case _:
                return await self._break_server(fault)

    async def _break_server(self, fault: Fault) -> int:
        machines = self.machines
        match fault.kind:
            case "broker-kill":
                await machines.kill_broker(_number(fault), fault.for_s)
            case "rolling-restart":
                await machines.roll()
            case "database-restart":
                await machines.restart_database()
            case "database-kill":
                await machines.kill_database(fault.for_s)
            case "database-full":
                return await machines.fill_database(fault.for_s, _PATIENCE_S)
            case "database-sessions-cut":
                async with machines.servers:
                    return await machines.cut_sessions()
            case kind:
                raise ValueError(f"nobody knows how to do {kind}")
        return 1

    async def _break_link(self, fault: Fault) -> int:
        what, _, how = fault.kind.rpartition("-link-")
        link = self.machines.link if what == "database" else self.machines.broker_links[_number(fault)]
        actions: dict[str, Callable[[], None]] = {
            "cut": link.refuse,
            "slow": lambda: link.delay(SLOW_S),
            "dead": link.blackhole,
        }
        await _until(lambda: link.connections > 0)
        hit = link.connections
        await asyncio.to_thread(actions[how])
        try:
            await asyncio.sleep(fault.for_s)
        finally:
            await asyncio.to_thread(link.heal)
        return hit

    async def _kill(self, members: Sequence[Member]) -> int:
        await _until(lambda: any(member.running for member in members))
        return sum(member.send(signal.SIGKILL) for member in members)

    async def _freeze(self, fault: Fault) -> int:
        member = self.crew.members[fault.target]
        await _until(lambda: member.running and not member.frozen)
        if member.frozen or not member.send(signal.SIGSTOP):
            return 0
        try:
            await asyncio.sleep(fault.for_s)
        finally:
            member.send(signal.SIGCONT)
        return 1

    async def _terminate(self, name: str) -> int:
        """In service first: before it has said how it wants to end, SIGTERM just ends it."""
        member = self.crew.members[name]
        await _until(lambda: member.in_service and not member.frozen)
        return int(member.in_service and not member.frozen and member.send(signal.SIGTERM))

    async def _storm(self, fault: Fault) -> int:
        """Members join and leave, some in good order and some not; at least one has to work meanwhile."""
        r = Random(f"storm {self.seed} {fault.at_s}")
        give_up, joined = time.monotonic() + fault.for_s, 0
        while (now := time.monotonic()) < give_up or (not joined and now < give_up + _PATIENCE_S):
            self._extras += 1
            name = f"{fault.target}-extra{self._extras}"
            self.crew.start(name)
            joined += await self.crew.members[name].serving(_SERVES_WITHIN_S)
            await asyncio.sleep(r.uniform(0.0, 2.0))
            await self.crew.dismiss(name, signal.SIGKILL if r.random() < 0.5 else signal.SIGTERM)
        return joined

    async def _redeliver(self, fault: Fault, began: float) -> int:
        """Some orders come again, byte for byte, as after a crash between the log and a mark."""
        r = Random(f"redelivery {self.seed} {fault.at_s}")
        while True:
            async with self.machines.servers:
                copies = await self.repeat(r, most=6)
            # early in a run nothing has been ordered yet
            if copies or time.monotonic() > began + self.seconds:
                return copies
            await asyncio.sleep(2.0)

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


async def _until(ready: Callable[[], bool]) -> None:
    """Wait for it, but not for ever."""
    give_up = time.monotonic() + _PATIENCE_S
    while time.monotonic() < give_up:
        if ready():
            return
        await asyncio.sleep(0.05)


def _number(fault: Fault) -> int:
    return int(fault.target.partition("-")[2])
