"""The cells: what is drawn, how often, and what `shared/design/statistics.md` A1-A4 found there."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bench.simulation.evidence import ALPHA
from bench.simulation.families import family
from bench.simulation.ratios import assigned
from bench.simulation.streams import (
    MDE,
    Draw,
    Sticky,
    discordant,
    hits,
    jumps,
    lognormal,
    means,
    normal,
    overlapping,
    pairs,
    student,
)
from bench.simulation.switchback import switches

Wanted = Mapping[str, tuple[float, float]]
"""By test: power and mean number of outcomes, no worse than which it has to be."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Of a power table if anything is `wanted`, else of an A/A table."""

    table: str
    name: str
    draw: Draw
    chunk: int = 50
    """Runs at once: what fits into memory."""
    cost: float = 1.0
    """Runs are divided by it."""
    judged: tuple[str, ...] = ("product",)
    """Tests that must keep alpha here; what else is shown may not."""
    wanted: Wanted = field(default_factory=dict)
    """The product takes the smaller of two e-values of hits. Where the design has no figure for that, the one
    for the slower of the two stands here, or none."""
    beside: str = ""
    """A test to compare with where the design has no figures; nothing has to hold then."""
    harm: bool = False
    """Whether the power is that of harm rules."""
    alpha: float = ALPHA
    alarm: bool = False
    """Whether there is one claim only, allowed from the first batch on."""

    @property
    def kind(self) -> Literal["error", "alarm", "power"]:
        if self.wanted or self.beside:
            return "power"
        return "alarm" if self.alarm else "error"


BOTH = ("product", "exact")


def _heavy(table: str) -> list[Cell]:
    return [
        Cell(table, "t, 3 degrees of freedom", means(student(3))),
        Cell(table, "t, 2.2 degrees of freedom", means(student(2.2))),
        Cell(table, "lognormal 1.5", means(lognormal(1.5))),
        Cell(table, "lognormal 2.5", means(lognormal(2.5))),
        Cell(table, "lognormal 1.5, 10/90", means(lognormal(1.5), share=0.1)),
        Cell(table, "profit and loss with jumps", means(jumps)),
    ]


