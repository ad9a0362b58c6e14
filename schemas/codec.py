"""Events to the bytes of a record's value and back.

Writers are strict: a model refuses unknown fields when it is built. Readers ignore unknown fields but coerce
nothing: "1" is no number and 1 is no truth value, so every reader sees the same record or none does.
"""

from typing import TypeVar, overload

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from .errors import InvalidRecord
from .events import Event
from .topics import event_of

AnyEvent = TypeVar("AnyEvent", bound=Event)

# of a field's dotted name; at most two parts of it come from the record
_QUOTE = 36
_UNIONS = frozenset({"prediction", "actual"})
_UNION_MAPS = frozenset({"features"})
_WRONG_TYPE = frozenset({"float_type", "bool_type", "string_type", "none_required"})


def encode(event: Event) -> bytes:
    """The record value of `event`: UTF-8 JSON with every field, times in UTC or with their offset."""
    return event.model_dump_json().encode()


@overload
def decode(topic_or_type: type[AnyEvent], value: bytes) -> AnyEvent: ...
@overload
def decode(topic_or_type: str, value: bytes) -> Event: ...
def decode(topic_or_type: str | type[Event], value: bytes) -> Event:
    """The event in a record's value; `topic_or_type` is a topic, an event's name or its class.

    Raises InvalidRecord, naming field and limit, and UnknownTopic for a topic that carries no event.
    """
    event = event_of(topic_or_type) if isinstance(topic_or_type, str) else topic_or_type
    try:
        return event.model_validate_json(value, strict=True, extra="ignore")
    except ValidationError as error:
        raise _explain(error) from None


def _explain(error: ValidationError) -> InvalidRecord:
    """The first field at fault; of a union's complaints a limit says more than the types that do not fit."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    location = _field(details[0])
    same = [detail for detail in details if _field(detail) == location]
    telling = [detail for detail in same if detail["type"] not in _WRONG_TYPE] or same
    problem = " or ".join(dict.fromkeys(_message(detail) for detail in telling[:3]))
    name = ".".join(_shown(part) for part in location) or None
    return InvalidRecord(f"{name or 'record'}: {problem}", name)


def _field(detail: ErrorDetails) -> tuple[str | int, ...]:
    """The location without the tags that pydantic adds for the arms of a union."""
    location = detail["loc"]
    if location and location[0] in _UNIONS:
        return location[:1]
    if location and location[0] in _UNION_MAPS:
        return location[:2]
    return tuple(part for part in location if part != "[key]")


def _message(detail: ErrorDetails) -> str:
    message = detail["msg"].removeprefix("Input ")
    return f"the name is refused: {message}" if "[key]" in detail["loc"] else message


def _shown(part: str | int) -> str:
    """A part of a field's name, fit for one line of a log whatever the record holds."""
    text = str(part)
    printable = text if text.isascii() and text.isprintable() else ascii(text)[1:-1]
    return printable if len(printable) <= _QUOTE else f"{printable[:_QUOTE]}..."
