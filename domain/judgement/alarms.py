"""From what a detector found to an alarm: how severe, how far back, and the numbers for the evidence."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from domain.drift import episodes
from domain.drift.adwin import AdwinFinding
from domain.drift.episodes import Severity
from domain.drift.esr import EsrFinding
from domain.drift.metrics import MOST_MEASURED, Cells, DriftMetrics, labels, measure
from domain.drift.promise import PromiseFinding
from domain.drift.rollup import RollUpFinding


class Reference(Cells, Protocol):
    """A frozen reference with its cells."""

    @property
    def counts(self) -> Sequence[int]:
        """Reference items per cell."""

    @property
    def phi(self) -> float:
        """Overdispersion, at least 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One detector's alarm at one instant."""

    severity: Severity
    evidence_windows: int
    """Windows that it looked back on, for recovery and echoes."""
    describe: Callable[[], DriftMetrics]
    """Its evidence; measured only when a decision carries it."""
    windows_after: int = 1
    """Windows since the change, as far as the detector knows."""
    promised: bool = False
    """Whether it is about a promise that was broken, rather than about a change."""

    @property
    def for_episode(self) -> episodes.Alarm:
        return episodes.Alarm(severity=self.severity, evidence_windows=self.evidence_windows)


def of_roll_up(found: RollUpFinding, references: Mapping[str, Reference]) -> Alarm:
    """The block whose histograms moved beyond the tolerance."""

    def describe() -> DriftMetrics:
        measures = tuple(
            measure(each.name, each.reference, each.counts, each.phi, references[each.name], each.p_value)
            for each in found.moved[:MOST_MEASURED]
        )
        return DriftMetrics(
            detector="roll-up-chi-square",
            severity=found.severity,
            statistic=found.statistic,
            p_value=found.p_value,
            threshold=found.threshold,
            tolerance=found.tolerance,
            sample_size=found.sample_size,
            reference_size=sum(found.moved[0].reference),
            phi=found.moved[0].phi,
            block_windows=found.block_windows,
            features=found.features,
            measures=measures,
        )

    return Alarm(severity=found.severity, evidence_windows=found.block_windows, describe=describe)


def of_scores(
    found: EsrFinding,
    references: Mapping[str, Reference],
    compared: Mapping[str, Sequence[int]],
    window: Mapping[str, Sequence[int]],
) -> Alarm:
    """Scores that left their tolerance. `compared` are the references' counts in this window's season slot.

    The features are measured over the window that alarmed: of the windows before only the evidence is kept.
    """

    def describe() -> DriftMetrics:
        measures = tuple(
            measure(name, compared[name], window[name], references[name].phi, references[name])
            for name in found.features[:MOST_MEASURED]
            if sum(window.get(name, ()))
        )
        where = {} if found.cell is None else {"bin": labels(references[found.features[0]])[found.cell]}
        return DriftMetrics(
            detector="e-sr-scores",
            severity="drift",
            statistic=found.log_e,
            log_e=found.log_e,
            threshold=found.threshold,
            tolerance=found.tolerance,
            sample_size=found.sample_size,
            reference_size=found.reference_size,
            phi=found.phi,
            block_windows=found.evidence_windows,
            features=found.features,
            measures=measures,
            own={"score": found.score, **where, "upward": found.upward, "mean_score": found.mean_score},
        )

    return Alarm(severity="drift", evidence_windows=found.evidence_windows, describe=describe)


def of_adwin(found: AdwinFinding, metric: str, phi: float) -> Alarm:
    """A cut between two levels of `metric`."""

    def describe() -> DriftMetrics:
        return DriftMetrics(
            detector="bucket-adwin",
            severity="drift",
            statistic=found.statistic,
            threshold=found.threshold,
            sample_size=found.sample_size,
            phi=phi,
            block_windows=1,
            own={
                "metric": metric,
                "mean_before": found.mean_before,
                "mean_after": found.mean_after,
                "windows_after": found.windows_after,
            },
        )

    return Alarm(severity="drift", evidence_windows=1, windows_after=found.windows_after, describe=describe)


def of_promise(found: PromiseFinding, reference_size: int | None, *, estimated: bool = False) -> Alarm:
    """A promise that is broken, or, if `estimated`, that is expected to be once outcomes arrive."""
    severity: Severity = "warn" if estimated else "drift"

    def describe() -> DriftMetrics:
        return DriftMetrics(
            detector="e-sr-estimate" if estimated else "e-sr-promise",
            severity=severity,
            statistic=found.log_e,
            log_e=found.log_e,
            threshold=found.threshold,
            tolerance=abs(found.tolerated - found.baseline),
            # an estimate's items are expected ones, such as predicted positives: not whole
            sample_size=round(found.sample_size),
            reference_size=reference_size,
            phi=found.phi,
            block_windows=found.evidence_windows,
            own={
                **({"estimate": True} if estimated else {}),
                "metric": found.metric,
                "mean_before": found.baseline,
                "mean_after": found.mean,
                "tolerated": found.tolerated,
            },
        )

    return Alarm(
        severity=severity,
        evidence_windows=found.evidence_windows,
        windows_after=found.evidence_windows,
        describe=describe,
        promised=True,
    )
