"""Performance as it was expected before outcomes arrived, and as it turned out, by stretches of windows.

The expectation is CBPE's (`domain.drift.cbpe`): it stands on the calibration of the reference profile, knows
nothing of outcomes, and stays as it was when the relation between features and outcome changes. Rows hold
hits, not confusion matrices: only accuracy can be set beside what happened.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from consumers.services.judging import NEVER_MS, judged_clock
from consumers.services.profiles import profile_of
from consumers.store.repositories.models import ModelRepository
from consumers.store.repositories.profiles import ProfileRepository
from consumers.store.repositories.tallies import TallyRepository
from consumers.store.session import ReadSession
from domain.drift.cbpe import ExpectedConfusion, merge
from domain.errors import DomainError
from domain.windows.profile import ReferenceProfile
from domain.windows.rows import RowKey

STRETCHES = 20
"""That the whole time is cut into unless one says otherwise."""
HIT = "hit"
SURE = 4.0
"""Standard errors between expected and realised accuracy that chance does not explain."""
_HOW = (
    "lifecycle profile build with the columns prediction and actual, or lifecycle profile learn, makes one; "
    "a profile is final, so a version that has one already takes a new version"
)


class NothingServed(DomainError):
    """The model has no window rows."""

    def __init__(self, model: str, version: str | None) -> None:
        who = model if version is None else f"version {version} of {model}"
        super().__init__(f"{who} has no window rows: lifecycle status shows what is served")


class NotCalibrated(DomainError):
    """A version without a calibration has no expected performance."""

    def __init__(self, model: str, version: str, profile: ReferenceProfile | None, task: str | None) -> None:
        name = f"version {version} of {model}"
        if task is not None and task != "probability":
            reason = f"its task is {task}, and only predicted probabilities tell what to expect"
            super().__init__(f"{name} has no calibration: {reason}")
        else:
            has = "no reference profile" if profile is None else "no calibration in its reference profile"
            super().__init__(f"{name} has {has}: {_HOW}")


class NotEstimatedYet(DomainError):
    """The calibration counts for windows that have not closed yet."""

    def __init__(self, model: str, version: str) -> None:
        super().__init__(
            f"version {version} of {model} has a calibration, and no closed window that it counts for yet"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Consecutive windows of one version."""

    first_ms: int
    """Start of its first window."""
    last_ms: int
    """End of its last window."""
    windows: int
    expected: ExpectedConfusion
    judged: ExpectedConfusion
    """The same of those windows that have outcomes: what realised accuracy is held against."""
    answers: int
    """Predictions whose cutoff for outcomes has passed."""
    outcomes: int
    """Of them, with an outcome that could be scored."""
    hits: float
    phi: float
    """Overdispersion of hits in the reference."""
    reference_n: float
    """Rows of the reference that the calibration rests on; infinite if nobody knows."""

    @property
    def realised_accuracy(self) -> float | None:
        """None before any outcome."""
        return self.hits / self.outcomes if self.outcomes else None

    @property
    def arrived(self) -> float | None:
        """Share of the answers that have an outcome; None before any cutoff has passed."""
        return self.outcomes / self.answers if self.answers else None

    @property
    def gap(self) -> float | None:
        """Realised minus expected accuracy, of the windows that have outcomes."""
        realised, expected = self.realised_accuracy, self.judged.accuracy
        return None if realised is None or expected is None else realised - expected

    @property
    def standard_error(self) -> float | None:
        """Of the gap, if what was expected is right; None without a gap.

        Hits vary at most like coins of the expected accuracy, overdispersed by phi, and so did those of the
        reference.
        """
        expected = self.judged.accuracy
        if self.gap is None or expected is None:
            return None
        # half an answer on either side: also what is expected to be always right has some error
        p = (expected * self.outcomes + 0.5) / (self.outcomes + 1)
        return math.sqrt(p * (1 - p) * self.phi * (1 / self.outcomes + 1 / self.reference_n))

    @property
    def standard_errors(self) -> float | None:
        """The gap in standard errors; None without a gap."""
        gap, error = self.gap, self.standard_error
        return None if gap is None or error is None else gap / error

    @property
    def unexplained(self) -> bool:
        """Whether the realised accuracy is not what the inputs let one expect."""
        found = self.standard_errors
        return found is not None and abs(found) >= SURE


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimation:
    """What was expected of one version, by time."""

    model: str
    version: str
    served: bool
    """Whether it answered; otherwise these are the answers that it gave in the shadow."""
    promised_accuracy: float | None
    """Of the reference rows; None if the profile has none."""
    stretches: tuple[Stretch, ...]

    @property
    def whole(self) -> Stretch:
        """All stretches as one."""
        parts = self.stretches
        return Stretch(
            first_ms=parts[0].first_ms,
            last_ms=parts[-1].last_ms,
            windows=sum(part.windows for part in parts),
            expected=merge(part.expected for part in parts),
            judged=merge(part.judged for part in parts),
            answers=sum(part.answers for part in parts),
            outcomes=sum(part.outcomes for part in parts),
            hits=math.fsum(part.hits for part in parts),
            phi=parts[0].phi,
            reference_n=parts[0].reference_n,
        )