OVERLAPS = (1, 2, 5, 20, 60)
RATES = (0.5, 0.05, 0.005)
SMALL = 0.0025
"""Alpha of one of five challengers on one of four primaries."""
SRM = 0.001
CELLS: Sequence[Cell] = [
    Cell("A1 means", "normal", normal()),
    Cell("A1 means", "market shock per batch", normal(shock=1.0)),
    Cell("A1 means", "covariate, correlation 0.7", normal(correlation=0.7)),
    Cell(
        "A1 means", "sd 3 to 1, 10/90", means(lambda source, shape: source.standard_normal(shape), 0.1, 3.0)
    ),
    *_heavy("A1 means"),
    Cell("A1 switchback", "5 periods of one market", switches()),
    Cell("A1 switchback", "luck remembered .9", switches(memory=0.9)),
    Cell("A1 switchback", "luck remembered .9, 10/90", switches(share=0.1, memory=0.9)),
    Cell("A1 switchback", "5 periods of 5 units", switches(units=5, memory=0.9)),
    *(Cell("A2 hits", f"rate {rate:g}", hits(rate), judged=BOTH) for rate in RATES),
    *(Cell("A2 hits", f"rate {rate:g}, 10/90", hits(rate, share=0.1), judged=BOTH) for rate in RATES),
    *(
        Cell(
            "A3 units", f"{units:,} units, effects {spread:g} sd", Sticky(units=units, spread=spread), 20, 2.0
        )
        for units, spread in ((200, 0.3), (200, 1.0), (5_000, 0.3), (50_000, 0.3))
    ),
    Cell("A3 units", "200 units, heavy tails", Sticky(units=200, heavy=True), 20, 2.0),
    Cell("A3 units", "5,000 units, heavy tails", Sticky(units=5_000, heavy=True), 20, 2.0),
    Cell("A4 pairs", "t, 3 degrees of freedom", pairs(student(3))),
    *(
        Cell("A4 pairs", f"hits, {rate:.0%} discordant each way", discordant(rate, rate), judged=BOTH)
        for rate in (0.01, 0.05)
    ),
    Cell("ramp", "means, level rises by 2 sd", normal(drift=2.0, ramp=True)),
    Cell("ramp", "hits, rate 2 to 6 %", hits(0.02, ramp_to=0.06), judged=BOTH),
    Cell("ramp", "200 units, level rises by 2 sd", Sticky(units=200, ramp=True), 20, 2.0),
    Cell("ramp", "5,000 units, level rises by 2 sd", Sticky(units=5_000, ramp=True), 20, 2.0),
    *(
        # closest to alpha at 20, where most leaks from batch to batch: there more runs tell on which side
        Cell("overlap", f"{kind}, {overlap}", overlapping(overlap, kind), 20, 0.5 if overlap == 20 else 2.0)
        for kind in ("mean", "hit", "paired mean", "paired hit")
        for overlap in OVERLAPS
    ),
    *(
        Cell("overlap", f"{units:,} units, {overlap}", Sticky(units=units, overlap=overlap), 20, 2.0)
        for units, overlap in ((200, 20), (5_000, 20), (5_000, 60))
    ),
    *(
        Cell(
            "small alpha",
            f"{kind}, {overlap}",
            overlapping(overlap, kind, SMALL),
            20,
            0.25,
            alpha=SMALL,
        )
        for kind, overlap in (("paired mean", 5), ("paired hit", 20))
    ),
    Cell("A5 four arms", "three equal challengers", family(3)),
    Cell("A6 sample ratio", "share 0.5", assigned(0.5), 500, 0.1, alpha=SRM, alarm=True),
    *(
        Cell("A1 power", f"{size:g} MDE", normal(gain=size * MDE), wanted={"product": wanted})
        for size, wanted in (
            (0.5, (0.34, 41_700)),
            (1, (0.91, 23_200)),
            (1.5, (1.0, 11_600)),
            (2, (1.0, 7_100)),
            (3, (1.0, 4_000)),
        )
    ),
    Cell(
        "A1 power",
        "1 MDE, market shock",
        normal(gain=MDE, shock=1.0),
        wanted={"product": (0.90, 24_200)},
    ),
    *(
        Cell(
            "A1 power",
            f"{size} MDE, covariate 0.7",
            normal(gain=size * MDE, correlation=0.7),
            wanted={"product": (1.0, n)},
        )
        for size, n in ((1, 12_900), (2, 4_300))
    ),
    *(
        Cell("A6 power", f"share {share:g}", assigned(share), 500, wanted={"product": wanted}, alpha=SRM)
        for share, wanted in ((0.51, (0.66, math.inf)), (0.52, (1.0, 10_900)), (0.55, (1.0, 2_300)))
    ),
    *(
        Cell("A5 harm", f"-{size} MDE", normal(gain=-size * MDE), wanted={"product": (1.0, n)}, harm=True)
        for size, n in ((2, 7_100), (3, 4_000))
    ),
    *(
        Cell(
            "A2 power",
            f"1 MDE, rate {rate:g}",
            hits(rate, gain=MDE * math.sqrt(rate * (1 - rate))),
            wanted={"exact": exact, "contrast": contrast, "product": contrast},
        )
        for rate, exact, contrast in (
            (0.5, (0.93, 21_600), (0.92, 23_400)),
            (0.05, (0.88, 23_100), (0.86, 25_300)),
            (0.005, (0.85, 25_000), (0.82, 27_900)),
        )
    ),
    *(
        Cell(
            "A3 power",
            f"{units:,} units, {gain} MDE",
            Sticky(units=units, gain=gain),
            20,
            2.0,
            beside="information",
        )
        for units, gain in ((200, 1), (200, 2), (5_000, 1), (5_000, 2), (50_000, 1))
    ),
    *(
        Cell(
            "A4 power",
            f"hits, {won:.0%} to {lost:.0%} discordant",
            discordant(won, lost, round(n)),
            wanted={"exact": (1.0, n)},
        )
        for won, lost, n in ((0.02, 0.01, 2_428), (0.03, 0.02, 4_196), (0.06, 0.05, 10_917))
    ),
]
