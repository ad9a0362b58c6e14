"""Swim lanes over event time as inline SVG: what was open when, by many at once, one beside the other.

A group has a lane that the others are held against: its bars are drawn once more, faint, behind all of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from consumers.report.plot import WIDTH, dates, escaped

LEFT, RIGHT, TOP, BOTTOM = 72.0, 44.0, 8.0, 30.0
_HEAD, _REST, _GAP = 17.0, 11.0, 5.0
"""Heights of a group's first lane and of the others, and the space below a lane."""
_TITLE, _BETWEEN, _STRIP = 24.0, 14.0, 20.0
_LEAST = 2.5
"""Width of a bar that would hardly be seen."""
_LETTER = 6.6
"""Width of a letter, about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """From `first` to `last`, None: to the end and beyond. Pale until `severe_from`; None: all along."""

    first: float
    last: float | None
    severe_from: float | None
    told: str
    """Shown to whoever points at it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A moment."""

    at: float
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One row; how many bars or marks it has is said at its end."""

    label: str
    bars: Sequence[Bar] = ()
    marks: Sequence[Mark] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Lanes of one thing; the first one is what the others are held against."""

    title: str
    color: int
    lanes: Sequence[Lane]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A part of the strip on top, until the next one begins."""

    label: str
    first: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes:
    """What is drawn; x is event time in milliseconds."""

    name: str
    title: str
    """Read out to those who do not see it."""
    x: tuple[float, float]
    groups: Sequence[Group]
    strip: str = ""
    """Label of the strip."""
    stretches: Sequence[Stretch] = ()
    changes: Sequence[Mark] = ()
    """Dashed lines through all lanes."""


def svg(lanes: Lanes) -> str:
    """The lanes as an element of a page."""
    top = TOP + (_STRIP + _BETWEEN if lanes.stretches else 0.0)
    height = top + sum(_height(group) + _BETWEEN for group in lanes.groups) - _BETWEEN + BOTTOM
    clip = f"clip-{lanes.name}"
    parts = [
        f'<svg viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{escaped(lanes.title)}">',
        f'<clipPath id="{clip}"><rect x="{LEFT:g}" y="0" width="{WIDTH - LEFT - RIGHT + 10:g}" '
        f'height="{height - BOTTOM + 4:g}"/></clipPath>',
        *_time(lanes, top, height - BOTTOM),
        *_strip(lanes, clip),
    ]
    for group in lanes.groups:
        parts += _group(lanes, group, top, clip)
        top += _height(group) + _BETWEEN
    parts += _changes(lanes, height - BOTTOM)
    return "\n".join([*parts, "</svg>"])


def _across(lanes: Lanes, at: float) -> float:
    first, last = lanes.x
    return LEFT + (min(max(at, first), last) - first) / (last - first) * (WIDTH - LEFT - RIGHT)


def _height(group: Group) -> float:
    return _TITLE + _HEAD + (len(group.lanes) - 1) * (_REST + _GAP)


def _time(lanes: Lanes, top: float, bottom: float) -> Iterator[str]:
    for at, label in dates(lanes.x):
        x = _across(lanes, at)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top:g}" y2="{bottom + 4:g}"/>'
        yield f'<text class="x" x="{x:.1f}" y="{bottom + 20:g}">{escaped(label)}</text>'


def _strip(lanes: Lanes, clip: str) -> Iterator[str]:
    if not lanes.stretches:
        return
    yield f'<text class="y" x="{LEFT - 10:g}" y="{TOP + 14:g}">{escaped(lanes.strip)}</text>'
    ends = [*(each.first for each in lanes.stretches[1:]), lanes.x[1]]
    for number, (each, end) in enumerate(zip(lanes.stretches, ends, strict=True)):
        first, last = _across(lanes, each.first), _across(lanes, end)
        if end <= lanes.x[0]:
            continue
        kind = "stretch odd" if number % 2 else "stretch"
        yield (
            f'<rect class="{kind}" x="{first:.1f}" y="{TOP:g}" width="{max(last - first, 0):.1f}" '
            f'height="{_STRIP:g}" clip-path="url(#{clip})"><title>{escaped(each.label)}</title></rect>'
        )
        if last - first > _LETTER * len(each.label) + 10:
            middle = (first + last) / 2
            yield f'<text class="x strip" x="{middle:.1f}" y="{TOP + 14:g}">{escaped(each.label)}</text>'


