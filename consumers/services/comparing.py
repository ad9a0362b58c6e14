"""A reference profile beside another, or beside what its version met in closed windows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from consumers.services.learning import Stretch
from consumers.services.profiles import profile_of, stored_profile
from consumers.services.registry import inputs_closed_ms
from consumers.store.repositories.tallies import TallyRepository
from consumers.store.session import ReadSession
from domain.drift.blocks import Block, Seasonal, add, mixture
from domain.drift.chisquare import tolerant_p_value
from domain.drift.metrics import FeatureMetrics, measure
from domain.errors import DomainError
from domain.windows.profile import FeatureReference, ReferenceProfile
from domain.windows.rebin import rebinned

PREDICTION: Final = "(prediction)"
"""What the prediction is called among the features."""


class NothingToCompare(DomainError):
    """The two sides have nothing in common."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One feature, or the prediction, on both sides."""

    reference: FeatureReference
    expected: Sequence[float]
    """Counts of the reference; with a season those of the slots that the windows were in."""
    counts: Sequence[int]
    """Of the other side, over the same cells."""
    metrics: FeatureMetrics
    estimated: bool
    """The other side has other bins, and was spread over these."""

    @property
    def name(self) -> str:
        return self.metrics.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is compared with what; features furthest apart first."""

    profile: ReferenceProfile
    other: str
    """The other side in words."""
    tolerance: float
    """PSI that counts as no difference, for p-values."""
    compared: Sequence[Compared]
    apart: Sequence[str]
    """Features that only one side has, or that are numbers on one and text on the other."""
    windows: int | None = None
    """Closed windows that the other side consists of."""
    span: Stretch | None = None
    """From the first of them to the last."""

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.profile.model,
            "version": self.profile.version,
            "other": self.other,
            "windows": self.windows,
            "from_ms": self.span.from_ms if self.span is not None else None,
            "to_ms": self.span.to_ms if self.span is not None else None,
            "tolerance": self.tolerance,
            "features": [
                {**each.metrics.to_json(), "kind": each.reference.kind, "estimated": each.estimated}
                for each in self.compared
            ],
            "apart": list(self.apart),
        }


def compare_profiles(profile: ReferenceProfile, other: ReferenceProfile, tolerance: float) -> Comparison:
    """Two profiles, over the bins of the first. Raises NothingToCompare."""
    ours, theirs = _references(profile), _references(other)
    compared, apart = [], sorted(ours.keys() ^ theirs.keys())
    for name in ours.keys() & theirs.keys():
        reference, source = ours[name], theirs[name]
        counts = rebinned(source, reference)
        if counts is None:
            apart.append(name)
        elif sum(counts) and sum(reference.counts):
            same = (source.edges, source.categories) == (reference.edges, reference.categories)
            phi = max(reference.phi, source.phi)
            compared.append(
                _compared(name, reference, reference.counts, counts, phi, tolerance, estimated=not same)
            )
    words = f"version {other.version} of {other.model}" if other.version else "the other profile"
    return Comparison(
        profile=profile,
        other=words,
        tolerance=tolerance,
        compared=_furthest_first(compared, words, apart),
        apart=sorted(apart),
    )


async def compare_windows(
    session: ReadSession, model: str, version: str, stretch: Stretch, length_ms: int, tolerance: float
) -> Comparison:
    """A version's profile, and what its closed windows of a stretch hold.

    Raises NotFound, NoProfile, and NothingToCompare if no such window was tallied with the profile.
    """
    profile = profile_of(await stored_profile(session, model, version))
    closed_ms = await inputs_closed_ms(session)
    rows = await TallyRepository(session).version_inputs(
        model, version, stretch.from_ms, stretch.to_ms, through_ms=closed_ms
    )
    references = _references(profile)
    total: Block = {}
    windows = set()
    for row in rows:
        if not profile.in_force(row.key.window_start_ms):
            continue
        windows.add(row.key.window_start_ms)
        total = add(total, _block(profile, references, row.key.window_start_ms, orjson.loads(row.body)))
    if not windows:
        raise NothingToCompare(
            f"version {version} of {model} has no closed window there that its reference profile counts for: "
            f"it does from {profile.effective_from_ms} ms on"
        )
    compared = []
    for name, tally in total.items():
        reference = references[name]
        expected: Sequence[float] = reference.counts
        if tally.items:
            expected = mixture(reference.seasonal, tally.items)
        if any(tally.counts) and any(expected):
            compared.append(_compared(name, reference, expected, tally.counts, reference.phi, tolerance))
    words = f"{len(windows):,} closed window{'' if len(windows) == 1 else 's'}"
    apart = sorted(references.keys() - total.keys())
    return Comparison(
        profile=profile,
        other=words,
        tolerance=tolerance,
        compared=_furthest_first(compared, words, apart),
        apart=apart,
        windows=len(windows),
        span=Stretch(from_ms=min(windows), to_ms=max(windows) + length_ms),
    )


def _references(profile: ReferenceProfile) -> dict[str, FeatureReference]:
    own = {PREDICTION: profile.prediction} if profile.prediction is not None else {}
    return {**profile.features, **own}


def _block(
    profile: ReferenceProfile,
    references: Mapping[str, FeatureReference],
    start_ms: int,
    body: Mapping[str, Any],
) -> Block:
    own = {PREDICTION: body["prediction_bins"]} if "prediction_bins" in body else {}
    counts = {**body.get("features", {}), **own}
    season = Seasonal(slot=0)
    if profile.season is not None:
        slots = {name: reference.seasonal for name, reference in references.items()}
        season = Seasonal(slot=profile.season.slot(start_ms), references=slots)
    tallies = {name: season.tally(name, tuple(counts[name])) for name in references if name in counts}
    return {name: tally for name, tally in tallies.items() if tally is not None}


def _compared(
    name: str,
    reference: FeatureReference,
    expected: Sequence[float],
    counts: Sequence[int],
    phi: float,
    tolerance: float,
    *,
    estimated: bool = False,
) -> Compared:
    p_value = tolerant_p_value(expected, counts, tolerance, phi)
    return Compared(
        reference=reference,
        expected=expected,
        counts=counts,
        metrics=measure(name, expected, counts, phi, reference, p_value),
        estimated=estimated,
    )


def _furthest_first(found: Sequence[Compared], other: str, apart: Sequence[str]) -> list[Compared]:
    if not found:
        named = f"; apart: {', '.join(apart[:5])}" if apart else ""
        raise NothingToCompare(f"the profile and {other} have no feature in common{named}")
    return sorted(found, key=lambda each: (-each.metrics.effect_sizes["psi_adj"], each.name))
