"""Where a server of the tests lives on this machine: a folder and a port."""

import contextlib
import os
import secrets
import shutil
import socket
import tempfile
from pathlib import Path

_PREFIX = "gal-friday-test"
_MEMORY = Path("/dev/shm")
# Containers often have 64 MB there: too little for a server.
_ENOUGH_BYTES = 1 << 30
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def folder(kind: str, *, in_memory: bool) -> Path:
    """A new folder of this process; those of processes that could not clear up are removed."""
    memory = in_memory and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ENOUGH_BYTES
    base = _MEMORY if memory else Path(tempfile.gettempdir())
    _sweep(base)
    # not tempfile's own 0700: a server that refuses root reads it as another user
    made = base / f"{_PREFIX}-{os.getpid()}-{kind}-{secrets.token_hex(4)}"
    made.mkdir(mode=0o755)
    return made


def free_port() -> int:
    """A port that nobody listens at, and that stays free while its server is down.

    It lies below those that the system gives to outgoing connections: a client that reconnects to a dead
    server could otherwise be given the server's own port, and meet itself.
    """
    try:
        ceiling = int(_EPHEMERAL.read_text().split()[0])
    except OSError:
        ceiling = 32_768
    floor = min(15_000, ceiling // 2)
    while True:
        port = floor + secrets.randbelow(ceiling - floor)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


def _sweep(base: Path) -> None:
    for old in base.glob(f"{_PREFIX}-*"):
        try:
            os.kill(int(old.name.removeprefix(f"{_PREFIX}-").split("-")[0]), 0)
        except ProcessLookupError:
            shutil.rmtree(old, ignore_errors=True)
        except (ValueError, PermissionError):
            continue  # not named by us; another user's
