"""Which errors are explained in one line, and the exit code of each.

WRONG says that something is not as it should be: an order that the rules forbid, a schema or topics that are
missing or of another release. USAGE is what only other arguments or settings change: also an address, user or
right that a server refuses. UNAVAILABLE may be tried again as it is.
"""

import click
from pydantic import ValidationError

from consumers.artifacts.backend import ArtifactError
from consumers.settings import SettingsError
from consumers.store.errors import (
    DeploymentMismatch,
    DriverMissing,
    InvalidStoreUrl,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from domain.errors import DomainError
from schemas.errors import LogError, LogRefused, LogStuck, LogUnavailable, UnreadableBatch

WRONG, USAGE, UNAVAILABLE = 1, 2, 3


class Refused(Exception):
    """An order that cannot be carried out; the message says what to do. `code` is the exit code."""

    def __init__(self, message: str, code: int = WRONG) -> None:
        super().__init__(message)
        self.code = code


def explain(error: Exception) -> tuple[str, int] | None:
    """The line and exit code for a known error, None for a defect (whose traceback is worth seeing)."""
    match error:
        case click.ClickException():
            context = error.ctx if isinstance(error, click.UsageError) else None
            hint = f" (see '{context.command_path} --help')" if context else ""
            return _line(error.format_message()) + hint, USAGE
        case SettingsError():
            return _line(f"setting {error}"), USAGE
        case Refused():
            return _line(str(error)), error.code
        case ValidationError():
            # an order that the contract does not take: a reason that is too long, a name that is empty
            first = error.errors(include_url=False, include_context=False)[0]
            field = ".".join(str(part) for part in first["loc"])
            return _line(f"{field}: {first['msg']}"), USAGE
        case DomainError() | StoreError() | LogError() | ArtifactError():
            return _line(str(error)), _code(error)
        case OSError() if error.filename is not None and error.strerror:
            # a home that cannot be made or written, a full disk
            return _line(f"{error.filename}: {error.strerror}"), UNAVAILABLE
        case _:
            return None


def _code(error: Exception) -> int:
    match error:
        case StoreUnavailable() | LogUnavailable() | LogStuck():
            return UNAVAILABLE
        case UnreadableBatch():  # the brokers refuse it, but it is what was written that is wrong
            return WRONG
        case InvalidStoreUrl() | DriverMissing() | StoreRefused() | DeploymentMismatch() | LogRefused():
            return USAGE
        case _:
            return WRONG


def _line(text: str) -> str:
    return " ".join(text.split())
