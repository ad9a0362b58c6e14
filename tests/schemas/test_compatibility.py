"""Each kind of breaking change is caught; additions pass."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from schemas.compatibility import breaking_changes
from schemas.jsonschema import event_schemas

Schema = dict[str, Any]
Change = Callable[[Schema], object]
BASE: Schema = {
    "type": "object",
    "required": ["id", "kind", "value"],
    "$defs": {
        "Kind": {"type": "string", "enum": ["A", "B"]},
        "Part": {
            "type": "object",
            "required": ["n"],
            "properties": {
                "n": {"type": "integer", "minimum": 0, "maximum": 9},
                "next": {"anyOf": [{"$ref": "#/$defs/Part"}, {"type": "null"}]},
            },
        },
    },
    "properties": {
        "id": {"type": "string", "minLength": 1, "maxLength": 64},
        "kind": {"$ref": "#/$defs/Kind"},
        "value": {"anyOf": [{"type": "number"}, {"type": "string", "maxLength": 9}]},
        "note": {"type": "string", "default": ""},
        "level": {"type": "string", "const": "x", "default": "x"},
        "at": {"type": "string", "format": "date-time"},
        "parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}, "maxItems": 5},
        "map": {
            "type": "object",
            "maxProperties": 9,
            "propertyNames": {"maxLength": 9},
            "additionalProperties": {"type": "number"},
        },
    },
}


def changed(change: Change) -> Schema:
    new = deepcopy(BASE)
    change(new)
    return new


def rename(schema: Schema) -> None:
    schema["properties"]["remark"] = schema["properties"].pop("note")


def grow(schema: Schema, name: str, field: Schema, *, required: bool = False) -> None:
    schema["properties"][name] = field
    if required:
        schema["required"].append(name)


def put(*path: str, value: object) -> Change:
    def change(schema: Schema) -> None:
        for part in path[:-1]:
            schema = schema[part]
        schema[path[-1]] = value

    return change


BREAKING: dict[str, tuple[Change, str]] = {
    "a removed field": (lambda s: s["properties"].pop("note"), "$.note: the field was removed or renamed"),
    "a renamed field": (rename, "$.note: the field was removed or renamed"),
    "a retyped field": (put("properties", "note", "type", value="integer"), "$.note: retyped from string to"),
    "a lost format": (lambda s: s["properties"]["at"].pop("format"), "$.at: retyped from string(date-time)"),
    "an arm less": (
        lambda s: s["properties"]["value"]["anyOf"].pop(),
        "$.value: retyped from number | string",
    ),
    "an arm more": (
        lambda s: s["properties"]["value"]["anyOf"].append({"type": "null"}),
        "$.value: retyped from number | string to null | number | string",
    ),
    "a nullable field made plain": (
        put("$defs", "Part", "properties", "next", value={"$ref": "#/$defs/Part"}),
        "$.parts[].next: retyped from null | object to object",
    ),
    "a new required field": (
        lambda s: grow(s, "more", {"type": "string"}, required=True),
        "$.more: the field is new and has no default",
    ),
    "an optional field made required": (lambda s: s["required"].append("note"), "$.note: the field became"),
    "a shorter text": (
        put("properties", "id", "maxLength", value=32),
        "$.id: maxLength narrowed from 64 to 32",
    ),
    "a longer least length": (put("properties", "id", "minLength", value=2), "$.id: minLength narrowed"),
    "a new limit": (put("properties", "note", "maxLength", value=5), "$.note: maxLength narrowed from none"),
    "a narrower number": (
        put("$defs", "Part", "properties", "n", "maximum", value=8),
        "$.parts[].n: maximum",
    ),
    "a higher minimum": (put("$defs", "Part", "properties", "n", "minimum", value=1), "$.parts[].n: minimum"),
    "fewer items": (put("properties", "parts", "maxItems", value=4), "$.parts: maxItems narrowed"),
    "a smaller map": (put("properties", "map", "maxProperties", value=8), "$.map: maxProperties narrowed"),
    "shorter names in a map": (
        put("properties", "map", "propertyNames", "maxLength", value=8),
        "$.map{key}: maxLength narrowed",
    ),
    "a retyped map": (
        put("properties", "map", "additionalProperties", "type", value="string"),
        "$.map{}: retyped from number to string",
    ),
    "a closed map": (put("properties", "map", "additionalProperties", value=False), "$.map{}: no longer"),
    "a narrower arm": (
        lambda s: s["properties"]["value"]["anyOf"][1].update(maxLength=8),
        "$.value: maxLength narrowed from 9 to 8",
    ),
    "a pattern": (
        put("properties", "id", "pattern", value="^a"),
        "$.id: the pattern changed from none to ^a",
    ),
    "a removed enum value": (put("$defs", "Kind", "enum", value=["A"]), "$.kind: the value B was removed"),
    "free text made an enum": (put("properties", "note", "enum", value=["x"]), "$.note: limited to x"),
    "another constant": (put("properties", "level", "const", value="y"), "$.level: the value x was removed"),
    "another default": (put("properties", "note", "default", value="-"), "$.note: the default changed"),
    "a required field of a part": (
        lambda s: s["$defs"]["Part"]["required"].append("next"),
        "$.parts[].next: the field became required",
    ),
}

ADDITIVE: dict[str, Change] = {
    "nothing": lambda _: None,
    "a new field with a default": lambda s: grow(s, "more", {"type": "string", "default": ""}),
    "a longer text": put("properties", "id", "maxLength", value=128),
    "a limit lifted": lambda s: s["properties"]["id"].pop("maxLength"),
    "a lower minimum": put("$defs", "Part", "properties", "n", "minimum", value=-1),
    "a new enum value": put("$defs", "Kind", "enum", value=["A", "B", "C"]),
    "another description": put("description", value="says it better"),
    "a field that got a default": lambda s: s["required"].remove("id"),
}


@pytest.mark.parametrize("name", BREAKING)
def test_a_breaking_change_is_named(name: str) -> None:
    change, expected = BREAKING[name]
    found = breaking_changes(BASE, changed(change))
    assert len(found) == 1
    assert found[0].startswith(expected)


@pytest.mark.parametrize("name", ADDITIVE)
def test_an_additive_change_passes(name: str) -> None:
    assert breaking_changes(BASE, changed(ADDITIVE[name])) == []


@pytest.mark.parametrize("name", sorted(event_schemas()))
def test_removing_any_field_of_any_event_is_breaking(name: str) -> None:
    schema = event_schemas()[name]
    for field in schema["properties"]:
        new = deepcopy(schema)
        del new["properties"][field]
        assert breaking_changes(schema, new) == [f"$.{field}: the field was removed or renamed"]
