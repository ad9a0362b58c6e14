"""Frozen dataclasses to plain JSON and back.

Policies are written by people and travel as JSON; a wrong field must be named, not discovered later as a
TypeError. Understood are str, int, float, bool, `X | None`, Literal, tuples of one type, mappings from str,
and dataclasses of these.
"""

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, Union, get_args, get_origin

from domain.errors import InvalidField

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    T = TypeVar("T", bound=DataclassInstance)
else:
    T = TypeVar("T")

Json = dict[str, Any]
"""What orjson or json would parse from an object: str keys, plain values."""

LATER: Final = {"later": True}
"""Metadata of a field that came after documents had been hashed: left out while it has its default."""


def write(value: "DataclassInstance") -> Json:
    """The fields by name, without `LATER` ones at their default; tuples become lists, mappings are sorted."""
    return {
        field.name: _plain(found)
        for field in fields(value)
        if (found := getattr(value, field.name)) != field.default or not field.metadata.get("later")
    }


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return write(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(value[key]) for key in sorted(value)}
    return value


def read(kind: type[T], data: Mapping[str, Any]) -> T:
    """Build the dataclass `kind`. Absent fields take their defaults.

    Raises InvalidField for an unknown or missing field and for a value of another type.
    """
    known = {field.name: field for field in fields(kind)}
    for name in data:
        if name not in known:
            raise InvalidField(kind.__name__, name, "one of " + ", ".join(known), data[name])
    values: Json = {}
    for name, field in known.items():
        if name in data:
            values[name] = _typed(kind.__name__, name, field.type, data[name])
        elif field.default is MISSING and field.default_factory is MISSING:
            raise InvalidField(kind.__name__, name, "given", None)
    return kind(**values)


def read_section(kind: type[T], document: Mapping[str, Any], name: str) -> T:
    """The dataclass `kind` from the section `name` of a policy document; all defaults without one.

    Raises InvalidField, also for a section that is no object.
    """
    section = document.get(name, {})
    if not isinstance(section, Mapping):
        raise InvalidField("policy", name, "an object", section)
    return read(kind, section)


def _typed(owner: str, name: str, wanted: object, value: object) -> object:
    """`value` as the annotation `wanted` asks for."""
    origin, options = get_origin(wanted), get_args(wanted)
    if origin in (UnionType, Union):  # `Literal[...] | None` is a typing.Union
        if value is None and NoneType in options:
            return None
        return _typed(owner, name, next(option for option in options if option is not NoneType), value)
    if origin is Literal:
        if value in options:
            return value
        raise InvalidField(owner, name, "one of " + ", ".join(map(str, options)), value)
    if origin is tuple:
        if isinstance(value, (list, tuple)):
            return tuple(_typed(owner, name, options[0], item) for item in value)
        raise InvalidField(owner, name, "a list", value)
    if origin is Mapping:
        if isinstance(value, Mapping):
            return {str(key): _typed(owner, f"{name}.{key}", options[1], value[key]) for key in sorted(value)}
        raise InvalidField(owner, name, "an object", value)
    return _scalar(owner, name, wanted, value)


def _scalar(owner: str, name: str, wanted: object, value: object) -> object:
    if not isinstance(wanted, type):
        raise TypeError(f"{owner}.{name}: annotation {wanted!r} cannot be read from JSON")
    if is_dataclass(wanted):
        if isinstance(value, Mapping):
            return read(wanted, value)
        raise InvalidField(owner, name, "an object", value)
    if wanted is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if math.isfinite(value):
            return float(value)
        raise InvalidField(owner, name, "a finite number", value)
    # bool is an int in Python, but a count of True is a mistake
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise InvalidField(owner, name, f"of type {wanted.__name__}", value)
    return value
