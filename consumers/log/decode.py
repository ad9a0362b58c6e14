"""Hot decoding: predictions and outcomes straight into structs, a third of what the pydantic models cost.

The pydantic models stay the contract. What the fast decoder accepts, they accept with equal values (a
parity test holds it); whatever it does not accept, they decide, and they name the reason. The structs refuse
unknown fields for that: a newer writer's records take the slower way and are read all the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import sub
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from consumers.log.columns import Columns, columns_of
from domain.windows.records import Invalid, OutcomeRecord, PredictionRecord
from schemas.codec import decode
from schemas.errors import InvalidRecord
from schemas.events import MAX_FEATURES, MAX_HORIZON_S, MAX_VALUES, Event, OutcomeObserved, PredictionMade
from schemas.logrecords import LogRecord

Name = Annotated[str, Meta(min_length=1, max_length=128)]
PredictionId = Annotated[str, Meta(min_length=1, max_length=64)]
Label = Annotated[str, Meta(max_length=256)]
Moment = Annotated[datetime, Meta(tz=True)]


class Prediction(msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    """PredictionMade, for reading only. Equal in every field that a fold uses."""

    occurred_at: Moment
    prediction_id: PredictionId
    model: Name
    version: Name
    variant: Name | None = None
    experiment: Name | None = None
    epoch: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    served: bool = True
    prediction: float | Label
    features: Annotated[dict[Name, float | Label | bool | None], Meta(max_length=MAX_FEATURES)] = {}
    unit: Name | None = None
    covariate: float | None = None
    horizon_s: Annotated[int, Meta(ge=1, le=MAX_HORIZON_S)]


class Outcome(msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    """OutcomeObserved, for reading only."""

    occurred_at: Moment
    prediction_id: PredictionId
    actual: float | Label
    values: Annotated[dict[Name, float], Meta(max_length=MAX_VALUES)] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a deployment accepts, beyond the contracts' own limits."""

    max_bytes: int = 1 << 20
    """Largest value of a record; a larger one is not even parsed."""
    future_ms: int = 60_000
    """How far a record's timestamp may be ahead of the log's clock."""
    max_horizon_s: int = 31 * 86_400


def decode_predictions(
    records: Sequence[LogRecord], limits: Limits
) -> Sequence[PredictionRecord | Invalid | None]:
    """Each record's prediction, Invalid with its reason, None for a heartbeat. No record makes it fail."""
    decoded = _decode(records, limits, _PREDICTIONS, PredictionMade)
    longest = limits.max_horizon_s
    for at, made in enumerate(decoded):
        if made.__class__ is Prediction and made.horizon_s > longest:
            decoded[at] = _too_far(made.horizon_s, longest)
    return decoded


def decode_prediction(value: bytes, limits: Limits) -> Prediction | Invalid:
    """The prediction that one of the values of `sound` holds, or Invalid with its reason."""
    made = _decode_one(value, _PREDICTIONS, PredictionMade)
    if made.__class__ is Prediction and made.horizon_s > limits.max_horizon_s:
        return _too_far(made.horizon_s, limits.max_horizon_s)
    return made


def decode_outcomes(records: Sequence[LogRecord], limits: Limits) -> Sequence[OutcomeRecord | Invalid | None]:
    """Each record's outcome, Invalid with its reason, or None for a heartbeat. No record makes it fail."""
    return _decode(records, limits, _OUTCOMES, OutcomeObserved)


_PREDICTIONS = msgspec.json.Decoder(Prediction)
_OUTCOMES = msgspec.json.Decoder(Outcome)
# invalid UTF-8 is a ValueError, deep nesting a RecursionError
REFUSED = (msgspec.MsgspecError, ValueError, RecursionError)
_Twin = TypeVar("_Twin", Prediction, Outcome)
_NUL = b"\\u0000"


def _decode(
    records: Sequence[LogRecord], limits: Limits, decoder: msgspec.json.Decoder[_Twin], event: type[Event]
) -> list[_Twin | Invalid | None]:
    columns = columns_of(records)
    values = sound(columns, limits)
    # one byte is found far quicker than six
    if values is not None and not any(_NUL in value for value in values if b"\\" in value):
        return _decode_sound(values, decoder, event)
    max_bytes, future_ms = limits.max_bytes, limits.future_ms
    decoded: list[_Twin | Invalid | None] = []
    add = decoded.append
    for timestamp_ms, value, appended_ms in zip(*columns[1:], strict=True):
        if not 0 <= timestamp_ms <= appended_ms + future_ms:
            add(_wrong_clock(timestamp_ms, appended_ms + future_ms))
        elif not value:
            add(None)
        elif len(value) > max_bytes:
            add(Invalid(f"record: {len(value)} bytes are above the limit of {max_bytes}", True))
        else:
            add(_decode_one(value, decoder, event))
    return decoded


def sound(columns: Columns, limits: Limits) -> list[bytes] | None:
    """The values, if only their JSON can be wrong: almost always, and quick to see."""
    _, timestamps, every, appended = columns
    values = [value for value in every if value]
    fine = (
        len(values) == len(every)
        and max(map(len, values), default=0) <= limits.max_bytes
        and min(timestamps, default=0) >= 0
        and max(map(sub, timestamps, appended), default=0) <= limits.future_ms
    )
    return values if fine else None


def _decode_sound(
    values: Sequence[bytes], decoder: msgspec.json.Decoder[_Twin], event: type[Event]
) -> list[_Twin | Invalid | None]:
    decode_fast = decoder.decode
    decoded: list[_Twin | Invalid | None] = []
    add = decoded.append
    rest = iter(values)
    while len(decoded) < len(values):
        try:
            for value in rest:
                add(decode_fast(value))
        except REFUSED:
            # the one that `rest` gave last; it goes on with the next
            add(_decode_by_contract(values[len(decoded)], decoder.type, event))
    return decoded


def _decode_one(value: bytes, decoder: msgspec.json.Decoder[_Twin], event: type[Event]) -> _Twin | Invalid:
    # the only way to write a NUL in JSON; names may not hold one, and the twin does not look
    if _NUL in value:
        return _decode_by_contract(value, decoder.type, event)
    try:
        return decoder.decode(value)
    except REFUSED:
        return _decode_by_contract(value, decoder.type, event)


def _decode_by_contract(value: bytes, twin: type[_Twin], event: type[Event]) -> _Twin | Invalid:
    """The pydantic model's verdict on what the fast decoder refused."""
    try:
        made = decode(event, value)
    except InvalidRecord as error:
        return Invalid(error.reason, True)
    return twin(**{name: getattr(made, name) for name in twin.__struct_fields__})


def _too_far(horizon_s: int, longest_s: int) -> Invalid:
    return Invalid(f"horizon_s: {horizon_s} is above the limit of {longest_s}", True)


def _wrong_clock(timestamp_ms: int, latest_ms: int) -> Invalid:
    if timestamp_ms < 0:
        return Invalid(f"timestamp: {timestamp_ms} ms is before the epoch", False)
    return Invalid(f"timestamp: {timestamp_ms} ms is later than the latest accepted, {latest_ms} ms", False)
