"""The report's charts as inline SVG: the same bytes for the same story.

Colours are CSS variables of the page, so the charts follow its light and dark scheme. matplotlib draws with
stand-in colours which are exchanged afterwards; texts stay texts and take the page's ink. The palette is that
of Okabe and Ito, which colour-blind readers can tell apart; what matters is told by shape or label as well.
"""

import html
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from consumers.demo.story import DemoStory, Trial
from consumers.demo.words import ERROR_METRICS, v

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Transform

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]

DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS
WIDTH_IN = 10.0
_MAX_LABEL = 16
_RIGHT_IN, _TOP_IN, _BOTTOM_IN = 0.5, 0.52, 0.62

# stand-in -> CSS variable of the page
INK, GRID, SERVED, FROZEN, DRIFT, TRIAL, PROMOTED, PRICE, SAVED, LOST = (
    f"#0a0b{index:02x}" for index in range(10)
)
VARIABLES = {
    INK: "--ink",
    GRID: "--grid",
    SERVED: "--served",
    FROZEN: "--frozen",
    DRIFT: "--drift",
    TRIAL: "--trial",
    PROMOTED: "--promoted",
    PRICE: "--price",
    SAVED: "--saved",
    LOST: "--lost",
}

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "axes.titlepad": 22,
    "figure.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.5,
    "patch.linewidth": 0.0,
    "svg.fonttype": "none",
    "text.parse_math": False,
    "timezone": "UTC",
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "ytick.major.size": 0,
}


def rolling_mean(at_ms: Sequence[int], values: Sequence[float], span_ms: int = YEAR_MS) -> Floats:
    """Mean of the values within the last `span_ms` at each entry; NaN until a full span has passed."""
    times, sums = np.asarray(at_ms, np.int64), np.concatenate([[0.0], np.cumsum(np.asarray(values, float))])
    first = np.searchsorted(times, times - span_ms, side="right")
    last = np.arange(1, len(times) + 1)
    means: Floats = (sums[last] - sums[first]) / (last - first)
    means[times - times[:1] < span_ms] = np.nan
    return means


def errors(predicted: Sequence[float], actual: Sequence[float]) -> Floats:
    """Absolute errors."""
    return np.abs(np.asarray(predicted, float) - np.asarray(actual, float))


def error_chart(story: DemoStory) -> str:
    """Rolling one-year mean absolute error of what was served, against version 1 never retrained."""

    def draw(axes: "Axes") -> None:
        series = story.series
        times = _times(series.at_ms)
        _trial_bands(axes, story)
        frozen = rolling_mean(series.at_ms, errors(series.frozen_v1, series.actual).tolist())
        served = rolling_mean(series.at_ms, errors(series.served, series.actual).tolist())
        name = _name(story.first_version or "1")
        axes.plot(times, frozen, color=FROZEN, linewidth=2.6, label=f"{name}, never retrained")
        axes.plot(times, served, color=SERVED, linewidth=1.5, label="served")
        _promotion_lines(axes, story)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("dollars")
        axes.set_title("Mean absolute error over the last 365 days")
        _legend(axes)

    return _svg("error", draw, height_in=3.9, span=_span(story))


def saved_chart(story: DemoStory) -> str:
    """Dollars of absolute error saved since the start by serving what was served instead of version 1."""

    def draw(axes: "Axes") -> None:
        series = story.series
        times = _times(series.at_ms)
        gains = errors(series.frozen_v1, series.actual) - errors(series.served, series.actual)
        total = np.cumsum(gains)
        axes.fill_between(times, total, 0, where=total >= 0, color=SAVED, alpha=0.3, interpolate=True)
        axes.fill_between(times, total, 0, where=total <= 0, color=LOST, alpha=0.3, interpolate=True)
        axes.plot(times, total, color=INK, linewidth=1.2)
        axes.axhline(0, color=INK, linewidth=0.8)
        _promotion_lines(axes, story)
        axes.set_ylabel("dollars")
        axes.set_title("Absolute error saved so far against version 1 (below zero: lost)")
        if len(total):
            axes.annotate(
                f"{total[-1]:+,.0f}",
                (times[-1], total[-1]),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontweight="bold",
                annotation_clip=False,
            )

    return _svg("saved", draw, height_in=2.9, span=_span(story))


def price_chart(story: DemoStory) -> str:
    """The price, with drift episodes and the annotators' change points."""

    def draw(axes: "Axes") -> None:
        times = _times(story.series.at_ms)
        end_ms = story.to_ms or 0
        for index, episode in enumerate(e for e in story.drift_episodes if not e.of_inputs):
            span = _times([episode.opened_at_ms, episode.closed_at_ms or max(end_ms, episode.opened_at_ms)])
            label = "" if index else "error drift, from alarm to recovery"
            axes.axvspan(span[0], span[1], color=DRIFT, alpha=0.35, label=label or None)
        axes.plot(times, story.series.price, color=PRICE, linewidth=1.1)
        opened = _times([episode.opened_at_ms for episode in story.drift_episodes if episode.of_inputs])
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
        marks = _times(story.change_points_ms)
        if len(marks):
            axes.plot(
                marks,
                np.full(len(marks), 0.97),
                linestyle="none",
                marker="v",
                markersize=7,
                color=INK,
                transform=axes.get_xaxis_transform(),
                label="change point seen by annotators",
            )
            axes.vlines(
                marks,
                0,
                0.97,
                color=INK,
                linewidth=0.7,
                linestyle=(0, (1, 3)),
                transform=axes.get_xaxis_transform(),
            )
        axes.set_ylim(bottom=0)
        axes.set_ylabel("dollars a barrel")
        axes.set_title("Brent price, where drift was found and where people saw changes")
        _legend(axes)

    return _svg("price", draw, height_in=3.7, span=_span(story))


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

    return _svg("gain", draw, height_in=1.3 + 0.42 * len(trials), left_in=2.3)


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


