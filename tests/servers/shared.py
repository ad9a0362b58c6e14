"""One server of each kind for all processes of a run: the first keeps them, the others ask in a folder."""

import json
import os
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.servers.obtain import SOURCES, Kind, server
from tests.servers.sources import Unavailable

FOLDER = "TEST_SERVERS_FOLDER"
"""The environment variable that tells a process whom to ask."""

_POLL_S = 0.05
# The first start ever fetches Kafka's jars.
_PATIENCE_S = 600.0


class Keeper:
    """Starts a server when the first process asks for it, so that a run that needs none starts none.

    Never a process's own business: one that ends early would take the server with it.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gal-friday-servers-")
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._keep, args=(kind,), name=kind) for kind in SOURCES]

    def open(self) -> None:
        """Let the processes that are started from now on ask."""
        os.environ[FOLDER] = self._folder.name
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End what was started."""
        del os.environ[FOLDER]
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._folder.cleanup()

    def _keep(self, kind: Kind) -> None:
        folder = Path(self._folder.name)
        while not (folder / f"{kind}.wanted").exists():
            if self._over.wait(_POLL_S):
                return
        try:
            with server(kind) as address:
                _answer(folder, kind, {"address": address})
                self._over.wait()
        except Unavailable as missing:
            _answer(folder, kind, {"unavailable": str(missing)})
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever asked must hear of it
            _answer(folder, kind, {"failed": f"{type(error).__name__}: {error}"})


def ask(kind: Kind) -> str:
    """The address of the server that the run's keeper has; Unavailable if it cannot get one."""
    folder = Path(os.environ[FOLDER])
    (folder / f"{kind}.wanted").touch()
    answer = folder / f"{kind}.answer"
    give_up = time.monotonic() + _PATIENCE_S
    while not answer.exists():
        if time.monotonic() > give_up:
            raise TimeoutError(f"no {kind} within {_PATIENCE_S:g} s")
        time.sleep(_POLL_S)
    said: dict[str, str] = json.loads(answer.read_text())
    if "unavailable" in said:
        raise Unavailable(said["unavailable"])
    if "failed" in said:
        raise RuntimeError(f"{kind} did not start: {said['failed']}")
    return said["address"]


def _answer(folder: Path, kind: Kind, words: Mapping[str, Any]) -> None:
    """Whole or not at all, for those who look meanwhile."""
    written = folder / f"{kind}.writing"
    written.write_text(json.dumps(words))
    written.rename(folder / f"{kind}.answer")
