"""The report's charts: titles say what is seen, axes have units."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from consumers.demo.canvas import (
    DRIFT,
    FROZEN,
    INK,
    LOST,
    PRICE,
    PROMOTED,
    SAVED,
    SERVED,
    TRIAL,
    Times,
    shifted,
    svg,
    times,
)
from consumers.demo.story import DemoStory, Trial
from consumers.demo.words import ERROR_METRICS, v

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS
_MAX_LABEL = 16


def rolling_mean(at_ms: Sequence[int], values: Sequence[float], span_ms: int = YEAR_MS) -> Floats:
    """Mean of the values within the last `span_ms` at each entry; NaN until a full span has passed."""
    moments, sums = np.asarray(at_ms, np.int64), np.concatenate([[0.0], np.cumsum(np.asarray(values, float))])
    first = np.searchsorted(moments, moments - span_ms, side="right")
    last = np.arange(1, len(moments) + 1)
    means = np.asarray((sums[last] - sums[first]) / (last - first), float)
    means[moments - moments[:1] < span_ms] = np.nan
    return means


def errors(predicted: Sequence[float], actual: Sequence[float]) -> Floats:
    """Absolute errors."""
    distances: Floats = np.abs(np.asarray(predicted, float) - np.asarray(actual, float))
    return distances


def error_chart(story: DemoStory) -> str:
    """Rolling one-year mean absolute error of what was served, against version 1 never retrained."""

    def draw(axes: "Axes") -> None:
        series = story.series
        moments = times(series.at_ms)
        _trial_bands(axes, story)
        frozen = rolling_mean(series.at_ms, errors(series.frozen_v1, series.actual).tolist())
        served = rolling_mean(series.at_ms, errors(series.served, series.actual).tolist())
        name = _name(story.first_version or "1")
        axes.plot(moments, frozen, color=FROZEN, linewidth=2.6, label=f"{name}, never retrained")
        axes.plot(moments, served, color=SERVED, linewidth=1.5, label="served")
        _promotion_lines(axes, story)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("dollars")
        axes.set_title("Mean absolute error over the last 365 days")
        _legend(axes)

    return svg("error", draw, height_in=3.9, span=_span(story))


def saved_chart(story: DemoStory) -> str:
    """Dollars of absolute error saved since the start by serving what was served instead of version 1."""

    def draw(axes: "Axes") -> None:
        series = story.series
        moments = times(series.at_ms)
        gains = errors(series.frozen_v1, series.actual) - errors(series.served, series.actual)
        total = np.cumsum(gains)
        axes.fill_between(moments, total, 0, where=total >= 0, color=SAVED, alpha=0.3, interpolate=True)
        axes.fill_between(moments, total, 0, where=total <= 0, color=LOST, alpha=0.3, interpolate=True)
        axes.plot(moments, total, color=INK, linewidth=1.2)
        axes.axhline(0, color=INK, linewidth=0.8)
        _promotion_lines(axes, story)
        axes.set_ylabel("dollars")
        axes.set_title("Absolute error saved so far against version 1 (below zero: lost)")
        if len(total):
            axes.annotate(
                f"{total[-1]:+,.0f}",
                (moments[-1], total[-1]),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontweight="bold",
                annotation_clip=False,
            )

    return svg("saved", draw, height_in=2.65, bottom_in=0.36, span=_span(story))


def price_chart(story: DemoStory) -> str:
    """The price, with drift episodes and the annotators' change points."""

    def draw(axes: "Axes") -> None:
        _error_episodes(axes, story)
        axes.plot(times(story.series.at_ms), story.series.price, color=PRICE, linewidth=1.1)
        _input_episodes(axes, story)
        _change_points(axes, story)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("dollars a barrel")
        axes.set_title("Brent price, where drift was found and where people saw changes")
        _legend(axes)

    return svg("price", draw, height_in=3.7, span=_span(story))


