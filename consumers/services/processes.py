"""Names of processes, for leases: who holds one, and whether that process can still be alive."""

import os
import socket


def this_process() -> str:
    """`host/pid`."""
    return f"{socket.gethostname()}/{os.getpid()}"


def is_dead(name: str) -> bool:
    """Whether `name` is a process of this machine that does not exist any more; False when in doubt."""
    host, _, pid = name.rpartition("/")
    if host != socket.gethostname() or not pid.isdecimal() or int(pid) <= 0:
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
