"""From drawing to page: a chart as inline SVG, the same bytes for the same drawing.

Colours are CSS variables of the page, so the charts follow its light and dark scheme. matplotlib draws with
stand-in colours which are exchanged afterwards; texts stay texts and take the page's ink. The palette is that
of Okabe and Ito, which colour-blind readers can tell apart; what matters is told by shape or label as well.
"""

import html
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Transform

Times = NDArray[np.datetime64]

WIDTH_IN = 10.0
_RIGHT_IN, _TOP_IN = 0.5, 0.52

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


def times(at_ms: Sequence[int]) -> Times:
    return np.asarray(at_ms, "datetime64[ms]")


def shifted(axes: "Axes", transform: "Transform", up_in: float) -> "Transform":
    """The same, `up_in` inches higher."""
    from matplotlib.transforms import ScaledTranslation

    figure = axes.get_figure(root=True)
    assert figure is not None  # noqa: S101 - made by `_figure`
    return transform + ScaledTranslation(0, up_in, figure.dpi_scale_trans)


def svg(
    name: str,
    draw: Callable[["Axes"], None],
    *,
    height_in: float,
    left_in: float = 0.62,
    bottom_in: float = 0.62,
    span: Times | None = None,
) -> str:
    """The chart that `draw` draws; with `span` its x axis is time, over exactly that."""
    with _figure(name, draw, (left_in, bottom_in, height_in), span) as (figure, axes):
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        title = axes.get_title(loc="left")
    return _inline(text.getvalue(), name, title)


@contextmanager
def _figure(
    name: str, draw: Callable[["Axes"], None], sizes_in: tuple[float, float, float], span: Times | None
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
        left_in, bottom_in, height_in = sizes_in
        figure = Figure(figsize=(WIDTH_IN, height_in))
        width, height = WIDTH_IN - left_in - _RIGHT_IN, height_in - _TOP_IN - bottom_in
        axes = figure.add_axes(
            (left_in / WIDTH_IN, bottom_in / height_in, width / WIDTH_IN, height / height_in)
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
