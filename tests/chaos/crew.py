"""The processes under test, kept running as an orchestrator would: whoever ends is started again."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

ROOT = Path(__file__).parents[2]
DRAIN_S = 10.0
"""SIGTERM must have drained a process by then."""
_RESTART_S = 0.5
_STARTED = b"run.started"
_TRACEBACK = re.compile(r"^Traceback \(most recent call last\)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How one life of a process ended."""

    member: str
    life: int
    after_s: float
    code: int
    ordered: str
    """`kill` or `terminate` if we did it, else empty."""
    drain_s: float | None = None
    served: bool = True
    """Whether it was in service when we ended it."""

    @property
    def expected(self) -> bool:
        match self.ordered:
            case "kill":
                return True
            case "terminate":
                # before it has said how it wants to end, SIGTERM just ends it
                drained = self.code == 0 or (self.code == -signal.SIGTERM and not self.served)
                return drained and (self.drain_s or 0.0) < DRAIN_S
            case _:
                return False  # a store or brokers that are away are waited for


@dataclass(slots=True)
class Member:
    """One process and all its lives."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    lives: int = 0
    wanted: bool = True
    process: asyncio.subprocess.Process | None = None
    ordered: str = ""
    ordered_at: float = 0.0
    served: bool = False
    frozen: bool = False

    @property
    def log(self) -> Path:
        """What the present life writes on stdout and stderr."""
        return self.folder / f"{self.name}.{self.lives}.log"

    @property
    def kind(self) -> str:
        return self.name.partition("-")[0]

    @property
    def in_service(self) -> bool:
        """Whether the present life has said that it works."""
        return self.running and _STARTED in self.log.read_bytes()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def serving(self, patience_s: float) -> bool:
        """Wait until it works; False if it does not in time."""
        give_up = time.monotonic() + patience_s
        while time.monotonic() < give_up:
            if self.in_service:
                return True
            await asyncio.sleep(0.1)
        return False

    async def live(self, told: Callable[[End], None]) -> None:
        """Start it, and start it again whenever it has ended, until it is no longer wanted."""
        while self.wanted:
            self.lives += 1
            self.ordered, self.ordered_at, self.served, self.frozen = "", 0.0, False, False
            began = time.monotonic()
            with self.log.open("wb") as log:
                self.process = await asyncio.create_subprocess_exec(
                    *_not_orphaned(),
                    *self.command,
                    cwd=ROOT,
                    env={**os.environ, **self.environment},
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            code = await self.process.wait()
            drain_s = time.monotonic() - self.ordered_at if self.ordered == "terminate" else None
            told(
                End(
                    member=self.name,
                    life=self.lives,
                    after_s=time.monotonic() - began,
                    code=code,
                    ordered=self.ordered,
                    drain_s=drain_s,
                    served=self.served,
                )
            )
            if self.wanted:
                await asyncio.sleep(_RESTART_S)

    def send(self, number: signal.Signals) -> bool:
        """Signal the present life; False if there is none."""
        if self.process is None or self.process.returncode is not None:
            return False
        if number is signal.SIGKILL:
            self.ordered = "kill"
        elif number is signal.SIGTERM:
            self.ordered = self.ordered or "terminate"
            self.ordered_at, self.served = time.monotonic(), self.in_service
        self.frozen = {signal.SIGSTOP: True, signal.SIGCONT: False}.get(number, self.frozen)
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return True


@dataclass(slots=True)
class Crew:
    """All processes of a deployment."""

    folder: Path
    environment: Mapping[str, str]
    mutant: str | None = None
    clocks: Mapping[str, float] = field(default_factory=dict)
    """By how many seconds the clock of a member is wrong."""
    members: dict[str, Member] = field(default_factory=dict)
    ends: list[End] = field(default_factory=list)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start `kind-number` and keep it running."""
        kind = name.partition("-")[0]
        member = Member(name, self._command(name, kind), self.environment, self.folder)
        self.members[name] = member
        self._tasks[name] = asyncio.create_task(member.live(self.ends.append), name=name)

    def _command(self, name: str, kind: str) -> list[str]:
        if self.mutant is not None:
            return [sys.executable, "-m", "tests.chaos.mutant_worker", self.mutant, "run", kind]
        if name in self.clocks:
            return [sys.executable, "-m", "tests.chaos.wrong_clock", str(self.clocks[name]), "run", kind]
        return [sys.executable, "-c", "from consumers.cli.main import main; main()", "run", kind]

    async def dismiss(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End a member for good."""
        member = self.members[name]
        member.wanted = False
        if member.frozen:
            member.send(signal.SIGCONT)
        member.send(number)
        try:
            await asyncio.wait_for(asyncio.shield(self._tasks[name]), DRAIN_S * 2)
        except TimeoutError:
            # its end is recorded with the time that it took, which is a finding
            if member.process is not None and member.process.returncode is None:
                member.process.kill()
            await self._tasks[name]

    async def drain(self) -> None:
        """SIGTERM for everybody at once."""
        await asyncio.gather(*(self.dismiss(name) for name, m in self.members.items() if m.wanted))

    async def abandon(self) -> None:
        """SIGKILL for whoever is left: nothing of a run outlives it."""
        for member in self.members.values():
            member.wanted = False
            if member.running:
                member.send(signal.SIGKILL)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for member in self.members.values():
            if member.process is not None and member.process.returncode is None:
                await member.process.wait()

    def complaints(self) -> list[str]:
        """Ends nobody ordered, slow drains, tracebacks, and lines of level error."""
        found = [
            f"{end.member} life {end.life} ended with {end.code} after {end.after_s:.1f} s"
            + (f", {end.drain_s:.1f} s after SIGTERM" if end.drain_s is not None else "")
            for end in self.ends
            if not end.expected
        ]
        for log in sorted(self.folder.glob("*.log")):
            text = log.read_text(errors="replace")
            if _TRACEBACK.search(text):
                found.append(f"{log.name}: traceback, {text.rstrip().splitlines()[-1][:300]}")
            found += [f"{log.name}: {line[:300]}" for line in text.splitlines() if _is_error(line)]
        return found


def _not_orphaned() -> list[str]:
    """Whoever runs this suite may be killed too, and its processes shall end with it where that is known."""
    program = shutil.which("setpriv")
    return [program, "--pdeathsig=KILL", "--"] if program else []


def _is_error(line: str) -> bool:
    """Ours, or a task that nobody waited for; what libraries say of a broker that is away is no complaint."""
    if '"error"' not in line and '"critical"' not in line:
        return False
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    action = str(entry.get("action"))
    ours = not action.startswith("log.") or action == "log.asyncio"
    return ours and entry.get("level") in ("error", "critical")
