"""Log lines of the service: one JSON object a line on stderr, a stable ``action`` first.

``log.info("window.closed", rows=3)`` writes
``{"action":"window.closed","level":"info","timestamp":"2026-01-31T12:00:00Z","component":"tally","rows":3}``.
An action never changes its spelling, because people's alerts match on it; prose goes into ``message``.
Lines of other libraries come out in the same shape with the action ``log.<logger's name>``.
"""

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, Literal, TextIO

import orjson
import structlog
from pydantic import SecretStr

from consumers.settings import mask_password

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
Logger = structlog.typing.FilteringBoundLogger

_SECRET_WORDS = (
    "password",
    "secret",
    "token",
    "credential",
    "api_key",
    "apikey",
    "authorization",
    "private_key",
)
_FIRST_KEYS = ("action", "level", "timestamp", "component")
MASK = "***"


_REPEAT_S = 60.0
_MOST_KINDS = 1_000
"""Some libraries put the values into the template; then every line is a kind of its own."""


class LoggerService:
    """Gives each component its logger; configured once per process, by whoever starts it."""

    def __init__(self, level: Level = "INFO", stream: TextIO | None = None) -> None:
        """``stream`` None: ``sys.stderr`` at the time of each line. ValueError for an unknown level."""
        self.level = level
        threshold = logging.getLevelNamesMapping().get(level)
        if threshold is None:
            raise ValueError(f"log level {level!r} must be DEBUG, INFO, WARNING, ERROR or CRITICAL")
        _configure_structlog(threshold, stream)
        self._take_over_stdlib(max(threshold, logging.WARNING), stream)

    @classmethod
    def for_orders(cls, level: Level) -> "LoggerService":
        """For a command that ends by itself: its output and its one line of failure say it all.

        What libraries say on the way is shown only when somebody looks for a fault, at DEBUG.
        """
        return cls(level if level == "DEBUG" else "CRITICAL")

    def get_logger(self, component: str) -> Logger:
        """A logger whose lines carry ``component``."""
        return get_logger(component)

    @staticmethod
    def _take_over_stdlib(threshold: int, stream: TextIO | None) -> None:
        root = logging.getLogger()
        for handler in [handler for handler in root.handlers if isinstance(handler, _StdlibLines)]:
            root.removeHandler(handler)
        root.addHandler(_StdlibLines(stream, threshold))


def configure(level: Level = "INFO", stream: TextIO | None = None) -> LoggerService:
    """Set up the logging of this process; a second call replaces the first."""
    return LoggerService(level, stream)


def get_logger(component: str) -> Logger:
    """A logger whose lines carry ``component``; may be taken before :func:`configure` and follows it."""
    logger: Logger = structlog.get_logger(component=component)
    return logger


def _configure_structlog(threshold: int, stream: TextIO | None) -> None:
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *_PROCESSORS],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: _Lines(stream),
        cache_logger_on_first_use=False,
    )


class _Lines:
    """Writes whole lines, one call each, so that processes sharing stderr do not mix them."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        stream = self._stream or sys.stderr
        stream.write(line + "\n")
        stream.flush()

    debug = info = warning = error = critical = msg


class _StdlibLines(logging.Handler):
    """Lines of libraries that log through the standard library.

    While a broker is away its clients say so dozens of times a second: of the same line, whatever its values,
    one a minute is written, with how many there were since.
    """

    def __init__(self, stream: TextIO | None, threshold: int) -> None:
        super().__init__(threshold)
        self._lines = _Lines(stream)
        self._said: dict[tuple[str, int, str], tuple[float, int]] = {}
        """Template of a line -> when it was written last, and how often it was not since."""

    def emit(self, record: logging.LogRecord) -> None:
        kind = (record.name, record.levelno, str(record.msg))
        last_s, left_out = self._said.get(kind, (-_REPEAT_S, 0))
        now_s = time.monotonic()
        if now_s - last_s < _REPEAT_S:
            self._said[kind] = (last_s, left_out + 1)
            return
        if len(self._said) >= _MOST_KINDS:
            self._said.clear()
        self._said[kind] = (now_s, 0)
        entry: MutableMapping[str, Any] = {
            "event": f"log.{record.name}",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "exc_info": record.exc_info,
            **({"repeated": left_out} if left_out else {}),
        }
        for process in _PROCESSORS[1:]:  # the level is known already
            entry = process(None, "", entry)  # the last one returns the line
        self._lines.msg(str(entry))


def _without_secrets(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """By name (``token=…``), by type (SecretStr), and inside text (the password of a URL)."""
    return {key: MASK if _names_secret(key) else _masked(value) for key, value in entry.items()}


def _names_secret(key: str) -> bool:
    return any(word in key.lower() for word in _SECRET_WORDS)


def _masked(value: Any) -> Any:
    match value:
        case SecretStr():
            return MASK
        case str():
            return mask_password(value)
        case Mapping():
            return {
                str(key): MASK if _names_secret(str(key)) else _masked(item) for key, item in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [_masked(item) for item in value]
        case _:
            return value


def _action_first(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    entry["action"] = entry.pop("event")
    return {key: entry[key] for key in (*_FIRST_KEYS, *entry) if key in entry}


def _json_line(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> str:
    try:
        return orjson.dumps(
            entry, default=lambda value: mask_password(str(value)), option=orjson.OPT_NON_STR_KEYS
        ).decode()
    except TypeError:
        # half a surrogate pair in somebody's text is no reason to stop a worker
        return json.dumps(entry, default=lambda value: mask_password(str(value)), separators=(",", ":"))


_PROCESSORS: Sequence[Callable[[Any, str, MutableMapping[str, Any]], Any]] = (
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    _without_secrets,
    _action_first,
    _json_line,
)

# Before anyone configures it structlog prints to stdout, where only results belong.
if not structlog.is_configured():
    _configure_structlog(logging.INFO, None)
