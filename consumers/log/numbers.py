"""Predictions for a fold: features that are all numbers come as rows, not as dictionaries.

A version sends the same features with every record. Who knows their names beforehand needs neither a
dictionary nor the text of each name again, and decoding and folding a prediction of twelve numbers costs a
third less. The names are those of the version's record before. A version's first record is decoded in the
ordinary way, as is every one that turns out to be different: what is accepted, and what it says, stays the
same.
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
"""So many are remembered; to make ready for a set of names takes half a millisecond."""
_SHALLOW: Final = 400
"""No text of so many bytes is nested deeper than the contract's parser goes, which is 200 levels."""
_PATIENCE: Final = 20
"""So many more records may be tried in vain than with success; the rest of a batch is not tried."""


class _Unread(msgspec.Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    """Prediction, whose features are still to be read."""

    occurred_at: Moment
    prediction_id: PredictionId
    model: Name
    version: Name
    variant: Name | None = None
    experiment: Name | None = None
    epoch: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    served: bool = True
    prediction: float | Label
    features: msgspec.Raw
    unit: Name | None = None
    covariate: float | None = None
    horizon_s: Annotated[int, Meta(ge=1, le=MAX_HORIZON_S)]


class _Row(Numbers, msgspec.Struct, frozen=True, gc=False):
    def numbers(self) -> tuple[float, ...]:
        return astuple(self)


_Read = Callable[[msgspec.Raw], Numbers]
_unread = msgspec.json.Decoder(_Unread).decode


class NumbersDecoder:
    """Decodes predictions for a fold, and remembers which names a version's features have.

    What it remembers is how to read, never what is read: another decoder finds the same in every record.
    """

    def __init__(self) -> None:
        self._readers: dict[tuple[str, str], _Read | None] = {}

    def decode(
        self, records: Sequence[LogRecord], limits: Limits
    ) -> Sequence[PredictionRecord | Invalid | None]:
        """As `decode_predictions`; features that are all numbers may come as Numbers."""
        values = sound(columns_of(records), limits)
        if values is None:
            return decode_predictions(records, limits)
        decoded: list[PredictionRecord | Invalid | None] = []
        add = decoded.append
        known, longest, patience = self._readers.get, limits.max_horizon_s, _PATIENCE
        for value in values:
            version = None
            if patience > 0 and b"\\" not in value and value.isascii():
                try:
                    made = _unread(value)
                    version = (made.model, made.version)
                    read = known(version)
                    # Of features that are given twice the first are skipped. Their grammar is checked, and
                    # ASCII without a backslash hides nothing else; only their depth nobody has looked at.
                    shallow = len(value) - len(made.features) <= _SHALLOW
                    if read is not None and shallow and made.horizon_s <= longest:
                        made.features = read(made.features)  # type: ignore[assignment]
                        add(cast(PredictionRecord, made))
                        patience += 1
                        continue
                except REFUSED:
                    pass
            patience -= 1
            ordinary = decode_prediction(value, limits)
            add(ordinary)
            if version is not None and type(ordinary) is Prediction:
                self._remember(version, ordinary)
        return decoded

    def _remember(self, version: tuple[str, str], made: Prediction) -> None:
        """Expect the names of `made` next time; nothing, if its features are not all numbers."""
        if len(self._readers) >= _SHAPES:
            self._readers.clear()
        plain = {*map(type, made.features.values())} == {float}
        self._readers[version] = _reader_of(tuple(made.features)) if plain else None


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
