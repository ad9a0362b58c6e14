"""What was expected of a version and what happened, in words and as a page."""

import math
from collections.abc import Iterator

from consumers.report.page import Cell, element, figure, joined, page, table
from consumers.report.plot import Band, Chart, Level, Line, span, svg
from consumers.report.words import moment, plural
from consumers.services.estimating import SURE, Estimation, Stretch

ONLY_ESTIMATED = (
    "Estimates, made before any outcome was known (CBPE). Precision, recall and F1 are estimates only: rows "
    "hold hits, not confusion matrices. An estimate cannot see that the relation between features and "
    "outcome has changed."
)
_COLUMNS = (
    *("from", "windows", "answers", "accuracy", "precision", "recall", "F1"),
    *("outcomes", "realised", "standard errors"),
)


def sentences(told: Estimation) -> Iterator[str]:
    """What a person has to know beside the numbers."""
    yield ONLY_ESTIMATED
    if not told.served:
        yield f"Version {told.version} has not served: these are its answers in the shadow."
    strange = [stretch for stretch in told.stretches if stretch.unexplained]
    if strange:
        last = strange[-1]
        gap = last.gap or 0.0
        way = "below" if gap < 0 else "above"
        yield (
            f"Accuracy is {abs(gap):.3f} {way} what was expected in the stretch from "
            f"{moment(last.first_ms)}, and in {plural(len(strange), 'stretch', 'stretches')} of "
            f"{len(told.stretches)} by {SURE:g} standard errors or more: there the relation has changed, or "
            "the calibration was never right."
        )


def render(told: Estimation) -> str:
    """The document; the same bytes for the same rows."""
    title = f"Expected performance of {told.model}, version {told.version}"
    whole = told.whole
    period = f"{moment(whole.first_ms)} to {moment(whole.last_ms)}, {plural(whole.windows, 'window')}"
    body = joined(
        [
            element("h1", title),
            element("p", period, kind="soft"),
            *(element("p", each) for each in sentences(told)),
            element("h2", "Accuracy"),
            figure(
                _accuracy(told),
                "Expected accuracy of each stretch, and what it turned out to be once outcomes came. The "
                f"band is {SURE:g} standard errors around what was expected.",
            ),
            element("h2", "Precision, recall and F1"),
            figure(_others(told), "Expected figures; nothing of what happened can be set beside them."),
            element("h2", "All numbers"),
            element(
                "p", "Accuracy, precision, recall and F1 are estimates; realised is accuracy.", kind="soft"
            ),
            table(
                _COLUMNS,
                [_row(stretch) for stretch in told.stretches],
            ),
        ]
    )
    return page(title, body)


def _row(stretch: Stretch) -> list[Cell]:
    expected = stretch.expected
    return [
        moment(stretch.first_ms),
        stretch.windows,
        expected.n,
        expected.accuracy,
        expected.precision,
        expected.recall,
        expected.f1,
        stretch.outcomes,
        stretch.realised_accuracy,
        None if stretch.standard_errors is None else round(stretch.standard_errors, 2),
    ]


def _middle(stretch: Stretch) -> float:
    return (stretch.first_ms + stretch.last_ms) / 2


def _accuracy(told: Estimation) -> str:
    expected = [(_middle(each), _number(each.expected.accuracy)) for each in told.stretches]
    realised = [(_middle(each), _number(each.realised_accuracy)) for each in told.stretches]
    band = [(_middle(each), *_band(each)) for each in told.stretches]
    levels = []
    if told.promised_accuracy is not None:
        levels.append(Level(y=told.promised_accuracy, label="promised"))
    seen = [y for _, y in (*expected, *realised)] + [y for _, *pair in band for y in pair]
    return svg(
        Chart(
            name="accuracy",
            title=f"Expected and realised accuracy of version {told.version} over time",
            unit="accuracy",
            lines=[
                Line(label="expected", points=expected, color=0, dashed=True, dots=True),
                Line(label="realised", points=realised, color=3, dots=True),
            ],
            bands=[Band(points=band, color=0)],
            levels=levels,
            y=span(seen, *(level.y for level in levels)),
        )
    )


def _band(stretch: Stretch) -> tuple[float, float]:
    error, expected = stretch.standard_error, stretch.judged.accuracy
    if error is None or expected is None:
        return math.nan, math.nan
    return max(0.0, expected - SURE * error), min(1.0, expected + SURE * error)


def _others(told: Estimation) -> str:
    lines = [
        Line(
            label=name,
            points=[(_middle(each), _number(getattr(each.expected, name))) for each in told.stretches],
            color=number,
            dashed=True,
            dots=True,
        )
        for number, name in enumerate(("precision", "recall", "f1"))
    ]
    return svg(
        Chart(
            name="others",
            title=f"Expected precision, recall and F1 of version {told.version} over time",
            unit="estimate",
            lines=lines,
            y=span([y for line in lines for _, y in line.points]),
            height=260.0,
        )
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value
