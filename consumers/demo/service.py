"""The example PredictionService as a child process, driven line by line."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from domain.errors import DomainError

_LINE_LIMIT = 1 << 20


class ServiceFailed(DomainError):
    """The example PredictionService ended or answered something else."""


class PredictionServiceProcess:
    """Starts the service, tells it to advance, and ends it. Not restarted: its state lies in the log."""

    def __init__(self, process: asyncio.subprocess.Process, ready: dict[str, Any]) -> None:
        self._process = process
        self.ready = ready
        """What the service said when it had started."""

    @classmethod
    async def start(cls, script: Path, arguments: Sequence[str]) -> "PredictionServiceProcess":
        """Run `script` with this interpreter and wait until it says that it is ready."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(script),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
        )
        self = cls(process, {})
        self.ready = await self._answer()
        return self

    async def advance(self, week: int) -> dict[str, Any]:
        """Publish what happens in `week`; at once if that is in the log already."""
        assert self._process.stdin is not None  # noqa: S101 - opened as a pipe above
        self._process.stdin.write(orjson.dumps({"advance": week}) + b"\n")
        await self._process.stdin.drain()
        return await self._answer()

    async def stop(self) -> None:
        """Close its input, which ends it; kill it if it does not end."""
        if self._process.returncode is not None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 5)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101 - opened as a pipe above
        line = await self._process.stdout.readline()
        if not line:
            code = await self._process.wait()
            raise ServiceFailed(f"the example PredictionService ended with exit code {code}")
        try:
            answer: dict[str, Any] = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise ServiceFailed(f"the example PredictionService answered {line[:80]!r}") from error
        if "error" in answer:
            raise ServiceFailed(f"the example PredictionService failed: {answer['error']}")
        return answer
