"""Features of many records, held as numbers instead of objects.

An open window holds every feature of every record until it closes. The dictionaries they came in take a
kilobyte a record, and are cold by then; rows of plain numbers with the same names are copied out while they
are warm, eight bytes a number, and the rest is kept as it is.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, groupby
from typing import Any, cast

import numpy as np

from domain.windows.moments import Floats
from domain.windows.records import Feature, Numbers


class FeatureTable:
    """The features of a cell's records. What is counted over it does not depend on how a record is held."""

    __slots__ = ("_floats", "_names", "_numbers", "loose")

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._floats: list[type] = []
        self._numbers = array("d")
        self.loose: list[Mapping[str, Feature]] = []
        """Records with a gap, text or truth value, or with other names than the first one."""

    def add(self, features: Mapping[str, Feature] | Numbers) -> None:
        """Take over the features of one more record."""
        if isinstance(features, Numbers):
            if features.names == self._names:
                self._numbers.fromlist([*features.numbers()])
                return
            features = dict(zip(features.names, features.numbers(), strict=True))
        values: list[Any] = list(features.values())
        if not self._names and values and {*map(type, values)} == {float}:
            self._names = tuple(features)
            self._floats = [float] * len(values)
        # the types one by one: an array would take true for 1.0, and a category tells them apart
        if values and tuple(features) == self._names and [*map(type, values)] == self._floats:
            self._numbers.fromlist(values)
        else:
            self.loose.append(features)

    def extend(self, records: Sequence[Mapping[str, Feature] | Numbers]) -> None:
        """As `add` of each."""
        for kind, some in groupby(records, type):
            if issubclass(kind, Numbers) and kind.names == self._names:
                rows = cast(Iterator[Numbers], some)
                self._numbers.fromlist([*chain.from_iterable([row.numbers() for row in rows])])
            else:
                for features in some:
                    self.add(features)

    @property
    def rows(self) -> int:
        """How many records are held as numbers."""
        return len(self._numbers) // len(self._names) if self._names else 0

    def column(self, name: str) -> Floats | None:
        """The numbers of one feature, of all these records; None if they do not have it."""
        if name not in self._names:
            return None
        numbers = np.frombuffer(self._numbers, np.float64).reshape(-1, len(self._names))
        return numbers[:, self._names.index(name)]
