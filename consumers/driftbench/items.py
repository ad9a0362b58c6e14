"""river's detectors fed with every item, as its documentation shows them: the other negative control."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from consumers.driftbench.naive import Alarm, Alarming
from consumers.driftbench.streams import Past, Seen, Stream

SEED = 1
"""Of detectors that draw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """An alarm in a window is one at any of its items; the detector goes on as river lets it."""

    name: str
    says: str
    make: Callable[[], Any]
    kinds: tuple[str, ...]
    budget: float | None = None

    def begin(self, stream: Stream, past: Past) -> Alarming:
        return Alarming(self._alarm(self.make()))

    def _alarm(self, detector: Any) -> Alarm:
        def alarm(seen: Seen) -> bool:
            found = False
            for value in [] if seen.items is None else seen.items.tolist():
                if not np.isnan(value):
                    detector.update(value)
                    found |= detector.drift_detected
            return found

        return alarm


def _river(name: str, **params: Any) -> Any:
    from river import drift

    found: Any = getattr(drift, name, None) or getattr(drift.binary, name)
    return found(**params)


def adwin() -> Any:
    return _river("ADWIN")


def page_hinkley() -> Any:
    return _river("PageHinkley")


def kswin() -> Any:
    return _river("KSWIN", seed=SEED)


def ddm() -> Any:
    return _river("DDM")


def eddm() -> Any:
    return _river("EDDM")


def hddm_a() -> Any:
    return _river("HDDMA")


def hddm_w() -> Any:
    return _river("HDDMW")
