"""Roll-up tolerant chi-square: has the shape of any feature moved further than we tolerate?

Window counts over frozen cells add up, so blocks of 1, 2, 4, ... windows are tested as they close: small
blocks find large shifts at once, long blocks find small ones. A block of ratio**i windows is tested at level
false_alarms_per_window * ratio**i / levels, with Benjamini-Hochberg over the model's features, so that a
model without drift alarms at most `false_alarms_per_window` times per window however many features it has.

The blocks nest like the digits of a number, so what waits is at most ratio - 1 closed blocks per level,
added up: levels - 1 histograms per feature, half of them empty on average.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from domain.drift.chisquare import tolerant_p_value, two_sample
from domain.drift.distances import js, ks, psi, psi_adj
from domain.drift.multiplicity import bh
from domain.errors import DomainError, InvalidField
from domain.plain import Json, read, write

Severity = Literal["warn", "drift"]
Counts = tuple[int, ...]
Block = Mapping[str, Counts]


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
        blocks = [{name: list(block[name]) for name in sorted(block)} for block in self.waiting]
        return {"windows": self.windows, "waiting": blocks}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "RollUpState":
        waiting = tuple({name: tuple(cells) for name, cells in block.items()} for block in data["waiting"])
        return cls(windows=data["windows"], waiting=waiting)


@dataclass(frozen=True, slots=True, kw_only=True)
class RollUpFinding:
    """A block whose features left the tolerance; the numbers are those of the strongest feature."""

    severity: Severity
    block_windows: int
    features: tuple[str, ...]
    """All rejected features, strongest first."""
    statistic: float
    """Two-sample chi-square."""
    p_value: float
    """At the tolerance of `severity`."""
    tolerance: float
    threshold: float
    """Level of the block, before Benjamini-Hochberg."""
    sample_size: int
    effect_sizes: Mapping[str, float]
    """psi, psi_adj, js and ks."""


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
) -> tuple[RollUpState, RollUpFinding | None]:
    """Add one closed window and test every block that it closes.

    A feature absent from `window` brings no data; one without a reference is ignored. When several blocks
    alarm at once, drift goes before warn, then the longest block. The references must be those the state was
    begun with: start afresh with a new reference. Raises CellsDiffer, and then nothing has changed.
    """
    block = _accepted(policy, references, window)
    windows = state.windows + 1
    waiting = [*state.waiting, *({} for _ in range(policy.levels - 1 - len(state.waiting)))]
    findings = []
    index = 0
    while True:
        finding = _test(policy, references, block, index)
        if finding is not None:
            findings.append(finding)
        if index == policy.levels - 1:
            break
        waiting[index] = block = _add(waiting[index], block)
        if windows % policy.ratio ** (index + 1):
            break
        waiting[index] = {}
        index += 1
    worst = max(findings, key=lambda found: (found.severity == "drift", found.block_windows), default=None)
    return RollUpState(windows=windows, waiting=tuple(waiting)), worst


def _accepted(
    policy: RollUpPolicy, references: Mapping[str, Reference], window: Mapping[str, Sequence[int]]
) -> Block:
    block = {}
    for name in sorted(window):
        if name not in references or (policy.features and name not in policy.features):
            continue
        if len(window[name]) != len(references[name].counts):
            raise CellsDiffer(name, len(references[name].counts), len(window[name]))
        block[name] = tuple(window[name])
    return block


def _add(left: Block, right: Block) -> Block:
    if not left:
        return right
    total = dict(left)
    for name, cells in right.items():
        total[name] = tuple(a + b for a, b in zip(left[name], cells, strict=True)) if name in left else cells
    return total


def _test(
    policy: RollUpPolicy, references: Mapping[str, Reference], block: Block, index: int
) -> RollUpFinding | None:
    names = [name for name in sorted(block) if sum(block[name]) >= policy.min_items]
    if not names:
        return None
    level = policy.level(index)
    warn = _p_values(references, block, names, policy.tolerance_warn)
    rejected = [
        name for name, hit in zip(names, bh([warn[name] for name in names], level), strict=True) if hit
    ]
    if not rejected:
        return None
    # p grows with the tolerance, so what passed `warn` passes `drift` too, and 1 stands for its p-value there
    drift = dict.fromkeys(names, 1.0) | _p_values(references, block, rejected, policy.tolerance_drift)
    severity: Severity = "drift" if any(bh([drift[name] for name in names], level)) else "warn"
    ranked = sorted(
        rejected, key=lambda name: (drift[name], warn[name], -_excess(references, block, name), name)
    )
    strongest = ranked[0]
    reference, cells = references[strongest], block[strongest]
    return RollUpFinding(
        severity=severity,
        block_windows=policy.ratio**index,
        features=tuple(ranked),
        statistic=two_sample(reference.counts, cells).statistic,
        p_value=drift[strongest] if severity == "drift" else warn[strongest],
        tolerance=policy.tolerance_drift if severity == "drift" else policy.tolerance_warn,
        threshold=level,
        sample_size=sum(cells),
        effect_sizes={
            "psi": psi(reference.counts, cells),
            "psi_adj": psi_adj(reference.counts, cells, reference.phi),
            "js": js(reference.counts, cells),
            "ks": ks(reference.counts, cells),
        },
    )


def _p_values(
    references: Mapping[str, Reference], block: Block, names: Sequence[str], tolerance: float
) -> dict[str, float]:
    return {
        name: tolerant_p_value(references[name].counts, block[name], tolerance, references[name].phi)
        for name in names
    }


def _excess(references: Mapping[str, Reference], block: Block, name: str) -> float:
    """Statistic per degree of freedom: ranks features whose p-values are both zero."""
    test = two_sample(references[name].counts, block[name])
    return test.statistic / max(1, test.df) / references[name].phi
