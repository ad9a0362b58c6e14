"""Predictions for a fold: features that are all numbers come as rows, not as dictionaries.

A version sends the same features with every record. Who knows their names beforehand needs neither a
dictionary nor the text of each name again, and decoding and folding a prediction of twelve numbers costs a
third less. The names are those of a version's first record in the batch. That one is decoded in the ordinary
way, as is every record that turns out to be different: what is accepted, and what it says, stays the same.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Final, cast

import msgspec
from msgspec import Meta
from msgspec.structs import astuple

from consumers.log.columns import columns_of
from consumers.log.decode import (
    REFUSED,
    Label,
    Limits,
    Moment,
    Name,
    Prediction,
    PredictionId,
    decode_prediction,
    decode_predictions,
    sound,
)
from consumers.log.port import LogRecord
from domain.windows.records import Invalid, Numbers, PredictionRecord
from schemas.events import MAX_HORIZON_S

_SHAPES: Final = 1_024
"""Sets of names whose decoders are kept; to make one takes half a millisecond."""
_KEY: Final = b'"features":{'
_BEFORE: Final = len(_KEY) - 1
_MARK: Final = "-"
_MARKED: Final = b'"-":""'
_PATIENCE: Final = 100
"""So many more records may be tried in vain than with success; the rest of the batch is not tried."""


class _Bare(msgspec.Struct, gc=False, kw_only=True, forbid_unknown_fields=True, rename={"features": _MARK}):
    """Prediction, in whose text a mark stands for the features."""

    occurred_at: Moment
    prediction_id: PredictionId
    model: Name
    version: Name
    variant: Name | None = None
    experiment: Name | None = None
    epoch: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    served: bool = True
    prediction: float | Label
    features: str
    unit: Name | None = None
    covariate: float | None = None
    horizon_s: Annotated[int, Meta(ge=1, le=MAX_HORIZON_S)]


class _Row(Numbers, msgspec.Struct, frozen=True, gc=False):
    def numbers(self) -> tuple[float, ...]:
        return astuple(self)


_Read = Callable[[bytes], Numbers]
_bare = msgspec.json.Decoder(_Bare).decode


def decode_predictions_to_fold(
    records: Sequence[LogRecord], limits: Limits
) -> Sequence[PredictionRecord | Invalid | None]:
    """As `decode_predictions`; features that are all numbers may come as Numbers."""
    values = sound(columns_of(records), limits)
    if values is None:
        return decode_predictions(records, limits)
    decoded: list[PredictionRecord | Invalid | None] = []
    add = decoded.append
    readers: dict[tuple[str, str], _Read | None] = {}
    longest, patience = limits.max_horizon_s, _PATIENCE
    for value in values:
        version = None
        start = value.find(_KEY) if patience > 0 else -1
        # Without a backslash a quote begins or ends a text, so this is a key. It is the prediction's own and
        # its only one of that name: any other is a field that is unknown to _Bare.
        if start > 0 and b"\\" not in value:
            end = value.find(b"}", start) + 1
            try:
                made = _bare(value[:start] + _MARKED + value[end:])
                version = (made.model, made.version)
                read = readers.get(version)
                if read is not None and made.horizon_s <= longest:
                    made.features = read(value[start + _BEFORE : end])  # type: ignore[assignment]
                    add(cast(PredictionRecord, made))
                    patience += 1
                    continue
            except REFUSED:
                pass
        patience -= 1
        ordinary = decode_prediction(value, limits)
        add(ordinary)
        if version is not None and version not in readers and type(ordinary) is Prediction:
            readers[version] = _reader(ordinary)
    return decoded


def _reader(made: Prediction) -> _Read | None:
    """What reads features of the same names, if those of `made` are all numbers."""
    if {*map(type, made.features.values())} != {float}:
        return None
    return _reader_of(tuple(made.features))


@lru_cache(maxsize=_SHAPES)
def _reader_of(names: tuple[str, ...]) -> _Read | None:
    fields = {f"f{number}": name for number, name in enumerate(names)}
    try:
        row = msgspec.defstruct(
            "Row",
            [(field, float) for field in fields],
            bases=(_Row,),
            namespace={"names": names},
            rename=fields,
            frozen=True,
            gc=False,
            forbid_unknown_fields=True,
        )
    except ValueError:
        # a name that must be escaped in JSON
        return None
    return cast(_Read, msgspec.json.Decoder(row).decode)
