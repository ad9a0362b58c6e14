"""The product's detectors, each by itself: a policy, its state, and `domain.drift`'s step per window."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from consumers.driftbench.streams import LENGTH_MS, VALUE, Errors, Past, Seen, Stream, histogram
from domain.drift import adwin, classic, episodes, esr, promise, rollup
from domain.drift.adwin import AdwinPolicy, AdwinState
from domain.drift.blocks import Seasonal
from domain.drift.classic import ClassicPolicy, ClassicState
from domain.drift.episodes import Alarm, EpisodePolicy, EpisodeState
from domain.drift.esr import EsrPolicy, EsrState
from domain.drift.promise import PromisePolicy, PromiseState
from domain.drift.rollup import RollUpPolicy, RollUpState
from domain.windows.moments import of
from domain.windows.profile import FeatureKind, FeatureReference

Part = RollUpPolicy | EsrPolicy | AdwinPolicy | PromisePolicy | ClassicPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepped:
    """A detector of the product, on the inputs or errors of one model."""

    name: str
    says: str
    part: Part
    kinds: tuple[str, ...]
    budget: float | None = None
    """Declared false alarms per window; None if it declares none."""

    def begin(self, stream: Stream, past: Past) -> "Stepping":
        return Stepping(_watch(self.part, stream, past))


@dataclass(frozen=True, slots=True)
class Tallied:
    """A window as its row has it."""

    index: int
    histograms: Mapping[str, Sequence[int]]
    n: int
    mean: float
    M2: float


class Watch(Protocol):
    """A detector with its state."""

    def prepare(self, seen: Seen) -> Tallied: ...

    def alarm(self, window: Tallied) -> Alarm | None: ...


class Stepping:
    """A detector and its episodes."""

    def __init__(self, watch: Watch) -> None:
        self._watch, self._policy, self._state = watch, EpisodePolicy(), EpisodeState()

    @property
    def open(self) -> bool:
        return self._state.severity is not None

    def prepare(self, seen: Seen) -> Tallied:
        return self._watch.prepare(seen)

    def take(self, window: Tallied) -> bool:
        """Whether an episode opened in this window."""
        alarm = self._watch.alarm(window)
        self._state, change = episodes.step_all(
            self._policy, self._state, [] if alarm is None else [alarm], window.index
        )
        return isinstance(change, episodes.Opened)

    def step(self, seen: Seen) -> bool:
        return self.take(self.prepare(seen))


def _watch(part: Part, stream: Stream, past: Past) -> Watch:
    match part:
        case RollUpPolicy():
            return _RollUp(part, past)
        case EsrPolicy():
            return _Scores(part, past)
        case AdwinPolicy() if isinstance(stream, Errors):
            return _ErrorLevel(part, stream, past)
        case AdwinPolicy():
            return _Level(part, past)
        case PromisePolicy() if isinstance(stream, Errors):
            return _Promise(part, stream, past)
        case ClassicPolicy():
            return _Classic(part, stream)
        case _:
            raise ValueError(f"{type(part).__name__} cannot watch {stream.kind}")


class _Histograms:
    """Windows as histograms over the profile's cells."""

    def __init__(self, past: Past) -> None:
        self._references: Mapping[str, FeatureReference] = past.profile.features
        self._season = past.profile.season

    def prepare(self, seen: Seen) -> Tallied:
        counts: Mapping[str, Sequence[int]] = seen.histograms
        if seen.items is not None:
            counts = {VALUE: histogram(self._references[VALUE], seen.items)}
        return Tallied(seen.index, counts, 0, 0.0, 0.0)

    def _slot(self, window: Tallied) -> int | None:
        return None if self._season is None else self._season.slot(window.index * LENGTH_MS)


class _RollUp(_Histograms):
    def __init__(self, policy: RollUpPolicy, past: Past) -> None:
        super().__init__(past)
        self._policy, self._state = policy, RollUpState()
        self._seasonal = {name: each.seasonal for name, each in self._references.items()}

    def alarm(self, window: Tallied) -> Alarm | None:
        slot = self._slot(window)
        seasonal = None if slot is None else Seasonal(slot=slot, references=self._seasonal)
        self._state, found = rollup.step(
            self._policy, self._state, self._references, window.histograms, seasonal
        )
        return None if found is None else Alarm(severity=found.severity, evidence_windows=found.block_windows)