@dataclass(slots=True)
class _Window:
    expected: list[ExpectedConfusion] = field(default_factory=list)
    answers: int = 0
    outcomes: int = 0
    hits: list[float] = field(default_factory=list)


async def estimate(
    session: ReadSession, model: str, version: str | None, length_ms: int, windows: int | None = None
) -> Estimation:
    """Expected and realised performance of `version`, by default the one that served last.

    `windows` is how many closed windows a stretch holds; by default the time is cut into at most
    `STRETCHES`. Raises NothingServed, NotCalibrated and NotEstimatedYet.
    """
    through_ms = await judged_clock(session)
    if through_ms is None:
        raise NothingServed(model, version)
    rows = [
        (row.key, orjson.loads(row.body))
        for row in await TallyRepository(session).rows_due(model, NEVER_MS, through_ms)
        if version is None or row.key.version == version
    ]
    if not rows:
        raise NothingServed(model, version)
    chosen = version if version is not None else _last_served(rows)
    profiles = await ProfileRepository(session).get_many([(model, chosen)])
    profile = profile_of(profiles[model, chosen]) if profiles else None
    if profile is None or profile.calibration is None:
        known = await ModelRepository(session).get_model(model)
        task = profile.task if profile is not None else known.task if known is not None else None
        raise NotCalibrated(model, chosen, profile, task)
    mine = [(key, body) for key, body in rows if key.version == chosen]
    answered = [(key, body) for key, body in mine if body.get("served", 0)]
    found = _windows(answered or mine)
    if not found:
        raise NotEstimatedYet(model, chosen)
    reference = profile.errors.get(HIT)
    cut = windows or max(1, math.ceil(len(found) / STRETCHES))
    phi, reference_n = (reference.phi, reference.n) if reference is not None else (1.0, math.inf)
    return Estimation(
        model=model,
        version=chosen,
        served=bool(answered),
        promised_accuracy=reference.mean if reference is not None else None,
        stretches=tuple(_stretches(found, cut, length_ms, phi, reference_n)),
    )


def _last_served(rows: Sequence[tuple[RowKey, Mapping[str, Any]]]) -> str:
    """The version of most answers in the last window with served ones; without any, of most answers."""
    inputs = [(key, body) for key, body in rows if key.kind == "input"]
    counted = [(key, body) for key, body in inputs if body.get("served", 0)] or inputs
    if not counted:
        return rows[-1][0].version
    last_ms = max(key.window_start_ms for key, _ in counted)
    totals: dict[str, int] = {}
    for key, body in counted:
        if key.window_start_ms == last_ms:
            totals[key.version] = totals.get(key.version, 0) + body["n"]
    return max(totals, key=lambda name: (totals[name], name))


def _windows(rows: Sequence[tuple[RowKey, Mapping[str, Any]]]) -> dict[int, _Window]:
    """Windows with an estimate, by start."""
    found: dict[int, _Window] = {}
    for key, body in rows:
        if key.kind == "input" and "estimate" in body:
            window = found.setdefault(key.window_start_ms, _Window())
            window.expected.append(ExpectedConfusion.from_json(body["estimate"]))
    for key, body in rows:
        if key.kind == "score" and key.window_start_ms in found:
            window = found[key.window_start_ms]
            window.answers += body["n"]
            moments = body.get("metrics", {}).get(HIT)
            if moments is not None:
                window.outcomes += moments["n"]
                window.hits.append(moments["n"] * moments["mean"])
    return found


def _stretches(
    found: Mapping[int, _Window], cut: int, length_ms: int, phi: float, reference_n: float
) -> Iterator[Stretch]:
    starts = sorted(found)
    for at in range(0, len(starts), cut):
        part = starts[at : at + cut]
        windows = [found[start] for start in part]
        yield Stretch(
            first_ms=part[0],
            last_ms=part[-1] + length_ms,
            windows=len(part),
            expected=merge(each for window in windows for each in window.expected),
            judged=merge(each for window in windows if window.outcomes for each in window.expected),
            answers=sum(window.answers for window in windows),
            outcomes=sum(window.outcomes for window in windows),
            hits=math.fsum(hit for window in windows for hit in window.hits),
            phi=phi,
            reference_n=reference_n,
        )