def _group(lanes: Lanes, group: Group, top: float, clip: str) -> Iterator[str]:
    color = f"c{group.color}"
    yield f'<text class="head" x="{LEFT:g}" y="{top + 13:g}">{escaped(group.title)}</text>'
    y, bottom = top + _TITLE, top + _height(group)
    for lane, height in zip(group.lanes, _heights(group), strict=True):
        yield (
            f'<rect class="track" x="{LEFT:g}" y="{y:g}" width="{WIDTH - LEFT - RIGHT:g}" '
            f'height="{height:g}" rx="2"/>'
        )
        kind = "y strong" if lane is group.lanes[0] else "y"
        middle, count = y + height / 2 + 4, len(lane.bars) + len(lane.marks)
        yield f'<text class="{kind}" x="{LEFT - 10:g}" y="{middle:g}">{escaped(lane.label)}</text>'
        yield f'<text class="{kind}" x="{WIDTH - 8:g}" y="{middle:g}">{count}</text>'
        y += height + _GAP
    yield f'<g clip-path="url(#{clip})">'
    if len(group.lanes) > 1:
        for bar in group.lanes[0].bars:
            yield _rect(lanes, bar.first, bar.last, top + _TITLE, bottom, f"shade {color}", "")
    y = top + _TITLE
    for lane, height in zip(group.lanes, _heights(group), strict=True):
        for bar in lane.bars:
            yield from _bar(lanes, bar, y, height, color)
        for mark in lane.marks:
            if lanes.x[0] <= mark.at <= lanes.x[1]:
                yield _diamond(_across(lanes, mark.at), y + height / 2, height / 2, color, mark.told)
        y += height + _GAP
    yield "</g>"


def _heights(group: Group) -> list[float]:
    return [_HEAD, *(_REST for _ in group.lanes[1:])]


def _bar(lanes: Lanes, bar: Bar, y: float, height: float, color: str) -> Iterator[str]:
    if bar.severe_from is None or bar.severe_from > bar.first:
        yield _rect(lanes, bar.first, bar.last, y, y + height, f"bar pale {color}", bar.told)
    if bar.severe_from is not None:
        yield _rect(lanes, bar.severe_from, bar.last, y, y + height, f"bar {color}", bar.told)
    if bar.last is None:
        x, middle = WIDTH - RIGHT, y + height / 2
        corners = f"{x:g},{y:g} {x + 7:g},{middle:g} {x:g},{y + height:g}"
        kind = f"bar pale {color}" if bar.severe_from is None else f"bar {color}"
        yield f'<polygon class="{kind}" points="{corners}"/>'


def _rect(
    lanes: Lanes, first: float, last: float | None, y: float, bottom: float, kind: str, told: str
) -> str:
    left = _across(lanes, first)
    right = _across(lanes, lanes.x[1] if last is None else last)
    title = f"<title>{escaped(told)}</title>" if told else ""
    return (
        f'<rect class="{kind}" x="{left:.1f}" y="{y:g}" width="{max(right - left, _LEAST):.1f}" '
        f'height="{bottom - y:g}">{title}</rect>'
    )


def _diamond(x: float, y: float, size: float, color: str, told: str) -> str:
    corners = f"{x:.1f},{y - size:g} {x + size:.1f},{y:g} {x:.1f},{y + size:g} {x - size:.1f},{y:g}"
    return f'<polygon class="bar {color}" points="{corners}"><title>{escaped(told)}</title></polygon>'


def _changes(lanes: Lanes, bottom: float) -> Iterator[str]:
    for mark in lanes.changes:
        if lanes.x[0] < mark.at < lanes.x[1]:
            x = _across(lanes, mark.at)
            yield (
                f'<line class="level dashed" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP:g}" y2="{bottom:g}">'
                f"<title>{escaped(mark.told)}</title></line>"
            )
