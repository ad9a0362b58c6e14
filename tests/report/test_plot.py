"""Charts are well-formed, finite, and readable whatever is drawn."""

import math
import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumers.report.plot import BOTTOM, TOP, Band, Chart, Level, Line, span, svg

ANY = st.one_of(st.floats(-1e12, 1e12), st.just(math.nan), st.just(math.inf), st.just(-math.inf))
YEAR_MS = 366 * 86_400_000


def chart(points: list[tuple[float, float]], y: tuple[float, float], *, decades: bool = False) -> Chart:
    return Chart(
        name="c",
        title='a <title> & "more"',
        unit="<unit>",
        lines=[Line(label="</text>a", points=points, dots=True), Line(label="b", points=points, color=1)],
        bands=[Band(points=[(at, y - 1, y + 1) for at, y in points])],
        levels=[Level(y=0.0, label="& zero"), Level(y=0.01, label="near"), Level(y=1e15, label="far away")],
        y=y,
        decades=decades,
    )


def texts(drawing: str, kind: str) -> list[ET.Element]:
    return [each for each in ET.fromstring(drawing).iter("text") if kind in (each.get("class") or "").split()]


@example([], (0.0, 5e-324), False)
@given(
    st.lists(st.tuples(st.integers(0, 2**41), ANY), max_size=30),
    st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)),
    st.booleans(),
)
def test_every_drawing_is_well_formed_and_no_number_in_it_is_infinite(
    points: list[tuple[int, float]], y: tuple[float, float], decades: bool
) -> None:
    drawing = svg(chart([(float(at), value) for at, value in sorted(points)], y, decades=decades))
    ET.fromstring(drawing)
    assert re.search(r"\b(nan|inf)\b", drawing) is None
    assert max((abs(float(number)) for number in re.findall(r"-?\d+\.\d", drawing)), default=0) < 1e4


@given(st.integers(0, 2**41), st.integers(1_000, 300 * YEAR_MS), st.booleans())
def test_a_time_axis_names_a_few_moments_in_order(start: int, length: int, decades: bool) -> None:
    labels = texts(svg(chart([(start, 0.0), (start + length, 1.0)], (0.0, 1.0), decades=decades)), "x")
    places = [float(each.get("x") or 0) for each in labels]
    assert places == sorted(set(places))
    assert len(labels) <= 10
    assert len(labels) >= 2 or length < 600_000
    assert all(right - left > 60 for left, right in pairwise(places))


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_a_linear_axis_has_a_few_labels_that_differ(low: float, length: float) -> None:
    high = low + length
    if high - low < abs(low) * 1e-6:
        return
    labels = [each.text for each in texts(svg(chart([(0, low), (1, high)], (low, high))), "y")]
    assert 2 <= len(labels) <= 8
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    "y,expected",
    [
        ((-0.5, 2.1), ["1", "10", "100"]),
        ((-2.5, 0.5), ["0.01", "0.1", "1"]),
        ((5.5, 8.2), ["1,000,000", "1e7", "1e8"]),
        ((-6.0, -5.0), ["1e-6", "1e-5"]),
    ],
)
def test_decades_are_named_as_people_write_them(y: tuple[float, float], expected: list[str]) -> None:
    labels = [each.text for each in texts(svg(chart([(0, y[0]), (1, y[1])], y, decades=True)), "y")]
    assert labels == expected


def test_labels_do_not_cover_each_other_and_stay_in_the_picture() -> None:
    lines = [Line(label=f"line {k}", points=[(0, 0.0), (1, 0.5 + k / 1000)]) for k in range(6)]
    drawn = Chart(
        name="c", title="t", unit="u", lines=lines, levels=[Level(y=0.5, label="half")], y=(0.0, 1.0)
    )
    labels = texts(svg(drawn), "label")
    places = [float(each.get("y") or 0) for each in labels]
    assert len(places) == 7
    assert min(b - a for a, b in pairwise(places)) >= 14.9
    assert places[0] > TOP - 20
    assert places[-1] <= drawn.height - BOTTOM + 10


def test_long_series_are_thinned_and_keep_their_last_point() -> None:
    points = [(float(at), math.sin(at / 100)) for at in range(100_000)]
    drawing = svg(chart(points, (-1.0, 1.0)))
    assert len(drawing) < 200_000
    one = Line(label="", points=points)
    (line,) = ET.fromstring(svg(Chart(name="c", title="t", unit="u", lines=[one], y=(-1.0, 1.0)))).iter(
        "polyline"
    )
    assert (line.get("points") or "").split()[-1].startswith("850.0,")


def test_a_range_shows_everything_finite() -> None:
    low, high = span([1.0, math.inf, 3.0, math.nan], 0.0)
    assert low < 0.0
    assert high > 3.0
    assert span([]) == span([math.nan])
    assert span([5.0])[0] < 5.0 < span([5.0])[1]
