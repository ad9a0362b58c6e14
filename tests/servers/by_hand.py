"""A server for a person: `make kafka`, `make postgres`."""

import signal
import sys
from contextlib import AbstractContextManager

from tests.servers.sources import Unavailable


def serve(server: AbstractContextManager[str]) -> None:
    """Run a server for a person: say what it says, until ctrl-C or SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with server as words:
            sys.stdout.write(f"{words}\n\nctrl-C stops it and removes its data\n")
            sys.stdout.flush()
            signal.pause()
    except KeyboardInterrupt:
        sys.stdout.write("\n")
    except Unavailable as missing:
        sys.exit(str(missing))
