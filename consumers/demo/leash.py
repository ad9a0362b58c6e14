"""What ties a worker's process to the demo that started it: the pipe that is its standard input.

The demo holds the other end and writes nothing. However it dies, SIGKILL included, the system closes that
end, and the worker reads the end of its input. Nothing to set, and no different on other systems.
"""

import contextlib
import os
import signal
import threading
import time

GRACE_S = 3.0
"""How long an orphan may drain. Cutting it short is safe: every effect is idempotent."""


def end_with_starter() -> None:
    """Have this process end when its standard input does. Called first of all, before anything can hang."""
    threading.Thread(target=_watch, name="leash", daemon=True).start()


def _watch() -> None:
    # the bare descriptor: a thread that waits in sys.stdin would hold its lock at exit
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            continue
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(1)
