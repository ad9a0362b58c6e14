"""Writing settings files: the library of the language reads TOML, and writes none."""

import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from consumers.settings import SettingsError

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def write_toml(path: Path, values: Mapping[str, Any]) -> None:
    """Write scalars (str, bool, int, finite float, Path) and tables of them; None is left out.

    The file appears whole or not at all: a process killed in the middle leaves the old one. At no moment may
    anybody but its owner read it: it may hold the password of the database.
    """
    text = "\n".join(_toml_lines(values, ())) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)  # of a process that was killed and had our id
    with open(unfinished, "x", encoding="utf-8", opener=_for_its_owner) as file:
        file.write(text)
    unfinished.replace(path)


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _toml_lines(values: Mapping[str, Any], table: tuple[str, ...]) -> Iterator[str]:
    """Scalars first, as TOML wants them: whatever follows a table's header belongs to that table."""
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    for key, value in values.items():
        if key not in tables and value is not None:
            yield f"{_toml_key(key)} = {_toml_scalar(key, value)}"
    for key, inner in tables.items():
        yield f"[{'.'.join(map(_toml_key, (*table, key)))}]"
        yield from _toml_lines(inner, (*table, key))


def _toml_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _toml_string(key)


def _toml_scalar(key: str, value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case float() if math.isfinite(value):
            return repr(value)
        case str() | Path():
            return _toml_string(str(value))
        case _:
            raise SettingsError(key, value, "only text, numbers, truth values and tables can be written")


def _toml_string(text: str) -> str:
    # JSON's escapes are TOML's; only DEL must be escaped in TOML and is not in JSON
    return orjson.dumps(text).decode().replace("\x7f", "\\u007f")
