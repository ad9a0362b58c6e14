"""Flat frozen dataclasses to plain JSON and back.

Policies are written by people and travel as JSON; a wrong field must be named, not discovered later as a
TypeError. Nested dataclasses and mappings are the business of their own `from_json`.
"""

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin

from domain.errors import InvalidField

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    T = TypeVar("T", bound=DataclassInstance)
else:
    T = TypeVar("T")

Json = dict[str, Any]
"""What orjson or json would parse from an object: str keys, plain values."""


def write(value: "DataclassInstance") -> Json:
    """The fields of a flat dataclass; tuples become lists."""
    out: Json = {}
    for field in fields(value):
        item = getattr(value, field.name)
        out[field.name] = list(item) if isinstance(item, tuple) else item
    return out


def read(kind: type[T], data: Mapping[str, Any]) -> T:
    """Build the flat dataclass `kind`. Absent fields take their defaults.

    Raises InvalidField for an unknown or missing field and for a value of another type.
    """
    known = {field.name: field for field in fields(kind)}
    for name in data:
        if name not in known:
            raise InvalidField(kind.__name__, name, "one of " + ", ".join(known), data[name])
    values: Json = {}
    for name, field in known.items():
        if name in data:
            values[name] = _convert(kind.__name__, field, field.type, data[name])
        elif field.default is MISSING and field.default_factory is MISSING:
            raise InvalidField(kind.__name__, name, "given", None)
    return kind(**values)


def _convert(owner: str, field: "Field[Any]", wanted: object, value: object) -> object:
    origin = get_origin(wanted)
    if origin is UnionType:
        if value is None and NoneType in get_args(wanted):
            return None
        rest = [option for option in get_args(wanted) if option is not NoneType]
        return _convert(owner, field, rest[0], value)
    if origin is Literal:
        if value in get_args(wanted):
            return value
        raise InvalidField(owner, field.name, "one of " + ", ".join(map(str, get_args(wanted))), value)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise InvalidField(owner, field.name, "a list", value)
        return tuple(_convert(owner, field, get_args(wanted)[0], item) for item in value)
    if wanted is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if math.isfinite(value):
            return float(value)
        raise InvalidField(owner, field.name, "a finite number", value)
    assert isinstance(wanted, type)  # noqa: S101 - a dataclass field that is none of the above is a defect here
    # bool is an int in Python, but a count of True is a mistake
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise InvalidField(owner, field.name, f"of type {wanted.__name__}", value)
    return value
