"""JSON files that people hand to a command."""

import asyncio
from pathlib import Path
from typing import Any

import orjson

from consumers.cli.faults import USAGE, Refused


async def document_in(file: Path) -> Any:
    """What `file` holds. Raises Refused, naming the file, if that is not JSON."""
    try:
        return orjson.loads(await asyncio.to_thread(file.read_bytes))
    except orjson.JSONDecodeError as error:
        raise Refused(f"{file} is not JSON: {error}", USAGE) from error


async def object_in(file: Path) -> dict[str, Any]:
    """The JSON object that `file` holds. Raises Refused for anything else."""
    document = await document_in(file)
    if not isinstance(document, dict):
        raise Refused(f"{file} must be a JSON object, not {type(document).__name__}", USAGE)
    return document
