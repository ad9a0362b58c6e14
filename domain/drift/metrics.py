"""What a detector measured when it alarmed, in one form for all of them: the evidence of a drift decision.

The numbers that decided are the statistic and its threshold. The effect sizes say how far it went and the
bins where, for people; nothing is decided by them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, Protocol

from domain.drift.chisquare import two_sample
from domain.drift.distances import js, ks, psi, psi_adj, shares, wasserstein
from domain.plain import Json

Severity = Literal["warn", "drift"]
MOST_MEASURED = 10
"""Features that evidence describes in full; all are named."""
MOST_BINS = 3


class Cells(Protocol):
    """What is known of the cells of a feature: its bins, then missing, then unseen."""

    @property
    def kind(self) -> Literal["numeric", "categorical"]:
        """Whether the bins have an order."""

    @property
    def edges(self) -> Sequence[float]:
        """Numeric: borders of the bins, one fewer than bins."""

    @property
    def categories(self) -> Sequence[str]:
        """Categorical: one bin each."""

    @property
    def means(self) -> Sequence[float]:
        """Numeric: mean of the reference's numbers in each bin; empty if not measured."""

    @property
    def sd(self) -> float | None:
        """Numeric: standard deviation of the reference's numbers, above 0, if measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedBin:
    """A bin whose share is another than in the reference."""

    bin: str
    reference_share: float
    share: float

    def to_json(self) -> Json:
        return {"bin": self.bin, "reference_share": self.reference_share, "share": self.share}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureMetrics:
    """One named feature: the items of the block against its reference."""

    name: str
    statistic: float
    """Two-sample chi-square."""
    df: int
    p_value: float | None
    """Of the detector, if it has one."""
    sample_size: int
    effect_sizes: Mapping[str, float]
    bins: tuple[MovedBin, ...]
    """Those that moved most, in percentage points, at most three."""

    def to_json(self) -> Json:
        return {
            "name": self.name,
            "statistic": self.statistic,
            "df": self.df,
            **({} if self.p_value is None else {"p_value": self.p_value}),
            "sample_size": self.sample_size,
            "effect_sizes": {name: self.effect_sizes[name] for name in sorted(self.effect_sizes)},
            "bins": [moved.to_json() for moved in self.bins],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftMetrics:
    """An alarm's numbers. What a detector does not have is left out of the JSON."""

    detector: str
    severity: Severity
    statistic: float
    threshold: float
    """What the statistic, the p-value or the e-value was compared with."""
    sample_size: int
    """Items of the windows that the alarm rests on."""
    block_windows: int
    p_value: float | None = None
    log_e: float | None = None
    """Natural logarithm of the e-value; alarms at `threshold`."""
    tolerance: float | None = None
    reference_size: float | None = None
    phi: float | None = None
    features: tuple[str, ...] = ()
    """All that are named, strongest first."""
    measures: tuple[FeatureMetrics, ...] = ()
    """The strongest of them in full."""
    own: Mapping[str, Any] = field(default_factory=dict)
    """What only this detector has, as plain JSON."""

    def in_short(self) -> Json:
        """What evidence says of a detector that alarmed beside the one it is about."""
        return {
            "detector": self.detector,
            "severity": self.severity,
            "statistic": self.statistic,
            "threshold": self.threshold,
            **({} if self.p_value is None else {"p_value": self.p_value}),
            "block_windows": self.block_windows,
            **({"features": list(self.features)} if self.features else {}),
            **({"metric": self.own["metric"]} if "metric" in self.own else {}),
        }

    def to_json(self) -> Json:
        optional = {
            "p_value": self.p_value,
            "log_e": self.log_e,
            "tolerance": self.tolerance,
            "reference_size": self.reference_size,
            "phi": self.phi,
        }
        named: Json = {"features": list(self.features)} if self.features else {}
        if self.measures:
            strongest = self.measures[0].to_json()
            named |= {
                "effect_sizes": strongest["effect_sizes"],
                "measures": [measured.to_json() for measured in self.measures],
            }
        return {
            "detector": self.detector,
            "severity": self.severity,
            "statistic": self.statistic,
            "threshold": self.threshold,
            "sample_size": self.sample_size,
            "block_windows": self.block_windows,
            **{name: value for name, value in optional.items() if value is not None},
            **named,
            **self.own,
        }


def measure(
    name: str,
    reference: Sequence[float],
    counts: Sequence[int],
    phi: float,
    cells: Cells,
    p_value: float | None = None,
) -> FeatureMetrics:
    """Effect sizes and the bins that moved most; `counts` and `reference` each hold at least one item."""
    test = two_sample(reference, counts)
    return FeatureMetrics(
        name=name,
        statistic=test.statistic,
        df=test.df,
        p_value=p_value,
        sample_size=sum(counts),
        effect_sizes=effect_sizes(reference, counts, phi, cells),
        bins=moved_bins(reference, counts, cells),
    )


def effect_sizes(
    reference: Sequence[float], counts: Sequence[int], phi: float, cells: Cells
) -> dict[str, float]:
    """psi, psi_adj and js; of cells that have an order ks too, and wasserstein_per_sd where it is measured.

    The Wasserstein distance is between the numbers alone: missing and unseen have no position. Like ks it is
    that of the binned values.
    """
    sizes = {
        "psi": psi(reference, counts),
        "psi_adj": psi_adj(reference, counts, phi),
        "js": js(reference, counts),
    }
    if cells.kind == "categorical":
        return sizes
    sizes["ks"] = ks(reference, counts)
    numbers, now = reference[:-2], counts[:-2]
    if cells.means and cells.sd and math.fsum(numbers) > 0 and sum(now):
        sizes["wasserstein_per_sd"] = wasserstein(numbers, now, cells.means) / cells.sd
    return sizes


def moved_bins(
    reference: Sequence[float], counts: Sequence[int], cells: Cells, most: int = MOST_BINS
) -> tuple[MovedBin, ...]:
    """The bins with the largest difference of shares, the largest first; none that did not move."""
    both = list(zip(labels(cells), shares(reference), shares(counts), strict=True))
    order = sorted(range(len(both)), key=lambda index: (-abs(both[index][2] - both[index][1]), index))
    return tuple(
        MovedBin(bin=both[index][0], reference_share=both[index][1], share=both[index][2])
        for index in order[:most]
        if both[index][1] != both[index][2]
    )


def labels(cells: Cells) -> list[str]:
    """How people call the cells: `<= 1.5`, `1.5 to 2`, `> 2` or the category, then missing, then unseen.

    >>> from types import SimpleNamespace
    >>> labels(SimpleNamespace(kind="numeric", edges=(1.5, 2.0)))
    ['<= 1.5', '1.5 to 2', '> 2', 'missing', 'unseen']
    """
    ends = ["missing", "unseen"]
    if cells.kind == "categorical":
        return [*cells.categories, *ends]
    if not cells.edges:
        return ["any number", *ends]
    edges = [f"{edge:.6g}" for edge in cells.edges]
    between = [f"{left} to {right}" for left, right in pairwise(edges)]
    return [f"<= {edges[0]}", *between, f"> {edges[-1]}", *ends]
