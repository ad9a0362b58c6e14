"""A server's process: dies with the one that started it, whatever happens to that one; writes into a file."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.servers.sources import Unavailable

# Linux ends a child when the thread that made it ends, not only the process. A test may start a server from a
# thread that is soon gone, so all are made by one that stays.
_mother = ThreadPoolExecutor(1, "mother-of-servers")


@dataclass(slots=True)
class Child:
    """A process that was started, dead or alive."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def spawn(
        cls,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        orphaned: str = "KILL",
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> "Child":
        """Start `command`, as `user` if this is root; when its owner dies it gets the signal `orphaned`."""
        arguments = [*_prefix(orphaned, user), *map(str, command)]
        with log.open("ab") as out:
            process = _mother.submit(
                subprocess.Popen,
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=log.parent,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # a person's ctrl-C is for the owner
            ).result()
        return cls(name, log, process)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        self.process.wait()

    def ask(self, number: signal.Signals) -> None:
        """Send it a signal, unless it is dead."""
        if self.alive:
            self.process.send_signal(number)

    def end(self, number: signal.Signals, patience_s: float) -> None:
        """Ask it to end; kill it if it has not after `patience_s`."""
        self.ask(number)
        try:
            self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def pause(self) -> None:
        """SIGSTOP: alive for the system, silent for everybody else."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def finish(self, patience_s: float = 120.0) -> None:
        """Wait until it ends by itself; RuntimeError if it failed."""
        if self.process.wait(patience_s):
            raise RuntimeError(f"{self.name} failed:\n{self.last_words()}")

    def check(self) -> None:
        """RuntimeError if it is dead, with what it said."""
        if not self.alive:
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.last_words()}")

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-4_000:]

    def children(self) -> list[int]:
        """Processes that it started; none where the system does not tell."""
        with contextlib.suppress(OSError):
            listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
            return [int(pid) for pid in listed.split()]
        return []


def await_end(pids: list[int], patience_s: float = 10.0) -> None:
    """Wait until these processes, which need not be children of ours, run no more."""
    give_up = time.monotonic() + patience_s
    while any(map(_runs, pids)):
        if time.monotonic() > give_up:
            raise TimeoutError(f"killed {patience_s:g} s ago and still running: {[*filter(_runs, pids)]}")
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    """False for a zombie too: where nobody collects them, they stay."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _prefix(orphaned: str, user: str | None) -> list[str]:
    program = shutil.which("setpriv")
    if os.geteuid() != 0:
        user = None
    if program is None:
        if user is not None:
            raise Unavailable(f"this server refuses root, and without setpriv it cannot run as {user}")
        return []
    whose = [f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    return [program, *whose, f"--pdeathsig={orphaned}", "--"]
