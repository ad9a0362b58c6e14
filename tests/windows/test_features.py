"""Counting features does not depend on how a record of them is held."""

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from domain.windows.features import FeatureTable
from domain.windows.histogram import FeatureBins
from domain.windows.profile import FeatureReference
from domain.windows.records import Feature, Numbers

BINS = FeatureBins(
    {
        "a": FeatureReference(kind="numeric", edges=(0.0, 1.0), counts=(0,) * 5),
        "b": FeatureReference(kind="categorical", categories=("1.0", "true", "x"), counts=(0,) * 5),
    }
)
VALUES = st.sampled_from([0.0, 1.0, -0.0, 2.5, 1, True, False, None, "x", "1.0"])
RECORDS = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.floats(allow_nan=False, allow_infinity=False) | VALUES)
)


@given(st.lists(RECORDS, max_size=3))
def test_tables_count_as_their_records_do(cells: list[list[Mapping[str, Feature]]]) -> None:
    everything = [features for records in cells for features in records]
    assert BINS.count_tables([table(records) for records in cells]) == BINS.count(everything)


def test_plain_numbers_of_the_same_names_are_held_as_numbers() -> None:
    rows = [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}]
    odd: list[Mapping[str, Feature]] = [{"a": 1.0}, {"a": 1.0, "b": True}, {"b": 1.0, "a": 1.0}, {}]
    held = table([*rows, *odd])
    assert held.rows == 2
    assert held.loose == odd
    column = held.column("b")
    assert column is not None
    assert column.tolist() == [2.0, 4.0]
    assert held.column("c") is None


class Row(Numbers):
    names = ("a", "b")

    def __init__(self, a: float, b: float) -> None:
        self.values = (a, b)

    def numbers(self) -> tuple[float, ...]:
        return self.values


@given(
    st.lists(st.tuples(st.floats(-2, 2), st.floats(-2, 2)) | st.dictionaries(st.sampled_from("abc"), VALUES))
)
def test_rows_of_numbers_count_as_the_same_in_dictionaries_do(
    records: list[tuple[float, float] | dict[str, Feature]],
) -> None:
    made, extended = FeatureTable(), FeatureTable()
    held = [Row(*record) if isinstance(record, tuple) else record for record in records]
    for record in held:
        made.add(record)
    extended.extend(held[:1])
    extended.extend(held[1:])
    everything = [{"a": r[0], "b": r[1]} if isinstance(r, tuple) else r for r in records]
    assert BINS.count_tables([made]) == BINS.count(everything)
    assert (extended.rows, extended.loose) == (made.rows, made.loose)
    assert BINS.count_tables([extended]) == BINS.count(everything)


def table(records: Sequence[Mapping[str, Feature]]) -> FeatureTable:
    made = FeatureTable()
    for features in records:
        made.add(features)
    return made