@dataclass(frozen=True, slots=True)
class _Slot:
    """A feature's reference in one slot of the season."""

    kind: FeatureKind
    counts: tuple[int, ...]
    phi: float


class _Scores(_Histograms):
    def __init__(self, policy: EsrPolicy, past: Past) -> None:
        super().__init__(past)
        self._policy, self._state = policy, EsrState()
        slots = 0 if self._season is None else self._season.slots
        self._by_slot = [
            {name: _Slot(each.kind, each.seasonal[slot], each.phi) for name, each in self._references.items()}
            for slot in range(slots)
        ]

    def alarm(self, window: Tallied) -> Alarm | None:
        slot = self._slot(window)
        references: Mapping[str, esr.Reference] = self._references if slot is None else self._by_slot[slot]
        self._state, found = esr.step(self._policy, self._state, references, window.histograms)
        return None if found is None else Alarm(severity="drift", evidence_windows=found.evidence_windows)


class _Moments:
    """Windows as count, mean and M2 of what they hold."""

    def prepare(self, seen: Seen) -> Tallied:
        if seen.items is None:
            raise ValueError("only histograms of this stream are drawn")
        present = seen.items[seen.items == seen.items]
        moments = of(present)
        return Tallied(seen.index, {}, moments.n, moments.mean, moments.M2)


class _Level(_Moments):
    """Bucket-ADWIN on a prediction's level: cuts both ways."""

    def __init__(self, policy: AdwinPolicy, past: Past) -> None:
        prediction = past.profile.prediction
        phi = 1.0 if prediction is None else prediction.phi
        self._policy, self._state = replace(policy, phi=max(policy.phi, phi)), AdwinState()

    def alarm(self, window: Tallied) -> Alarm | None:
        self._state, found = adwin.step(self._policy, self._state, window.n, window.mean, window.M2)
        return None if found is None else Alarm(severity="drift", evidence_windows=found.windows_after)


class _ErrorLevel(_Moments):
    """Bucket-ADWIN on errors: only upward cuts are a degradation."""

    def __init__(self, policy: AdwinPolicy, stream: Errors, past: Past) -> None:
        phi = past.profile.errors[stream.metric].phi
        clip = past.profile.error_clip or 1.0
        self._policy = replace(policy, phi=max(policy.phi, phi), scale=policy.scale * clip)
        self._state = AdwinState()

    def alarm(self, window: Tallied) -> Alarm | None:
        self._state, found = adwin.step(self._policy, self._state, window.n, window.mean, window.M2)
        if found is None or not found.upward:
            return None
        return Alarm(severity="drift", evidence_windows=found.windows_after)


class _Promise(_Moments):
    """e-SR against what the reference measured."""

    def __init__(self, policy: PromisePolicy, stream: Errors, past: Past) -> None:
        self._policy, self._state = replace(policy, metric=stream.metric), PromiseState()
        self._promised = past.profile.errors[stream.metric]
        self._clip = past.profile.error_clip or 1.0
        self._misses = stream.metric == "hit"

    def alarm(self, window: Tallied) -> Alarm | None:
        promised = self._promised
        mean = 1.0 - window.mean if self._misses else window.mean
        self._state, found = promise.step(
            self._policy,
            self._state,
            window.n,
            mean,
            promised.mean,
            promised.phi,
            self._clip,
            promised.n,
        )
        return None if found is None else Alarm(severity="drift", evidence_windows=found.evidence_windows)


class _Classic(_Moments):
    """One of river's detectors on window means."""

    def __init__(self, policy: ClassicPolicy, stream: Stream) -> None:
        errors = isinstance(stream, Errors)
        self._policy = replace(policy, stream="errors" if errors else "prediction")
        self._state, self._errors = ClassicState(), errors

    def alarm(self, window: Tallied) -> Alarm | None:
        self._state, found = classic.step(self._policy, self._state, window.mean)
        if found is None or (self._errors and not found.upward):
            return None
        return Alarm(severity="drift", evidence_windows=found.evidence_windows)
