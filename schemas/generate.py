"""Writes `schemas/generated/`: a JSON Schema per event and the AsyncAPI document.

python -m schemas.generate           writes the files
python -m schemas.generate --check   exits 1, naming them, if files are stale
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .asyncapi import asyncapi
from .jsonschema import GENERATED, event_schemas, rendered

CONTRACT_VERSION = "1.0.0"
"""Rises in the middle with every added field, in front only with new topics."""


def files() -> dict[str, str]:
    """Every generated file by name."""
    documents = {**event_schemas(), "asyncapi": asyncapi(CONTRACT_VERSION)}
    return {f"{name}.json": rendered(document) for name, document in documents.items()}


def stale(wanted: Mapping[str, str], folder: Path) -> list[str]:
    """Names of files in `folder` that are missing, differ from what is wanted, or belong to nothing."""
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def write(wanted: Mapping[str, str], folder: Path) -> None:
    """Makes `folder` hold exactly the wanted files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in stale(wanted, folder):
        if name in wanted:
            (folder / name).write_text(wanted[name], encoding="utf-8")
        else:
            (folder / name).unlink()


def main(arguments: Sequence[str] | None = None, folder: Path = GENERATED) -> int:
    parser = argparse.ArgumentParser(prog="python -m schemas.generate", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if files are stale")
    wanted = files()
    if not parser.parse_args(arguments).check:
        write(wanted, folder)
        return 0
    names = stale(wanted, folder)
    if names:
        print(f"stale: {', '.join(names)}; run python -m schemas.generate", file=sys.stderr)
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main())
