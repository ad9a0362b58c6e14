"""Counts over a profile's frozen bins, then missing, then unseen."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter

import numpy as np

from domain.windows.columns import as_floats
from domain.windows.features import FeatureTable
from domain.windows.moments import Floats
from domain.windows.profile import FeatureReference
from domain.windows.records import Feature

Features = Mapping[str, Feature]


def category_of(value: str | float | bool) -> str:
    """The category a value stands for: text as it is, true/false, a number as its shortest decimal."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(float(value) + 0.0)


class FeatureBins:
    """Bins of all features of a profile, prepared once and used for many windows."""

    def __init__(self, features: Mapping[str, FeatureReference]) -> None:
        self._numeric = {
            name: np.array(ref.edges, np.float64) for name, ref in features.items() if ref.kind == "numeric"
        }
        self._categorical = {name: ref for name, ref in features.items() if ref.kind == "categorical"}
        self._row = _row_getter(tuple(self._numeric))

    def count(self, records: Sequence[Features]) -> dict[str, list[int]]:
        """Histogram of each feature of the profile; features that are not in it are ignored."""
        counts = {}
        matrix = self._matrix(records)
        for column, (name, edges) in enumerate(self._numeric.items()):
            if matrix is not None:
                counts[name] = _numeric(edges, matrix[:, column], unseen=0)
            else:
                counts[name] = count_numbers(edges, [features.get(name) for features in records])
        for name, reference in self._categorical.items():
            counts[name] = count_categories(
                reference.categories, [features.get(name) for features in records]
            )
        return counts

    def count_tables(self, tables: Sequence[FeatureTable]) -> dict[str, list[int]]:
        """The same over the records of `tables`."""
        counts = self.count([features for table in tables for features in table.loose])
        for table in tables:
            for name, edges in self._numeric.items():
                numbers = table.column(name)
                if numbers is None:
                    counts[name][-2] += table.rows
                else:
                    _add(counts[name], _numeric(edges, numbers, unseen=0))
            for name, reference in self._categorical.items():
                numbers = table.column(name)
                if numbers is None:
                    counts[name][-2] += table.rows
                else:
                    _add(counts[name], count_categories(reference.categories, numbers.tolist()))
        return counts

    def _matrix(self, records: Sequence[Features]) -> Floats | None:
        """Numeric features as records x names, or None if a record has a gap or text among them."""
        if not self._numeric:
            return None
        try:
            flat = as_floats(list(chain.from_iterable(map(self._row, records))))
        except KeyError:
            return None
        return flat.reshape(len(records), len(self._numeric)) if flat is not None else None


def _add(counts: list[int], more: Sequence[int]) -> None:
    for index, count in enumerate(more):
        counts[index] += count


def _row_getter(names: tuple[str, ...]) -> Callable[[Features], Iterable[Feature]]:
    if len(names) > 1:
        return itemgetter(*names)
    # itemgetter of one name gives a bare value, not a tuple
    return lambda features: [features[name] for name in names]


def count_values(reference: FeatureReference, values: Sequence[Feature]) -> list[int]:
    """Histogram of single values over the bins of `reference`."""
    if reference.kind == "numeric":
        return count_numbers(np.array(reference.edges, np.float64), values)
    return count_categories(reference.categories, values)


def count_numbers(edges: Floats, values: Sequence[Feature]) -> list[int]:
    """Bin i counts the numbers in (edges[i-1], edges[i]]; true is 1, None is missing, text is unseen."""
    column = as_floats(values)
    if column is not None:
        return _numeric(edges, column, unseen=0)
    unseen = sum(isinstance(value, str) for value in values)
    numbers = [value for value in values if value is not None and not isinstance(value, str)]
    counts = _numeric(edges, np.array(numbers, np.float64), unseen)
    counts[-2] += len(values) - unseen - len(numbers)
    return counts


def _numeric(edges: Floats, numbers: Floats, unseen: int) -> list[int]:
    bins = edges.searchsorted(numbers, side="left")
    counts: list[int] = np.bincount(bins, minlength=len(edges) + 3).tolist()
    counts[-1] = unseen
    return counts


def count_categories(categories: Sequence[str], values: Sequence[Feature]) -> list[int]:
    """One bin per category, in the order given; None is missing, any other category is unseen."""
    present = [value for value in values if value is not None]
    seen = Counter(map(category_of, present))
    counts = [seen[category] for category in categories]
    return [*counts, len(values) - len(present), len(present) - sum(counts)]
