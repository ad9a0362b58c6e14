"""Small pictures of one feature as inline SVG: histograms, a season, a calibration.

Many stand on a page beside each other, so each is drawn half as wide as a chart over time. Colours, labels
and escaping are those of `plot`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from consumers.report.plot import escaped, span, ticks

WIDTH, LEFT, RIGHT, TOP, BOTTOM, HEIGHT = 380.0, 42.0, 12.0, 14.0, 26.0, 180.0
_NAMES, _SHARES, _PAIR, _BAR = 112.0, 52.0, 120.0, 20.0
"""Room for names before bars, for one share behind them and for two; the height of a bar."""
_LONGEST_NAME = 18
_SPIKE = 4.0
"""A density this many times that of the median record is cut off: all else would be flat beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """Neighbouring ranges of numbers, and which share of all records lies in each."""

    ranges: Sequence[tuple[float, float]]
    shares: Sequence[float]

    def densities(self) -> list[float]:
        pairs = zip(self.ranges, self.shares, strict=True)
        return [share / (high - low) for (low, high), share in pairs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One category: its share in the reference and, where two are compared, now."""

    label: str
    share: float
    now: float | None = None


def density(title: str, reference: Bins, now: Bins | None = None) -> str:
    """The shape of a number: the reference filled, what it is compared with as an outline."""
    tallest = _ceiling(reference, now)
    ranges = reference.ranges
    low, high = ranges[0][0], ranges[-1][1]
    if now is not None:
        low, high = min(low, now.ranges[0][0]), max(high, now.ranges[-1][1])
    frame = _Frame((low, high), (0.0, tallest * 1.05))
    parts = [
        *frame.axes(density=True),
        f'<polygon class="area c0" points="{frame.steps(reference, closed=True)}"/>',
        f'<polyline class="edge c0" points="{frame.steps(reference)}"/>',
    ]
    if now is not None:
        parts.append(f'<polyline class="line c3" points="{frame.steps(now)}"/>')
    for bins, color in ((reference, 0), (now, 3)):
        parts += [] if bins is None else frame.cut_off(bins, color)
    return _svg(title, HEIGHT, parts)


def bars(title: str, found: Sequence[Bar]) -> str:
    """Shares of categories, one below the other."""
    most = max([each.share for each in found] + [each.now or 0.0 for each in found]) or 1.0
    compared = any(each.now is not None for each in found)
    step = _BAR + (8 if compared else 4)
    width = WIDTH - _NAMES - (_PAIR if compared else _SHARES)
    parts, y = [], 6.0
    for each in found:
        name = each.label if len(each.label) <= _LONGEST_NAME else each.label[: _LONGEST_NAME - 1] + "…"
        parts.append(f'<text class="y" x="{_NAMES - 8:g}" y="{y + 14:.1f}">{escaped(name)}</text>')
        thick = _BAR / 2 if compared else _BAR - 4
        parts.append(_bar(y + 1, each.share / most * width, thick, "area c0"))
        if each.now is not None:
            parts.append(_bar(y + 1 + thick, each.now / most * width, thick, "solid c3"))
        longer = max(each.share, each.now or 0.0) / most * width
        said = _percent(each.share) if each.now is None else f"{_percent(each.share)} → {_percent(each.now)}"
        parts.append(f'<text class="label" x="{_NAMES + longer + 6:.1f}" y="{y + 14:.1f}">{said}</text>')
        y += step
    return _svg(title, y + 4, parts)


def seasons(title: str, slots: Sequence[tuple[float, float, float]], names: Sequence[str]) -> str:
    """The middle of a number in each slot of a season, with the range of the middle 80 % around it."""
    frame = _Frame((0.0, float(len(slots))), span([value for slot in slots for value in slot]))
    parts = frame.axes(density=False)
    for slot, (low, middle, high) in enumerate(slots):
        left, top = frame.at(slot + 0.12, high)
        right, bottom = frame.at(slot + 0.88, low)
        parts.append(
            f'<rect class="area c0" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
            f'height="{max(bottom - top, 0.5):.1f}"/>'
        )
        _, y = frame.at(slot, middle)
        parts.append(f'<line class="edge c0" x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
    every = -(-len(slots) // 7)
    for slot in range(0, len(slots), every):
        x, _ = frame.at(slot + 0.5, 0.0)
        parts.append(f'<text class="x" x="{x:.1f}" y="{HEIGHT - 8:g}">{escaped(names[slot])}</text>')
    return _svg(title, HEIGHT, parts)


def calibration(title: str, x: Sequence[float], y: Sequence[float]) -> str:
    """What predicted probabilities are worth; the diagonal is what they claim."""
    frame = _Frame((0.0, 1.0), (0.0, 1.0))
    points = [(0.0, y[0]), *zip(x, y, strict=True), (1.0, y[-1])]
    line = " ".join(f"{across:.1f},{down:.1f}" for across, down in (frame.at(*point) for point in points))
    (x1, y1), (x2, y2) = frame.at(0.0, 0.0), frame.at(1.0, 1.0)
    return _svg(
        title,
        HEIGHT,
        [
            *frame.axes(density=False),
            *frame.numbers_below(),
            f'<line class="level dashed" x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}"/>',
            f'<polyline class="line c0" points="{line}"/>',
        ],
    )


# ---------------------------------------------------------------- parts


@dataclass(frozen=True, slots=True)
class _Frame:
    """From data to the picture."""

    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - LEFT - RIGHT)
        down = TOP + (self.y[1] - y) / (self.y[1] - self.y[0]) * (HEIGHT - TOP - BOTTOM)
        return across, down

    def steps(self, bins: Bins, *, closed: bool = False) -> str:
        """The outline of a histogram; `closed` along the axis too."""
        points = [(bins.ranges[0][0], 0.0)]
        for (low, high), height in zip(bins.ranges, bins.densities(), strict=True):
            points += [(low, min(height, self.y[1])), (high, min(height, self.y[1]))]
        points.append((bins.ranges[-1][1], 0.0))
        if closed:
            points.append(points[0])
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*point) for point in points))

    def cut_off(self, bins: Bins, color: int) -> list[str]:
        """A mark over each bar that goes beyond the picture."""
        marks = []
        for (low, high), height in zip(bins.ranges, bins.densities(), strict=True):
            if height > self.y[1]:
                x, _ = self.at((low + high) / 2, 0.0)
                corners = f"{x - 4:.1f},{TOP - 3:g} {x + 4:.1f},{TOP - 3:g} {x:.1f},{TOP - 9:g}"
                marks.append(f'<polygon class="dot c{color}" points="{corners}"/>')
        return marks

    def axes(self, *, density: bool) -> list[str]:
        parts = []
        for value, label in ticks(self.y):
            if density and value:  # heights of a density are nothing to read off
                continue
            _, y = self.at(0.0, value)
            parts.append(
                f'<line class="grid" x1="{LEFT:g}" x2="{WIDTH - RIGHT:g}" y1="{y:.1f}" y2="{y:.1f}"/>'
            )
            if not density:
                parts.append(f'<text class="y" x="{LEFT - 7:g}" y="{y + 4:.1f}">{escaped(label)}</text>')
        return [*parts, *self.numbers_below()] if density else parts

    def numbers_below(self) -> list[str]:
        parts, bottom = [], HEIGHT - BOTTOM
        for value, label in ticks(self.x):
            x, _ = self.at(value, 0.0)
            parts.append(
                f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom:g}" y2="{bottom + 4:g}"/>'
            )
            parts.append(f'<text class="x" x="{x:.1f}" y="{bottom + 18:g}">{escaped(label)}</text>')
        return parts


def _ceiling(reference: Bins, now: Bins | None) -> float:
    """Of the densities, all of them or what `_SPIKE` leaves."""
    heights = sorted(zip(reference.densities(), reference.shares, strict=True))
    reached, median = 0.0, heights[-1][0]
    for height, share in heights:
        reached += share
        if reached >= 0.5:
            median = height
            break
    tallest = max([*reference.densities(), *(now.densities() if now is not None else [])])
    return min(tallest, _SPIKE * median) or 1.0


def _bar(y: float, length: float, thick: float, kind: str) -> str:
    return (
        f'<rect class="{kind}" x="{_NAMES:g}" y="{y:.1f}" width="{max(length, 0.6):.1f}" '
        f'height="{thick:g}" rx="1.5"/>'
    )


def _percent(share: float) -> str:
    if share and share < 0.001:
        return "&lt;0.1 %"
    return f"{share * 100:.1f} %"


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    opening = f'<svg viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{escaped(title)}">'
    return "\n".join([opening, *parts, "</svg>"])


def drawable(ranges: Sequence[tuple[float, float]], widest_to_narrowest: float = 300.0) -> bool:
    """Whether the bins are enough, and alike enough in width, for a density to show a shape."""
    widths = [high - low for low, high in ranges]
    finite = all(math.isfinite(width) and width > 0 for width in widths)
    return len(widths) >= 8 and finite and max(widths) / min(widths) <= widest_to_narrowest