def _times(at_ms: Sequence[int]) -> Times:
    return np.asarray(at_ms, "datetime64[ms]")


def _span(story: DemoStory) -> Times:
    """The served time; a day at least, for an axis needs a length."""
    start_ms = story.from_ms or 0
    return _times([start_ms, max(story.to_ms or 0, start_ms + DAY_MS)])


def _trial_name(trial: Trial) -> str:
    return (
        f"{v(trial.challenger_version)} against {v(trial.champion_version)}: {trial.verdict or trial.status}"
    )


def _trial_bands(axes: "Axes", story: DemoStory) -> None:
    for index, trial in enumerate(story.experiments):
        end_ms = trial.ended_at_ms or max(story.to_ms or 0, trial.started_at_ms)
        start, end = _times([trial.started_at_ms, end_ms])
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


def _promotion_lines(axes: "Axes", story: DemoStory) -> None:
    for promotion in story.promotions:
        (at,) = _times([promotion.at_ms])
        axes.axvline(at, color=PROMOTED, linewidth=1.3, linestyle=(0, (4, 2)))
        axes.text(
            at,
            1.0,
            f"{_name(promotion.version)} promoted",
            transform=_shifted(axes, axes.get_xaxis_transform(), 0.03),
            ha="center",
            va="bottom",
            fontsize=8.5,
            color=PROMOTED,
            fontweight="bold",
        )


def _shifted(axes: "Axes", transform: "Transform", up_in: float) -> "Transform":
    """The same, `up_in` inches higher."""
    from matplotlib.transforms import ScaledTranslation

    figure = axes.get_figure(root=True)
    assert figure is not None  # noqa: S101 - made by `_figure`
    return transform + ScaledTranslation(0, up_in, figure.dpi_scale_trans)


def _legend(axes: "Axes") -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="upper left",
            bbox_to_anchor=(0, 0),
            bbox_transform=_shifted(axes, axes.transAxes, -0.32),
            ncols=4,
            borderpad=0,
            borderaxespad=0,
        )


# ---------------------------------------------------------------- from figure to page


def _svg(
    name: str,
    draw: Callable[["Axes"], None],
    *,
    height_in: float,
    left_in: float = 0.62,
    span: Times | None = None,
) -> str:
    """The chart that `draw` draws; with `span` its x axis is time, over exactly that."""
    with _figure(name, draw, (left_in, height_in), span) as (figure, axes):
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        title = axes.get_title(loc="left")
    return _inline(text.getvalue(), name, title)


@contextmanager
def _figure(
    name: str, draw: Callable[["Axes"], None], left_and_height_in: tuple[float, float], span: Times | None
) -> "Iterator[tuple[Figure, Axes]]":
    """The drawn figure, while the style is in force: matplotlib reads some of it only when it saves.

    Margins are fixed, so that the dated charts line up below each other.
    """
    import matplotlib as mpl
    import matplotlib.dates
    from matplotlib.figure import Figure

    dates: Any = matplotlib.dates  # its annotations have gaps
    style: Any = {**_STYLE, "svg.hashsalt": name}
    with mpl.rc_context(style):
        left_in, height_in = left_and_height_in
        figure = Figure(figsize=(WIDTH_IN, height_in))
        width, height = WIDTH_IN - left_in - _RIGHT_IN, height_in - _TOP_IN - _BOTTOM_IN
        axes = figure.add_axes(
            (left_in / WIDTH_IN, _BOTTOM_IN / height_in, width / WIDTH_IN, height / height_in)
        )
        draw(axes)
        if span is not None:
            locator = dates.AutoDateLocator(minticks=4, maxticks=14)
            axes.xaxis.set_major_locator(locator)
            axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
            axes.set_xlim(span[0], span[1])
        yield figure, axes


def _inline(svg: str, name: str, title: str) -> str:
    """Only the element, without metadata and namespaces (HTML knows them), ids unique in the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = re.sub(r"(font(?:-family)?: [^;\"]*?)'DejaVu Sans'", r"\1var(--font)", svg)
    for stand_in, variable in VARIABLES.items():
        svg = svg.replace(stand_in, f"var({variable})")
    opening = rf'<svg viewBox="\1" role="img" aria-label="{html.escape(title)}">'
    return re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', lambda found: found.expand(opening), svg, count=1)
