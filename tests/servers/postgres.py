"""A PostgreSQL server of one's own, to be killed and restarted.

`python -m tests.servers.postgres` runs one for a person.
"""

import contextlib
import os
import pwd
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.servers.by_hand import serve
from tests.servers.child import Child, await_end
from tests.servers.databases import Databases
from tests.servers.places import folder, free_port
from tests.servers.sources import Unavailable

# It must survive kill -9 of all its processes but not a power cut, so nothing waits for the disk.
# synchronous_commit stays on: without it a killed server forgets its last commits, and a test would blame us.
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path has at most 107 bytes; a port has no such limit
    "max_connections": "300",
    "max_wal_size": "256MB",  # the folder may lie in memory
}
_START_PATIENCE_S = 60.0
_STOP_PATIENCE_S = 20.0


class PostgresServer:
    """Stopped until `start`. Its data stay through `stop`, `kill` and `restart`, until `close`."""

    def __init__(self) -> None:
        self._port = free_port()
        self._folder: Path | None = None
        self._child: Child | None = None
        self.databases = Databases(f"postgresql://postgres@127.0.0.1:{self._port}/postgres")

    @property
    def url(self) -> str:
        """The URL of the server's own database; its role may do everything."""
        return self.databases.url

    @property
    def pid(self) -> int:
        return self._running().pid

    def create_database(self, template: str | None = None) -> str:
        """The URL of a new database, empty or copied from the one at the URL `template`."""
        return self.databases.create(template)

    def drop_database(self, url: str) -> None:
        self.databases.drop(url)

    def start(self) -> Self:
        """Run until it answers queries; Unavailable if this machine has no PostgreSQL."""
        bins = binaries()
        home = self._home(bins)
        options = [f"--{name}={value}" for name, value in {**_SETTINGS, "port": str(self._port)}.items()]
        self._child = Child.spawn(
            "postgres",
            [bins / "postgres", "-D", home / "data", *options],
            log=home / "postgres.log",
            orphaned="QUIT",  # at once, but with its own children
            user=_user(),
        )
        give_up = time.monotonic() + _START_PATIENCE_S
        while True:
            self._child.check()
            with contextlib.suppress(TimeoutError):
                self.databases.wait(min(1.0, _START_PATIENCE_S))
                return self
            if time.monotonic() > give_up:
                raise TimeoutError(f"postgres does not answer:\n{self._child.last_words()}")

    def stop(self) -> None:
        """End connections and the server in good order."""
        self._running().end(signal.SIGINT, _STOP_PATIENCE_S)

    def kill(self) -> None:
        """SIGKILL to all of its processes. What was committed is there after `start`."""
        child = self._running()
        child.pause()  # so that it makes no more of them
        backends = child.children()
        for pid in backends:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        child.kill()
        await_end(backends)

    def restart(self) -> None:
        """`stop` and `start`: all connections break, and for a moment new ones are refused."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End it at once and remove its data."""
        if self._child is not None:
            self._child.end(signal.SIGQUIT, _STOP_PATIENCE_S)
        if self._folder is not None:
            shutil.rmtree(self._folder)
        self._child = self._folder = None

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _running(self) -> Child:
        if self._child is None:
            raise RuntimeError("this PostgreSQL was never started")
        return self._child

    def _home(self, bins: Path) -> Path:
        """The server's folder, with a cluster in it."""
        if self._folder is None:
            self._folder = folder("postgres", in_memory=True)
            if (user := _user()) is not None:
                shutil.chown(self._folder, user)
            command = f"-A trust -E UTF8 --no-locale --no-sync -U postgres -D {self._folder / 'data'}"
            log = self._folder / "initdb.log"
            Child.spawn("initdb", [bins / "initdb", *command.split()], log=log, user=_user()).finish()
        return self._folder


def binaries() -> Path:
    """The folder of `initdb` and `postgres`: given, Debian's newest, or on PATH."""
    given = os.environ.get("TEST_PG_BINDIR")
    debian = sorted(Path("/usr/lib/postgresql").glob("[0-9]*/bin"), key=lambda path: float(path.parent.name))
    on_path = shutil.which("initdb")
    beside = [Path(on_path).resolve().parent] if on_path else []
    for bins in [Path(given)] if given else [*reversed(debian), *beside]:
        if (bins / "initdb").exists() and (bins / "postgres").exists():
            return bins
    where = given or "/usr/lib/postgresql/*/bin or on PATH"
    raise Unavailable(
        f"no PostgreSQL server in {where}: install it, or name its programs by TEST_PG_BINDIR, "
        "or a running server by TEST_DATABASE_URL"
    )


def _user() -> str | None:
    """Who runs it if this is root, whom it refuses."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


@contextlib.contextmanager
def _for_a_person() -> Iterator[str]:
    with PostgresServer() as server:
        yield f"PostgreSQL at {server.url}\n  export LIFECYCLE_DATABASE_URL={server.url}"


if __name__ == "__main__":
    serve(_for_a_person())
