"""Line charts over event time as inline SVG: nothing to install, the same bytes for the same data.

Colours are the page's CSS variables, so charts follow its light and dark scheme; what matters is told by
label or dash as well. All text is escaped here.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

Point = tuple[float, float]
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 1000.0, 72.0, 150.0, 30.0, 34.0
_MOST_POINTS = 1_500
"""Of one line: more would not be seen, and a page of megabytes would be slow."""
_LABEL_GAP = 15.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line through its points, with its label at the end. Points that are no finite numbers are gaps."""

    label: str
    points: Sequence[Point]
    color: int = 0
    """Number of the page's series colour."""
    dashed: bool = False
    dots: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """The space between two lines: x, lower, upper."""

    points: Sequence[tuple[float, float, float]]
    color: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A horizontal line with a meaning."""

    y: float
    label: str
    dashed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What is drawn; x is event time in milliseconds. With `decades`, y is a decimal logarithm."""

    title: str
    """Read out to those who do not see it."""
    unit: str
    lines: Sequence[Line]
    bands: Sequence[Band] = ()
    levels: Sequence[Level] = ()
    y: tuple[float, float]
    """What is shown: lines that leave it are cut off."""
    decades: bool = False
    height: float = 310.0
    name: str
    """Of the chart in its page."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """From data to the picture."""

    x: tuple[float, float]
    y: tuple[float, float]
    height: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        return self.across(x), self.down(y)

    def across(self, x: float) -> float:
        return LEFT + (x - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - LEFT - RIGHT)

    def down(self, y: float) -> float:
        return TOP + (self.y[1] - y) / (self.y[1] - self.y[0]) * (self.height - TOP - BOTTOM)


def svg(chart: Chart) -> str:
    """The chart as an element of a page."""
    moments = [x for line in chart.lines for x, _ in line.points]
    first, last = (min(moments), max(moments)) if moments else (0.0, 1.0)
    frame = _Frame((first, last if last > first else first + 1.0), _open(chart.y), chart.height)
    clip = f"clip-{chart.name}"
    inside = [*(_band(each, frame) for each in chart.bands), *(_line(each, frame) for each in chart.lines)]
    parts = [
        f'<svg viewBox="0 0 {WIDTH:g} {chart.height:g}" role="img" aria-label="{escaped(chart.title)}">',
        f'<clipPath id="{clip}"><rect x="{LEFT:g}" y="{TOP - 4:g}" width="{WIDTH - LEFT - RIGHT + 5:g}" '
        f'height="{chart.height - TOP - BOTTOM + 8:g}"/></clipPath>',
        *_grid(chart, frame),
        *(_level(each, frame) for each in chart.levels if frame.y[0] <= each.y <= frame.y[1]),
        f'<g clip-path="url(#{clip})">',
        *inside,
        "</g>",
        *_labels(chart, frame),
        "</svg>",
    ]
    return "\n".join(parts)


def span(values: Sequence[float], *also: float, room: float = 0.06) -> tuple[float, float]:
    """A y range that shows the finite `values` and what is to be seen besides."""
    finite = [value for value in (*values, *also) if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    more = (high - low) * room or max(abs(high), 1.0) * room
    return low - more, high + more


# ---------------------------------------------------------------- parts of a chart


def _open(y: tuple[float, float]) -> tuple[float, float]:
    # floats cannot divide a range of the smallest of them into steps
    return y if y[1] - y[0] > 1e-300 else (y[0] - 1.0, y[0] + 1.0)


def _grid(chart: Chart, frame: _Frame) -> list[str]:
    parts = [f'<text class="unit" x="{LEFT - 60:g}" y="13">{escaped(chart.unit)}</text>']
    for value, label in _decades(frame.y) if chart.decades else ticks(frame.y):
        y = frame.down(value)
        parts.append(f'<line class="grid" x1="{LEFT:g}" x2="{WIDTH - RIGHT:g}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="y" x="{LEFT - 8:g}" y="{y + 4:.1f}">{escaped(label)}</text>')
    bottom = chart.height - BOTTOM
    for at_ms, label in dates(frame.x):
        x = frame.across(at_ms)
        parts.append(f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom:g}" y2="{bottom + 5:g}"/>')
        parts.append(f'<text class="x" x="{x:.1f}" y="{bottom + 20:g}">{escaped(label)}</text>')
    return parts


def _level(level: Level, frame: _Frame) -> str:
    y = frame.down(level.y)
    kind = "level dashed" if level.dashed else "level"
    return f'<line class="{kind}" x1="{LEFT:g}" x2="{WIDTH - RIGHT:g}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _band(band: Band, frame: _Frame) -> str:
    known = [each for each in _thinned(band.points) if all(map(math.isfinite, each))]
    if len(known) < 2:
        return ""
    there = [frame.at(x, _cut(high, frame)) for x, _, high in known]
    back = [frame.at(x, _cut(low, frame)) for x, low, _ in reversed(known)]
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in (*there, *back))
    return f'<polygon class="band c{band.color}" points="{corners}"/>'


def _line(line: Line, frame: _Frame) -> str:
    kind = f"line c{line.color}" + (" dashed" if line.dashed else "")
    parts, piece = [], list[str]()
    known = _thinned(line.points)
    for x, y in (*known, (math.nan, math.nan)):
        if math.isfinite(y):
            across, down = frame.at(x, _cut(y, frame))
            piece.append(f"{across:.1f},{down:.1f}")
        elif piece:
            parts.append(f'<polyline class="{kind}" points="{" ".join(piece)}"/>')
            piece = []
    if line.dots and len(known) <= 120:
        for x, y in known:
            if math.isfinite(y) and frame.y[0] <= y <= frame.y[1]:
                across, down = frame.at(x, y)
                parts.append(f'<circle class="dot c{line.color}" cx="{across:.1f}" cy="{down:.1f}" r="2.4"/>')
    return "\n".join(parts)


def _labels(chart: Chart, frame: _Frame) -> list[str]:
    """What lines and levels are, at their right ends, moved apart where they would cover each other."""
    wanted = [(frame.down(each.y), "", each.label) for each in chart.levels]
    for line in chart.lines:
        ends = [y for _, y in line.points if math.isfinite(y)]
        if ends and line.label:
            wanted.append((frame.down(_within(ends[-1], frame)), f"c{line.color}", line.label))
    wanted = [each for each in sorted(wanted) if each[2] and TOP - 1 <= each[0] <= chart.height - BOTTOM + 1]
    places: list[float] = []
    for y, _, _ in wanted:
        places.append(max(y, places[-1] + _LABEL_GAP) if places else y)
    over = max(0.0, places[-1] - (chart.height - BOTTOM + 4)) if places else 0.0
    for index in range(len(places) - 1, -1, -1):
        limit = places[index + 1] - _LABEL_GAP if index + 1 < len(places) else places[index] - over
        places[index] = min(places[index], limit)
    return [
        f'<text class="label {kind}" x="{WIDTH - RIGHT + 8:g}" y="{y + 4:.1f}">{escaped(label)}</text>'
        for y, (_, kind, label) in zip(places, wanted, strict=True)
    ]


def _cut(y: float, frame: _Frame) -> float:
    """A little beyond the frame at most: the clip hides it, and no number in the page grows without limit."""
    height = frame.y[1] - frame.y[0]
    return min(max(y, frame.y[0] - height), frame.y[1] + height)


def _within(y: float, frame: _Frame) -> float:
    return min(max(y, frame.y[0]), frame.y[1])


def _thinned(points: Sequence[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """At most `_MOST_POINTS`, evenly, the last one among them."""
    step = -(-len(points) // _MOST_POINTS)
    return list(points) if step <= 1 else [*points[:-1:step], points[-1]]


def ticks(y: tuple[float, float]) -> list[tuple[float, str]]:
    """Round numbers within a range, with how they are written; four to six of them."""
    raw = (y[1] - y[0]) / 5
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(magnitude * nice for nice in (1, 2, 2.5, 5, 10) if magnitude * nice >= raw)
    digits = max(0, -math.floor(math.log10(step)) + (1 if step / magnitude == 2.5 else 0))
    values = [index * step for index in range(math.ceil(y[0] / step), math.floor(y[1] / step) + 1)]
    tiny = max(map(abs, y)) < 1e-4
    return [(value, f"{value:.3g}" if tiny else f"{value:,.{digits}f}") for value in values]


def _decades(y: tuple[float, float]) -> list[tuple[float, str]]:
    low, high = math.ceil(y[0]), math.floor(y[1])
    step = max(1, -(-(high - low + 1) // 7))
    low = -(-low // step) * step  # one is among them where it is in the picture
    return [(float(p), f"{10.0**p:,.0f}" if 0 <= p < 7 else _small(p)) for p in range(low, high + 1, step)]


def _small(power: int) -> str:
    return f"{10.0**power:g}" if -5 < power < 0 else f"1e{power}"


_STEPS = (
    *(timedelta(minutes=count) for count in (1, 2, 5, 10, 15, 30)),
    *(timedelta(hours=count) for count in (1, 2, 3, 6, 12)),
    *(timedelta(days=count) for count in (1, 2, 4, 7, 14)),
)

_MONTHS = (1, 2, 3, 6, *(12 * years for years in (1, 2, 5, 10, 20, 50, 100, 500, 2_000)))


def dates(x: tuple[float, float]) -> list[tuple[float, str]]:
    """Four to nine moments that people would name: whole minutes, hours, days, months or years of UTC."""
    low, high = (_EPOCH + timedelta(milliseconds=value) for value in x)
    length = high - low
    for step in _STEPS:
        if length / step <= 8:
            first = math.ceil((low - _EPOCH) / step)
            moments = [_EPOCH + step * index for index in range(first, first + 10)]
            return _named([each for each in moments if each <= high], step < timedelta(days=1))
    long = (count for count in _MONTHS if length / timedelta(days=30.44 * count) <= 8)
    months = next(long, _MONTHS[-1])
    first_month = -(-(low.year * 12 + low.month - 1) // months) * months
    moments = []
    for month in range(first_month, first_month + 12 * months, months):
        if month // 12 <= 9999:
            moments.append(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC))
    return _named([each for each in moments if low <= each <= high], False)


def _named(moments: Sequence[datetime], clock: bool) -> list[tuple[float, str]]:
    """With the date where it changes; times of day only where they differ."""
    found, day = [], None
    for moment in moments:
        label = moment.strftime("%H:%M") if clock else moment.strftime("%Y-%m-%d")
        if clock and moment.date() != day:
            label = moment.strftime("%m-%d %H:%M")
        if not clock and all(each.day == 1 for each in moments):
            label = moment.strftime("%Y-%m")
        day = moment.date()
        found.append(((moment - _EPOCH) / timedelta(milliseconds=1), label))
    return found


def escaped(value: str) -> str:
    """Text of a picture."""
    return html.escape(value)
