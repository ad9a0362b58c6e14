"""JSON Schemas of the events, made from the models: what the committed files must equal."""

import json
from pathlib import Path
from typing import Any

from .topics import TOPIC_EVENTS

GENERATED = Path(__file__).parent / "generated"
RELEASED = Path(__file__).parent / "released" / "v1"

Document = dict[str, Any]


def event_schemas() -> dict[str, Document]:
    """JSON Schema (2020-12) of every event by its name."""
    return {
        event.__name__: {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **event.model_json_schema(mode="validation"),
        }
        for event in TOPIC_EVENTS.values()
    }


def rendered(document: Document) -> str:
    """The text of a committed file: sorted keys, so that a diff shows changes of meaning only."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def load(folder: Path) -> dict[str, Document]:
    """Every document of `folder` by its file's name without suffix."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
