"""One HTML page of the bench: what a detector costs in false alarms, beside how soon it finds a change."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from consumers.report.page import Markup, element, figure, joined, page, table

WIDTH, HEIGHT = 1000.0, 460.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 180.0, 30.0, 46.0
_GAP = 15.0
_LEAST = 0.03
"""False alarms per 10,000 windows; fewer are drawn there, at 0."""
_MOST_DELAY = 400.0
"""Where a detector is drawn that misses more than half of the changes."""
_PICTURES = (
    (
        "normal",
        "mean+0.25",
        "Predictions of N(0, 1), and their mean moving by a quarter of a standard deviation",
    ),
    ("ar1", "mean+0.25", "The same change, false alarms on autocorrelated items (AR(1) .9)"),
    ("error-0.10", "error-0.10-0.15", "Errors at a rate of .10, and the rate rising to .15"),
)


def render(told: Mapping[str, Any], command: str) -> str:
    """The document of `driftbench.document`, drawn; the same bytes for the same figures."""
    parts: list[Markup] = [
        element("h1", "Drift detectors: false alarms and delay"),
        element("p", f"Made by {command}. Down and to the left is better.", kind="soft"),
    ]
    for steady, change, title in _PICTURES:
        points = _points(told, steady, change)
        if points:
            caption = (
                f"False alarms per 10,000 windows ({steady}) and median delay in windows ({change}). "
                "Fixed thresholds and detectors on items stand at their alarming windows. A delay of 400 is "
                "a change that more than half of the runs missed, or could not tell from alarms before it."
            )
            parts += [element("h2", title), figure(scatter(points, title), caption)]
    rows = [
        [
            each["stream"],
            each["detector"],
            each["windows"],
            each["per_10000"],
            each["upper_95"],
            each["verdict"],
        ]
        for each in told["false_alarms"]
    ]
    columns = ("stream", "detector", "windows", "per 10,000", "at most (95 %)", "budget")
    parts += [element("h2", "False alarms"), table(columns, rows)]
    rows = [
        [each["stream"], each["detector"], each["median"], each["missed"], each["early"]]
        for each in told["delays"]
    ]
    parts += [
        element("h2", "Delays"),
        table(("stream", "detector", "median windows", "missed share", "early share"), rows),
    ]
    return page("Drift detectors", joined(parts))


def _points(told: Mapping[str, Any], steady: str, change: str) -> list[tuple[str, float, float]]:
    """Detector, false alarms, delay."""
    delays = {each["detector"]: each["median"] for each in told["delays"] if each["stream"] == change}
    found = []
    for each in told["false_alarms"]:
        if each["stream"] == steady and each["detector"] in delays:
            alarming = each["alarming_per_10000"]
            rate = each["per_10000"] if alarming is None else max(alarming, each["per_10000"])
            median = delays[each["detector"]]
            found.append((each["detector"], rate, _MOST_DELAY if median is None else float(median)))
    return found


def scatter(points: Sequence[tuple[str, float, float]], title: str) -> str:
    """Both axes in decades; every point has its name at its right, moved apart where two would meet."""
    parts = [f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{html.escape(title)}">']
    bottom = HEIGHT - _BOTTOM
    for value in (0.0, 0.1, 1.0, 10.0, 100.0, 1_000.0, 10_000.0):
        x = _across(value)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP:g}" y2="{bottom:g}"/>')
        parts.append(f'<text class="x" x="{x:.1f}" y="{bottom + 18:g}">{value:g}</text>')
    for value in (1.0, 3.0, 10.0, 30.0, 100.0, 400.0):
        y = _down(value)
        parts.append(f'<line class="grid" x1="{_LEFT:g}" x2="{WIDTH - _RIGHT:g}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="y" x="{_LEFT - 8:g}" y="{y + 4:.1f}">{value:g}</text>')
    parts.append('<text class="unit" x="4" y="14">median delay, windows</text>')
    parts.append(
        f'<text class="x" x="{WIDTH / 2:g}" y="{HEIGHT - 6:g}">false alarms per 10,000 windows</text>'
    )
    taken: list[tuple[float, float]] = []
    for name, rate, delay in sorted(points, key=lambda point: (point[2], point[1], point[0])):
        x, y = _across(rate), _down(delay)
        color = 0 if name in _OURS else 3
        parts.append(f'<circle class="dot c{color}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
        label = y
        while any(abs(label - other) < _GAP and abs(x - place) < 150 for place, other in taken):
            label -= _GAP
        taken.append((x, label))
        parts.append(
            f'<text class="label c{color}" x="{x + 8:.1f}" y="{label + 4:.1f}">{html.escape(name)}</text>'
        )
    return "\n".join([*parts, "</svg>"])


_OURS = ("roll-up", "roll-up-exact", "e-sr", "bucket-adwin", "promise", "everything")


def _across(rate: float) -> float:
    low, high = math.log10(_LEAST), math.log10(10_000)
    part = (math.log10(min(max(rate, _LEAST), 10_000.0)) - low) / (high - low)
    return _LEFT + part * (WIDTH - _LEFT - _RIGHT)


def _down(delay: float) -> float:
    part = math.log10(min(max(delay, 1.0), _MOST_DELAY)) / math.log10(_MOST_DELAY)
    return HEIGHT - _BOTTOM - part * (HEIGHT - _BOTTOM - _TOP)
