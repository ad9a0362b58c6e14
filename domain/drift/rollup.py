"""Roll-up tolerant chi-square: has the shape of any feature moved further than we tolerate?

Window counts over frozen cells add up, so blocks of 1, 2, 4, ... windows are tested as they close: small
blocks find large shifts at once, long blocks find small ones. A block of ratio**i windows is tested at level
false_alarms_per_window * ratio**i / levels, with Benjamini-Hochberg over the model's features, so that a
model without drift alarms at most `false_alarms_per_window` times per window however many features it has.

The blocks nest like the digits of a number, so what waits is at most ratio - 1 closed blocks per level,
added up: levels - 1 histograms per feature, half of them empty on average. With a season they also keep
their items per season slot, and are compared with what these slots look like in the reference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from domain.drift.blocks import Block, Counts, Seasonal, Tally, add, mixture
from domain.drift.chisquare import tolerant_p_value, two_sample
from domain.drift.multiplicity import bh
from domain.errors import DomainError, InvalidField
from domain.plain import Json, read, write

Severity = Literal["warn", "drift"]


class Reference(Protocol):
    """What the roll-up needs of a frozen reference."""

    @property
    def counts(self) -> Sequence[int]:
        """Reference items per cell; the last two cells are missing and unseen."""

    @property
    def phi(self) -> float:
        """Overdispersion of window counts, measured on reference windows; 1 for independent items."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollUpPolicy:
    """The two knobs are the tolerated PSI and the false-alarm rate; the rest is the shape of the blocks."""

    tolerance_warn: float = 0.02
    tolerance_drift: float = 0.10
    false_alarms_per_window: float = 1e-4
    levels: int = 7
    ratio: int = 2
    min_items: int = 100
    """A block with fewer items is not tested: the approximation is poor, and its level stays unspent."""
    features: tuple[str, ...] = ()
    """Test only these; empty tests all that have a reference."""

    def __post_init__(self) -> None:
        owner = "RollUpPolicy"
        if self.tolerance_warn < 0:
            raise InvalidField(owner, "tolerance_warn", ">= 0", self.tolerance_warn)
        if self.tolerance_drift < self.tolerance_warn:
            raise InvalidField(owner, "tolerance_drift", ">= tolerance_warn", self.tolerance_drift)
        if not 1 <= self.levels <= 20:
            raise InvalidField(owner, "levels", "1 to 20", self.levels)
        if not 2 <= self.ratio <= 10:
            raise InvalidField(owner, "ratio", "2 to 10", self.ratio)
        if self.false_alarms_per_window <= 0 or self.level(self.levels - 1) >= 1:
            limit = "> 0 and so small that the longest block's level stays under 1"
            raise InvalidField(owner, "false_alarms_per_window", limit, self.false_alarms_per_window)
        if self.min_items < 1:
            raise InvalidField(owner, "min_items", ">= 1", self.min_items)

    @property
    def longest_block(self) -> int:
        """Windows in the longest block."""
        return int(self.ratio ** (self.levels - 1))

    def level(self, index: int) -> float:
        """Significance level of a block of ratio**index windows."""
        return self.false_alarms_per_window * float(self.ratio**index) / self.levels

    def to_json(self) -> Json:
        return write(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "RollUpPolicy":
        return read(cls, data)


@dataclass(frozen=True, slots=True, kw_only=True)
class RollUpState:
    """Windows seen, and per level the sum of the closed blocks that wait for their siblings."""

    windows: int = 0
    waiting: tuple[Block, ...] = ()

    def to_json(self) -> Json:
        blocks = [{name: list(block[name].counts) for name in sorted(block)} for block in self.waiting]
        items = [
            {name: [list(pair) for pair in block[name].items] for name in sorted(block) if block[name].items}
            for block in self.waiting
        ]
        return {"windows": self.windows, "waiting": blocks, **({"items": items} if any(items) else {})}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "RollUpState":
        items = data.get("items", [{} for _ in data["waiting"]])
        waiting = tuple(
            {
                name: Tally(tuple(cells), tuple((slot, n) for slot, n in slots.get(name, ())))
                for name, cells in block.items()
            }
            for block, slots in zip(data["waiting"], items, strict=True)
        )
        return cls(windows=data["windows"], waiting=waiting)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A feature that left the tolerance: its items in the block, and what they were compared with."""

    name: str
    p_value: float
    """At the tolerance of the finding's severity."""
    reference: tuple[float, ...]
    """Reference items per cell; with a season the mixture of the block's slots."""
    counts: Counts
    phi: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RollUpFinding:
    """A block whose features left the tolerance; the numbers are those of the strongest feature."""

    severity: Severity
    block_windows: int
    moved: tuple[Moved, ...]
    """All rejected features, strongest first."""
    statistic: float
    """Two-sample chi-square."""
    p_value: float
    """At the tolerance of `severity`."""
    tolerance: float
    threshold: float
    """Level of the block, before Benjamini-Hochberg."""

    @property
    def features(self) -> tuple[str, ...]:
        """Names of all rejected features, strongest first."""
        return tuple(each.name for each in self.moved)

    @property
    def sample_size(self) -> int:
        """Items of the strongest feature in the block."""
        return sum(self.moved[0].counts)


class CellsDiffer(DomainError):
    """A window's histogram has other cells than its reference."""

    def __init__(self, feature: str, expected: int, found: int) -> None:
        self.feature, self.expected, self.found = feature, expected, found
        super().__init__(f"feature {feature}: {found} cells in the window, {expected} in the reference")


def step(
    policy: RollUpPolicy,
    state: RollUpState,
    references: Mapping[str, Reference],
    window: Mapping[str, Sequence[int]],
    seasonal: Seasonal | None = None,
) -> tuple[RollUpState, RollUpFinding | None]:
    """Add one closed window and test every block that it closes.

    A feature absent from `window` brings no data; one without a reference is ignored, and so is one with
    counts per season slot whose reference saw nothing in the window's slot. When several blocks alarm at
    once, drift goes before warn, then the longest block. The references, those per slot too, must be those
    the state was begun with: start afresh with a new reference. Raises CellsDiffer, and then nothing has
    changed.
    """
    block = _accepted(policy, references, window, seasonal)
    windows = state.windows + 1
    waiting = [*state.waiting, *({} for _ in range(policy.levels - 1 - len(state.waiting)))]
    findings = []
    index = 0
    while True:
        finding = _test(policy, references, block, index, seasonal)
        if finding is not None:
            findings.append(finding)
        if index == policy.levels - 1:
            break
        waiting[index] = block = add(waiting[index], block)
        if windows % policy.ratio ** (index + 1):
            break
        waiting[index] = {}
        index += 1
    worst = max(findings, key=lambda found: (found.severity == "drift", found.block_windows), default=None)
    return RollUpState(windows=windows, waiting=tuple(waiting)), worst


def _accepted(
    policy: RollUpPolicy,
    references: Mapping[str, Reference],
    window: Mapping[str, Sequence[int]],
    seasonal: Seasonal | None,
) -> Block:
    block = {}
    for name in sorted(window):
        if name not in references or (policy.features and name not in policy.features):
            continue
        if len(window[name]) != len(references[name].counts):
            raise CellsDiffer(name, len(references[name].counts), len(window[name]))
        counts = tuple(window[name])
        tally = Tally(counts) if seasonal is None else seasonal.tally(name, counts)
        if tally is not None:
            block[name] = tally
    return block


@dataclass(frozen=True, slots=True)
class _Sides:
    """One feature of a block beside its reference."""

    reference: Sequence[float]
    counts: Counts
    phi: float

    def p_value(self, tolerance: float, level: float = 1.0) -> float:
        """One if it is above `level`."""
        return tolerant_p_value(self.reference, self.counts, tolerance, self.phi, level)

    def excess(self) -> float:
        """Statistic per degree of freedom: ranks features whose p-values are both zero."""
        test = two_sample(self.reference, self.counts)
        return test.statistic / max(1, test.df) / self.phi


def _sides(reference: Reference, name: str, tally: Tally, seasonal: Seasonal | None) -> _Sides:
    if seasonal is None or not tally.items:
        return _Sides(reference.counts, tally.counts, reference.phi)
    return _Sides(mixture(seasonal.references[name], tally.items), tally.counts, reference.phi)


def _test(
    policy: RollUpPolicy,
    references: Mapping[str, Reference],
    block: Block,
    index: int,
    seasonal: Seasonal | None,
) -> RollUpFinding | None:
    tested = {
        name: _sides(references[name], name, block[name], seasonal)
        for name in sorted(block)
        if sum(block[name].counts) >= policy.min_items
    }
    if not tested:
        return None
    level = policy.level(index)
    # Benjamini-Hochberg rejects nothing above its level: there, one stands for the p-value
    warn = {name: sides.p_value(policy.tolerance_warn, level) for name, sides in tested.items()}
    rejected = [name for name, hit in zip(tested, bh(list(warn.values()), level), strict=True) if hit]
    if not rejected:
        return None
    # p grows with the tolerance, so what passed `warn` passes `drift` too, and 1 stands for its p-value there
    drift = dict.fromkeys(tested, 1.0) | {
        name: tested[name].p_value(policy.tolerance_drift) for name in rejected
    }
    severity: Severity = "drift" if any(bh(list(drift.values()), level)) else "warn"
    p_values = drift if severity == "drift" else warn
    ranked = sorted(rejected, key=lambda name: (drift[name], warn[name], -tested[name].excess(), name))
    strongest = tested[ranked[0]]
    return RollUpFinding(
        severity=severity,
        block_windows=policy.ratio**index,
        moved=tuple(
            Moved(
                name=name,
                p_value=p_values[name],
                reference=tuple(tested[name].reference),
                counts=tested[name].counts,
                phi=tested[name].phi,
            )
            for name in ranked
        ),
        statistic=two_sample(strongest.reference, strongest.counts).statistic,
        p_value=p_values[ranked[0]],
        tolerance=policy.tolerance_drift if severity == "drift" else policy.tolerance_warn,
        threshold=level,
    )
