"""The command line as a person meets it: arguments in; exit code and two streams out."""

import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import structlog

from consumers.cli.main import cli, main


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON that stdout consists of."""
        return json.loads(self.out)

    def refuses(self, code: int) -> str:
        """The one line on stderr of a command that ended with `code` and printed nothing else."""
        assert self.code == code, self
        assert self.out == ""
        (line,) = self.err.splitlines()
        assert line.startswith("lifecycle: ")
        assert "Traceback" not in line
        return line


def lifecycle(*arguments: str | Path) -> Said:
    """`lifecycle ARGUMENTS` in this process, through its outermost edge."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    logging_before = structlog.get_config()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        finally:
            # a command sets up the logging of its process, which here has other tests to run
            structlog.configure(**logging_before)
    return Said(code=code, out=out.getvalue(), err=err.getvalue())


def all_commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, by its words, found as the program finds them."""
    context = click.Context(cli)
    for name in cli.list_commands(context):
        yield from _within((name,), cli.get_command(context, name))


def _within(words: tuple[str, ...], command: click.Command | None) -> Iterator[tuple[tuple[str, ...], Any]]:
    assert command is not None
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _within((*words, name), inner)
    else:
        yield words, command
