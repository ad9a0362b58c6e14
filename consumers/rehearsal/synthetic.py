"""Made-up pasts, for asking whether a plan's rules hold where a test is easily fooled.

Every run draws a past of its own, in windows that each hold a tenth of a batch. Values have variance 1, and
more by what units add.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from consumers.rehearsal.past import PARTS
from consumers.rehearsal.windows import Column, Floats, Frame, Generator, LoggedWindow, Outcomes, PastWindow
from domain.experiments.plan import BINARY_METRICS, ExperimentPlan

WINDOW_MS = 60_000
OVERLAP = 20
"""Outcomes that cover each event in `overlap`."""
SIGMA = 1.5
"""Of the logarithm, in `lognormal`."""
LOGNORMAL_SD = math.sqrt(math.expm1(SIGMA**2) * math.exp(SIGMA**2))
CHUNK = 200
"""Windows that are drawn at once."""
UNITS = 200
UNIT_SPREAD = 0.3
"""Standard deviation of the units' own effects in `sticky`; a single outcome has 1 beside."""


@dataclass(frozen=True, slots=True)
class Mode:
    """A law of values, and which plans can be tried on it."""

    says: str
    values: Callable[[Generator, int, int], Floats]
    """Of so many arms and outcomes: an arm's values in a row, or one row for all."""
    strategies: Sequence[str] = ("PERCENTAGE_SPLIT", "USER_SEGMENT", "SWITCHBACK", "SHADOW_MODE")
    overlap: int = 0
    median: float = 0.0


def _normal(source: Generator, arms: int, n: int) -> Floats:
    return source.standard_normal((arms, n))


def _student(source: Generator, arms: int, n: int) -> Floats:
    return source.standard_t(3, (arms, n)) / math.sqrt(3)


def _lognormal(source: Generator, arms: int, n: int) -> Floats:
    return source.lognormal(0.0, SIGMA, (arms, n)) / LOGNORMAL_SD


MODES: Mapping[str, Mode] = {
    "normal": Mode("independent normal values", _normal),
    "t3": Mode("heavy tails: Student's t with 3 degrees of freedom", _student),
    "lognormal": Mode(f"skew: lognormal with sigma {SIGMA:g}", _lognormal, median=1.0 / LOGNORMAL_SD),
    "overlap": Mode(
        f"outcomes that overlap: each covers {OVERLAP} events, and every arm has a path of its own",
        _normal,
        overlap=OVERLAP,
    ),
    "sticky": Mode(
        f"{UNITS} units with effects of their own (sd {UNIT_SPREAD:g} beside 1) that keep their arm",
        _normal,
        strategies=("USER_SEGMENT",),
    ),
}


def units_of(plan: ExperimentPlan) -> list[str]:
    """The units of a made-up past, if units are split."""
    return [f"unit-{number}" for number in range(UNITS)] if plan.strategy == "USER_SEGMENT" else []


def windows(
    plan: ExperimentPlan, mode: str, scales: Mapping[str, float], source: Generator
) -> Iterator[tuple[int, PastWindow, int]]:
    """A past without an end, in which all metrics of the plan are drawn apart, as `Past.in_order` gives them.

    `scales` stretches metrics to the size of the model's own. Hits are the larger half of the values; the
    denominator of a ratio is positive.
    """
    made = MODES[mode]
    each = max(1, plan.batch.min_outcomes // PARTS)
    # ordinary laws are the same for all arms: the split alone tells them apart
    arms = len(plan.variants) if made.overlap or plan.strategy == "SHADOW_MODE" else 1
    own = UNIT_SPREAD * source.standard_normal(UNITS) if mode == "sticky" else None
    bases = {item.denominator for item in plan.rules}
    # a tenth of a batch of five periods
    length_ms = WINDOW_MS if plan.period_ms is None else max(1, plan.period_ms // 2)
    # so many windows last as long as one outcome's label horizon
    horizon_s = max(1, made.overlap * length_ms // each // 1_000) if made.overlap else 1
    noise = {metric: source.standard_normal((arms, OVERLAP)) for metric in plan.metrics if made.overlap}
    for chunk in count():
        units = source.integers(UNITS, size=CHUNK * each) if plan.strategy == "USER_SEGMENT" else None
        values: dict[str, Floats] = {}
        for metric in plan.metrics:
            drawn = made.values(source, arms, CHUNK * each)
            if made.overlap:
                steps = np.concatenate([noise[metric], drawn], axis=1)
                noise[metric] = steps[:, -OVERLAP:]
                drawn = _averaged(steps)
            if own is not None and units is not None:
                drawn = drawn + own[units]
            if metric in BINARY_METRICS:
                drawn = (drawn > made.median).astype(np.float64)
            elif metric in bases:
                drawn = 1.0 + np.abs(drawn)
            values[metric] = drawn if metric in BINARY_METRICS else scales.get(metric, 1.0) * drawn
        for place in range(CHUNK):
            frame = _frame(chunk * CHUNK + place, length_ms, horizon_s)
            span = slice(place * each, (place + 1) * each)
            yield 0, LoggedWindow(frame=frame, records=_records(values, units, span, frame.start_ms)), 0


def _averaged(steps: Floats) -> Floats:
    """Sums of the last `OVERLAP` steps, of variance 1."""
    sums = np.cumsum(steps, axis=1)
    path: Floats = (sums[:, OVERLAP:] - sums[:, :-OVERLAP]) / math.sqrt(OVERLAP)
    return path


def _frame(number: int, length_ms: int, horizon_s: int) -> Frame:
    end_ms = (number + 1) * length_ms
    return Frame(
        start_ms=number * length_ms,
        end_ms=end_ms,
        due_ms=end_ms + horizon_s * 1_000,
        horizon_s=horizon_s,
    )


def _records(values: Mapping[str, Floats], units: object, span: slice, start_ms: int) -> Outcomes:
    n = span.stop - span.start
    rows = np.arange(n)
    return Outcomes(
        n=n,
        matched=np.ones(n, bool),
        columns={metric: Column(rows, drawn[:, span]) for metric, drawn in values.items()},
        units=units[span] if isinstance(units, np.ndarray) else None,
        at_ms=np.full(n, start_ms),
    )
