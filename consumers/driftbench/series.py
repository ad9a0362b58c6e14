"""Real series in which people marked changes, shipped by river, and detectors run over them.

The data sets and marks are those of the Turing Change Point Dataset (van den Burg and Williams,
arXiv:2003.06222). river ships three of them longer or finer than the annotators saw them; here they are cut
back to that, or the marks would point elsewhere.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from consumers.driftbench import items
from consumers.driftbench.agreement import Agreement, Marks, agreement, covering
from domain.drift import adwin, esr, rollup
from domain.drift.adwin import AdwinPolicy, AdwinState
from domain.drift.esr import EsrPolicy, EsrState
from domain.drift.rollup import RollUpPolicy, RollUpState
from domain.windows.build import feature_reference
from domain.windows.histogram import count_values
from domain.windows.moments import Floats, of
from domain.windows.overdispersion import of_means

WINDOW = 5
"""Observations of a window, where a detector wants windows."""
MARGIN = 5
LATE = 20
"""Observations after a mark within which an alarm still counts in the second figure."""
_BINS = 5

Detect = Callable[[Floats, int], Iterator[int]]
"""From a standardised series and how many observations were learnt: indices of alarms, ascending."""


@dataclass(frozen=True, slots=True)
class Series:
    """`columns` are parallel: one number of each per observation."""

    name: str
    columns: Mapping[str, Floats]
    marks: Marks

    @property
    def observations(self) -> int:
        return len(next(iter(self.columns.values())))

    @property
    def learnt(self) -> int:
        """Observations at the beginning in which nothing is looked for: a tenth, 10 to 30."""
        return max(10, min(30, self.observations // 10))


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """One detector on one series."""

    series: str
    detector: str
    observations: int
    annotators: int
    marks: int
    """Different ones, of all annotators together."""
    alarms: tuple[int, ...]
    near: Agreement
    """MARGIN observations to both sides."""
    late: Agreement
    """From the mark to LATE observations after it."""
    covering: float


def load() -> list[Series]:
    """All seven."""
    from river.drift import datasets as shipped

    datasets: Any = shipped  # river's classes have no annotations

    def of_columns(
        name: str, data: Any, columns: Sequence[str], rows: Callable[[list[Any]], list[Any]]
    ) -> Series:
        found = rows([(x, y if isinstance(y, dict) else {columns[0]: y}) for x, y in data])
        values = {column: np.array([y[column] for _, y in found], np.float64) for column in columns}
        return Series(name, values, {who: tuple(at) for who, at in data.annotations.items()})

    def whole(rows: list[Any]) -> list[Any]:
        return rows

    return [
        of_columns("airline passengers", datasets.AirlinePassengers(), ["passengers"], whole),
        # every third day from the second one on
        of_columns("apple", datasets.Apple(), ["Close", "Volume"], lambda rows: rows[1::3]),
        # until 2019-06-19
        of_columns("bitcoin", datasets.Bitcoin(), ["price"], lambda rows: rows[:774]),
        # every tenth day, from the first such day of 2000 on
        of_columns(
            "brent",
            datasets.BrentSpotPrice(),
            ["price"],
            lambda rows: [row for row in rows[::10] if row[0]["day"].year >= 2000],
        ),
        of_columns("occupancy", datasets.Occupancy(), ["V1", "V2", "V3", "V4"], whole),
        of_columns("run log", datasets.RunLog(), ["Pace", "Distance"], whole),
        of_columns("UK coal employment", datasets.UKCoalEmploy(), ["employment"], whole),
    ]


def meet(series: Series, name: str, detect: Detect) -> Met:
    """Run a detector over every column; alarms within MARGIN of the last one are the same alarm."""
    alarms: list[int] = []
    for at in sorted({at for column in series.columns.values() for at in _alarms(series, column, detect)}):
        if not alarms or at - alarms[-1] > MARGIN:
            alarms.append(at)
    return Met(
        series=series.name,
        detector=name,
        observations=series.observations,
        annotators=len(series.marks),
        marks=len(set[int]().union(*series.marks.values())),
        alarms=tuple(alarms),
        near=agreement(series.marks, alarms, MARGIN, MARGIN),
        late=agreement(series.marks, alarms, 0, LATE),
        covering=covering(series.marks, alarms, series.observations),
    )


def _alarms(series: Series, column: Floats, detect: Detect) -> Iterator[int]:
    first = column[: series.learnt]
    spread = float(first.std()) or 1.0
    return detect((column - first.mean()) / spread, series.learnt)


# ---------------------------------------------------------------- detectors


def never(values: Floats, learnt: int) -> Iterator[int]:
    return iter(())


def bucket_adwin(values: Floats, learnt: int) -> Iterator[int]:
    """Each observation is a window of one; phi as measured on windows of the learnt ones."""
    return _adwin(values, AdwinPolicy(phi=_phi(values[:learnt])))


def bucket_adwin_no_phi(values: Floats, learnt: int) -> Iterator[int]:
    return _adwin(values, AdwinPolicy())


def _adwin(values: Floats, policy: AdwinPolicy) -> Iterator[int]:
    state = AdwinState()
    for at, value in enumerate(values.tolist()):
        state, found = adwin.step(policy, state, 1, value, 0.0)
        if found is not None:
            yield at


def _phi(values: Floats) -> float:
    means = values[: len(values) // WINDOW * WINDOW].reshape(-1, WINDOW).mean(axis=1)
    moments = of(values)
    return of_means(np.full(len(means), float(WINDOW)), means, moments.M2 / moments.n)


def on_learnt_bins(start: Any, step: Callable[..., Any]) -> Detect:
    """Windows of WINDOW observations against the learnt ones; after an alarm the next ones are learnt."""

    def detect(values: Floats, learnt: int) -> Iterator[int]:
        begin = learnt
        while begin < len(values):
            reference = feature_reference(values[begin - learnt : begin], WINDOW, _BINS)
            state, alarm = start, None
            for at in range(begin, len(values) - WINDOW + 1, WINDOW):
                counts = count_values(reference, values[at : at + WINDOW].tolist())
                state, found = step(state, {"x": reference}, {"x": counts})
                if found is not None:
                    alarm = at + WINDOW - 1
                    break
            if alarm is None:
                return
            yield alarm
            begin = alarm + 1 + learnt

    return detect


def on_observations(make: Callable[[], Any]) -> Detect:
    """river's detector on every observation."""

    def detect(values: Floats, learnt: int) -> Iterator[int]:
        detector = make()
        for at, value in enumerate(values.tolist()):
            detector.update(value)
            if detector.drift_detected:
                yield at

    return detect


def on_means(make: Callable[[], Any]) -> Detect:
    """river's detector on means of WINDOW observations."""

    def detect(values: Floats, learnt: int) -> Iterator[int]:
        detector = make()
        for at in range(0, len(values) - WINDOW + 1, WINDOW):
            detector.update(float(values[at : at + WINDOW].mean()))
            if detector.drift_detected:
                yield at + WINDOW - 1

    return detect


DETECTS: dict[str, Detect] = {
    "bucket-adwin": bucket_adwin,
    "bucket-adwin, phi 1": bucket_adwin_no_phi,
    "roll-up": on_learnt_bins(RollUpState(), partial(rollup.step, RollUpPolicy(min_items=WINDOW))),
    "e-sr": on_learnt_bins(EsrState(), partial(esr.step, EsrPolicy())),
    "adwin-items": on_observations(items.adwin),
    "page-hinkley-items": on_observations(items.page_hinkley),
    "kswin-items": on_observations(items.kswin),
    "adwin-means": on_means(items.adwin),
    "page-hinkley-means": on_means(items.page_hinkley),
    "kswin-means": on_means(items.kswin),
    "never": never,
}
