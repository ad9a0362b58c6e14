"""river's detectors over window statistics, for who wants the classic and knows its price.

ADWIN, Page-Hinkley, KSWIN, HDDM_A, HDDM_W, DDM and EDDM of river take one value per closed window: its mean.
None of them has a declared false-alarm rate in windows, and most are slower than bucket-ADWIN on the same
stream.

A detector's inside is river's own business and is never stored: the state is the values since the last
detection, and a detector is restored by folding them again. Detectors alive in this process are kept beside
their values, so that folding again happens once per load, not once per window.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Literal

from domain.errors import InvalidField
from domain.plain import Json, read, write

Name = Literal["ADWIN", "PageHinkley", "KSWIN", "HDDM_A", "HDDM_W", "DDM", "EDDM"]
Limit = tuple[str, Callable[[float], bool]]

_COUNT: Final[Limit] = ("a whole number of at least 1", lambda x: x == int(x) and x >= 1)
_SOME: Final[Limit] = ("a whole number of at least 2", lambda x: x == int(x) and x >= 2)
_WAIT: Final[Limit] = ("a whole number of at least 0", lambda x: x == int(x) and x >= 0)
_SHARE: Final[Limit] = ("> 0 and < 1", lambda x: 0 < x < 1)
_FADING: Final[Limit] = ("> 0 and <= 1", lambda x: 0 < x <= 1)
_POSITIVE: Final[Limit] = ("> 0", lambda x: x > 0)
_SLACK: Final[Limit] = (">= 0", lambda x: x >= 0)

PARAMS: Final[Mapping[Name, Mapping[str, tuple[float, Limit]]]] = {
    "ADWIN": {
        "delta": (0.002, _SHARE),
        "clock": (32, _COUNT),
        "max_buckets": (5, _SOME),
        "min_window_length": (5, _COUNT),
        "grace_period": (10, _WAIT),
    },
    "PageHinkley": {
        "min_instances": (30, _COUNT),
        "delta": (0.005, _SLACK),
        "threshold": (50.0, _POSITIVE),
        "alpha": (0.9999, _FADING),
    },
    "KSWIN": {"alpha": (0.005, _SHARE), "window_size": (100, _SOME), "stat_size": (30, _COUNT)},
    "HDDM_A": {"drift_confidence": (0.001, _SHARE), "warning_confidence": (0.005, _SHARE)},
    "HDDM_W": {
        "drift_confidence": (0.001, _SHARE),
        "warning_confidence": (0.005, _SHARE),
        "lambda_val": (0.05, _SHARE),
    },
    "DDM": {
        "warm_start": (30, _COUNT),
        "warning_threshold": (2.0, _POSITIVE),
        "drift_threshold": (3.0, _POSITIVE),
    },
    "EDDM": {"warm_start": (30, _COUNT), "alpha": (0.95, _SHARE), "beta": (0.9, _SHARE)},
}
"""Of each detector: its parameters, river's defaults and what they may be. river's other parameters follow
from the stream: of errors only a rise is looked for (Page-Hinkley's mode), of other values a move either way.
"""

WITHIN_UNIT: Final[tuple[Name, ...]] = ("HDDM_A", "HDDM_W", "DDM")
"""Their bounds hold for values between 0 and 1 only; a window's error rate is one, as a mean of bits."""
ERRORS_ONLY: Final[tuple[Name, ...]] = (*WITHIN_UNIT, "EDDM")
"""These look for a rise of an error rate, and for nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassicPolicy:
    """Which detector of river looks at which value of a window."""

    detector: Name
    stream: str = "errors"
    """errors, prediction, or feature:NAME of a numeric feature."""
    params: Mapping[str, float] = field(default_factory=dict)
    """river's parameters by river's names; absent ones have river's defaults."""
    seed: int = 1
    """Of KSWIN, which draws; the others draw nothing."""
    memory_windows: int = 2048
    """Values to remember. At twice as many the older half is forgotten: the rest is folded again."""

    def __post_init__(self) -> None:
        owner = "ClassicPolicy"
        feature = self.stream.removeprefix("feature:") if self.stream.startswith("feature:") else None
        if self.stream not in ("errors", "prediction") and not feature:
            raise InvalidField(owner, "stream", "errors, prediction or feature:NAME", self.stream)
        if self.detector in ERRORS_ONLY and self.stream != "errors":
            limit = f"errors, which is all that {self.detector} understands"
            raise InvalidField(owner, "stream", limit, self.stream)
        allowed = PARAMS[self.detector]
        for name, value in self.params.items():
            if name not in allowed:
                limit = f"one of {', '.join(allowed)} for {self.detector}"
                raise InvalidField(owner, f"params.{name}", limit, value)
            limit, holds = allowed[name][1]
            if not (math.isfinite(value) and holds(value)):
                raise InvalidField(owner, f"params.{name}", limit, value)
        self._check_together(owner)
        if not 0 <= self.seed < 2**32:
            raise InvalidField(owner, "seed", "0 to 4294967295", self.seed)
        least = int(max(64, self.param("window_size") if self.detector == "KSWIN" else 0))
        if not least <= self.memory_windows <= 100_000:
            raise InvalidField(owner, "memory_windows", f"{least} to 100000", self.memory_windows)

    def _check_together(self, owner: str) -> None:
        if self.detector == "KSWIN" and self.param("window_size") < 2 * self.param("stat_size"):
            limit = "at least twice stat_size: as many are drawn from the rest"
            raise InvalidField(owner, "params.window_size", limit, self.param("window_size"))
        if self.detector == "EDDM" and self.param("alpha") < self.param("beta"):
            raise InvalidField(owner, "params.alpha", "at least beta", self.param("alpha"))

    def param(self, name: str) -> float:
        """As given, or river's default."""
        return self.params.get(name, PARAMS[self.detector][name][0])

    def to_json(self) -> Json:
        return write(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ClassicPolicy":
        return read(cls, data)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassicState:
    """Values since the last detection, oldest first; at most twice the policy's memory."""

    values: tuple[float, ...] = ()

    def to_json(self) -> Json:
        return write(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ClassicState":
        return read(cls, data)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassicFinding:
    """What the detector said, and the means around it: river gives away no statistic of its detectors."""

    detector: Name
    stream: str
    upward: bool
    """Whether the values went up; of errors a fall is an improvement, which only ADWIN and KSWIN report."""
    mean_before: float
    mean_after: float
    evidence_windows: int
    """Windows that `mean_after` is the mean of."""
    sample_size: int
    """Windows since the last detection."""


def step(
    policy: ClassicPolicy, state: ClassicState, value: float
) -> tuple[ClassicState, ClassicFinding | None]:
    """Add the mean of one closed window that was not empty.

    Errors come turned so that more is worse (`promise.worse`); for HDDM_A, HDDM_W and DDM a value
    beyond [0, 1] counts as its bound. EDDM understands bits only: a window counts as an error if its mean is
    above the mean of the windows since the last detection. After a detection the detector starts afresh, as
    river's do.
    """
    if policy.detector in WITHIN_UNIT:
        value = min(1.0, max(0.0, value))
    key = repr(policy)
    live = _LIVE.take(key, state.values) or _Live.refolded(policy, state.values)
    live.feed(value)
    values = (*state.values, value)
    if live.detected:
        return ClassicState(), _finding(policy, live, values)
    if len(values) >= 2 * policy.memory_windows:
        values = values[-policy.memory_windows :]
        live = _Live.refolded(policy, values)
    _LIVE.keep(key, values, live)
    return ClassicState(values=values), None


def _finding(policy: ClassicPolicy, live: "_Live", values: tuple[float, ...]) -> ClassicFinding:
    """The older and the newer part of the values: as the detector cut them, else the newest value alone."""
    newer = 1
    if policy.detector == "ADWIN":
        newer = int(live.detector.width)  # a float in river
    elif policy.detector == "KSWIN":
        newer = int(policy.param("stat_size"))
    newer = min(max(1, newer), len(values) - 1) if len(values) > 1 else 1
    before = values[:-newer] or values
    mean_before = math.fsum(before) / len(before)
    mean_after = math.fsum(values[-newer:]) / newer
    return ClassicFinding(
        detector=policy.detector,
        stream=policy.stream,
        upward=policy.detector in ERRORS_ONLY
        or (policy.detector == "PageHinkley" and policy.stream == "errors")
        or mean_after > mean_before,
        mean_before=mean_before,
        mean_after=mean_after,
        evidence_windows=newer,
        sample_size=len(values),
    )


class _Live:
    """A detector of river and what it has been fed."""

    def __init__(self, policy: ClassicPolicy) -> None:
        self.detector = _built(policy)
        self._bits = policy.detector == "EDDM"
        self._fed = 0
        self._total = 0.0

    @classmethod
    def refolded(cls, policy: ClassicPolicy, values: tuple[float, ...]) -> "_Live":
        """As a fresh detector would be that got these values; a detection among them only resets it."""
        live = cls(policy)
        if policy.detector == "KSWIN":
            _refold_kswin(live.detector, values)
        else:
            for value in values:
                live.feed(value)
        return live

    @property
    def detected(self) -> bool:
        return bool(self.detector.drift_detected)

    def feed(self, value: float) -> None:
        if self._bits:
            error = self._fed > 0 and value > self._total / self._fed
            self.detector.update(int(error))
        else:
            self.detector.update(value)
        self._fed += 1
        self._total += value


def _refold_kswin(detector: Any, values: tuple[float, ...]) -> None:
    """KSWIN is its window and its place in the draws.

    The tests themselves, most of a millisecond each, found nothing when these values came, and are left out.
    """
    size, sample = detector.window_size, detector.stat_size
    detector.window.extend(values)
    detector.n = len(values)
    for _ in range(len(values) - size + 1):
        detector._rng.sample(range(size - sample), sample)


def _built(policy: ClassicPolicy) -> Any:
    """A fresh detector. Importing river takes two seconds, so only those pay who use it."""
    params: dict[str, Any] = {
        name: int(policy.param(name)) if limit in (_COUNT, _SOME, _WAIT) else policy.param(name)
        for name, (_, limit) in PARAMS[policy.detector].items()
    }
    if policy.detector == "KSWIN":
        params["seed"] = policy.seed
    if policy.detector == "PageHinkley":
        params["mode"] = "up" if policy.stream == "errors" else "both"
    return _classes()[policy.detector](**params)


@cache
def _classes() -> Mapping[Name, Any]:
    from river import drift

    binary = drift.binary
    return {
        "ADWIN": drift.ADWIN,
        "PageHinkley": drift.PageHinkley,
        "KSWIN": drift.KSWIN,
        "HDDM_A": binary.HDDMA,
        "HDDM_W": binary.HDDMW,
        "DDM": binary.DDM,
        "EDDM": binary.EDDM,
    }


class _Kept:
    """The latest detectors of this process, each under the policy and the very values that made it.

    A detector is taken out to be fed and comes back under its new values: it always belongs to one state. So
    what a step gives depends on its arguments alone, whether a detector was found here or folded again.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._detectors: OrderedDict[tuple[str, tuple[float, ...]], _Live] = OrderedDict()

    def take(self, policy: str, values: tuple[float, ...]) -> _Live | None:
        return self._detectors.pop((policy, values), None)

    def keep(self, policy: str, values: tuple[float, ...], live: _Live) -> None:
        self._detectors[(policy, values)] = live
        if len(self._detectors) > self._limit:
            self._detectors.popitem(last=False)


_LIVE: Final = _Kept(limit=512)