def gain_chart(trials: Sequence[Trial]) -> str:
    """What each experiment measured at its last look: gain and its one-sided bounds."""

    def draw(axes: "Axes") -> None:
        shown = [(trial, trial.primary) for trial in trials]
        for row, (trial, measure) in enumerate(shown):
            color = {"PROMOTE": SAVED, "ROLL_BACK": LOST}.get(trial.verdict or "", FROZEN)
            axes.hlines(row, measure["lower"], measure["upper"], color=color, linewidth=2.2)
            axes.plot([measure["lower"], measure["upper"]], [row, row], "|", color=color, markersize=9)
            axes.plot([measure["estimate"]], [row], "o", color=color, markersize=7)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(range(len(shown)), [_trial_name(trial) for trial in trials])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.grid(visible=True, axis="x")
        axes.grid(visible=False, axis="y")
        unit = " in dollars a day" if all(trial.metric in ERROR_METRICS for trial in trials) else ""
        axes.set_xlabel(f"gain{unit}: challenger worse on the left, better on the right")
        axes.set_title("What the experiments measured when they ended")

    return svg("gain", draw, height_in=1.3 + 0.42 * len(trials), left_in=2.3)


def measured(story: DemoStory) -> list[Trial]:
    """Experiments whose evidence has an estimate with finite bounds: those that a chart can show."""
    names = ("estimate", "lower", "upper")
    return [
        trial
        for trial in story.experiments
        if trial.primary and all(math.isfinite(trial.primary[name]) for name in names)
    ]


# ---------------------------------------------------------------- parts of charts


def _name(version: str) -> str:
    """A version as a label: the font has no glyph for everything that a name may hold."""
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in v(version))
    return plain if len(plain) <= _MAX_LABEL else plain[: _MAX_LABEL - 1] + "."


def _span(story: DemoStory) -> Times:
    """The served time; a day at least, for an axis needs a length."""
    start_ms = story.from_ms or 0
    return times([start_ms, max(story.to_ms or 0, start_ms + DAY_MS)])


def _trial_name(trial: Trial) -> str:
    return (
        f"{v(trial.challenger_version)} against {v(trial.champion_version)}: {trial.verdict or trial.status}"
    )


def _trial_bands(axes: "Axes", story: DemoStory) -> None:
    for index, trial in enumerate(story.experiments):
        end_ms = trial.ended_at_ms or max(story.to_ms or 0, trial.started_at_ms)
        start, end = times([trial.started_at_ms, end_ms])
        label = None if index else "experiment runs"
        axes.axvspan(start, end, color=TRIAL, alpha=0.3, label=label)
        axes.text(
            start + (end - start) / 2,
            0.02,
            _name(trial.challenger_version),
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=8.5,
        )


def _error_episodes(axes: "Axes", story: DemoStory) -> None:
    for index, episode in enumerate(each for each in story.drift_episodes if not each.of_inputs):
        end_ms = episode.closed_at_ms or max(story.to_ms or 0, episode.opened_at_ms)
        start, end = times([episode.opened_at_ms, end_ms])
        label = None if index else "error drift, from alarm to recovery"
        axes.axvspan(start, end, color=DRIFT, alpha=0.35, label=label)


def _input_episodes(axes: "Axes", story: DemoStory) -> None:
    opened = times([episode.opened_at_ms for episode in story.drift_episodes if episode.of_inputs])
    if len(opened):
        axes.plot(
            opened,
            np.full(len(opened), 0.02),
            linestyle="none",
            marker="|",
            markersize=8,
            color=FROZEN,
            transform=axes.get_xaxis_transform(),
            label="input drift begins",
        )


def _change_points(axes: "Axes", story: DemoStory) -> None:
    marks, across = times(story.change_points_ms), axes.get_xaxis_transform()
    if len(marks):
        axes.vlines(marks, 0, 0.97, color=INK, linewidth=0.7, linestyle=(0, (1, 3)), transform=across)
        axes.plot(
            marks,
            np.full(len(marks), 0.97),
            linestyle="none",
            marker="v",
            markersize=7,
            color=INK,
            transform=across,
            label="change point seen by annotators",
        )


def _promotion_lines(axes: "Axes", story: DemoStory) -> None:
    for promotion in story.promotions:
        (at,) = times([promotion.at_ms])
        axes.axvline(at, color=PROMOTED, linewidth=1.3, linestyle=(0, (4, 2)))
        axes.text(
            at,
            1.0,
            f"{_name(promotion.version)} promoted",
            transform=shifted(axes, axes.get_xaxis_transform(), 0.03),
            ha="center",
            va="bottom",
            fontsize=8.5,
            color=PROMOTED,
            fontweight="bold",
        )


def _legend(axes: "Axes") -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="upper left",
            bbox_to_anchor=(0, 0),
            bbox_transform=shifted(axes, axes.transAxes, -0.32),
            ncols=4,
            borderpad=0,
            borderaxespad=0,
        )
