"""Runs a training command: no shell, a small environment, a deadline, and the end of its complaints."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

_TAIL_BYTES = 4_000
# What a program needs to start and to find its locale and scratch space; never the service's own secrets.
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SYSTEMROOT", "OMP_NUM_THREADS")


class CommandFailed(Exception):
    """The training command ended badly; `tail` is the end of its standard error."""

    def __init__(self, problem: str, tail: str) -> None:
        super().__init__(f"{problem}: {tail}" if tail else problem)
        self.problem = problem
        self.tail = tail


def fill(command: Sequence[str], job_dir: Path) -> list[str]:
    """The placeholders `{python}` and `{job_dir}` replaced; other braces are left as they are."""
    return [part.replace("{python}", sys.executable).replace("{job_dir}", str(job_dir)) for part in command]


async def run_command(command: Sequence[str], job_dir: Path, *, timeout_s: float) -> None:
    """Runs `command` in `job_dir` to its end.

    Raises CommandFailed when it cannot start, exits with another code than 0, or takes too long. It runs in a
    process group of its own, which is killed on a timeout and when this coroutine is cancelled.
    """
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    try:
        process = await asyncio.create_subprocess_exec(
            *fill(command, job_dir),
            cwd=job_dir,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise CommandFailed(f"the training command cannot start ({error.strerror})", "") from error
    assert process.stderr is not None  # noqa: S101 - asked for above
    tail = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            while chunk := await process.stderr.read(65_536):
                tail += chunk
                del tail[:-_TAIL_BYTES]
            code = await process.wait()
    except TimeoutError as error:
        raise CommandFailed(f"the training command took longer than {timeout_s:g} s", _text(tail)) from error
    finally:
        await _kill(process)
    if code != 0:
        raise CommandFailed(f"the training command ended with exit code {code}", _text(tail))


async def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return  # its id may already be another's
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _text(tail: bytearray) -> str:
    return tail.decode("utf-8", "replace").strip()
