"""The bench as a list of cells, each measured by itself, and what comes out of all of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from consumers.driftbench import measures, series
from consumers.driftbench.detectors import is_rivers, sharing, watching
from consumers.driftbench.judged import Judged
from consumers.driftbench.measures import Cost, Delay, Detector, FalseAlarms
from consumers.driftbench.series import DETECTS, Met
from consumers.driftbench.situations import STREAMS
from consumers.driftbench.streams import Stream

Table = Literal["false alarms", "delays", "cost", "series"]
TABLES: tuple[Table, ...] = ("false alarms", "delays", "cost", "series")
Result = FalseAlarms | Delay | Cost | list[Met]
_COSTED = ("normal", "features-50", "error-0.10")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is drawn."""

    windows: int
    """Of a false-alarm cell of one of ours."""
    screened: int
    """Of a roll-up's, where most windows need not be stepped through."""
    controls: int
    """Of fixed thresholds and river's detectors: they have no budget to be held to, and some are slow."""
    fleet: int
    """Of each model of a fleet, of many features, and of all parts of a policy together."""
    fleet_screened: int
    """Of a roll-up's."""
    runs: int
    """Changes of a delay cell of one of ours."""
    control_runs: int
    """Of the others."""


FULL = Size(
    windows=128_000,
    screened=1_024_000,
    controls=6_400,
    fleet=32_000,
    fleet_screened=160_000,
    runs=100,
    control_runs=40,
)
QUICK = Size(
    windows=6_400,
    screened=64_000,
    controls=3_200,
    fleet=1_600,
    fleet_screened=6_400,
    runs=10,
    control_runs=10,
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One detector on one stream; of the series a detector on all of them."""

    table: Table
    stream: str
    detector: str


def cells(tables: Sequence[Table], streams: Sequence[str], detectors: Sequence[str]) -> list[Cell]:
    """In the order of the streams; no streams or detectors are all of them."""
    return [
        cell
        for cell in _all()
        if cell.table in tables
        and (not streams or cell.stream in streams)
        and (not detectors or cell.detector in detectors)
    ]


def _all() -> Iterator[Cell]:
    for name, stream in STREAMS.items():
        for each in watching(stream):
            yield Cell("delays" if stream.changes else "false alarms", name, each.name)
            if name in _COSTED:
                yield Cell("cost", name, each.name)
    for detector in DETECTS:
        yield Cell("series", "annotated", detector)


def _models(stream: Stream) -> int:
    return int(getattr(stream, "models", 1))


def measure(cell: Cell, size: Size, seed: int) -> Result:
    """The figures of one cell; the same for the same size and seed, but for the cost."""
    if cell.table == "series":
        return [series.meet(each, cell.detector, DETECTS[cell.detector]) for each in series.load()]
    stream = STREAMS[cell.stream]
    detector = next(each for each in watching(stream) if each.name == cell.detector)
    match cell.table:
        case "cost":
            return measures.cost(stream, detector, seed)
        case "delays":
            runs = size.control_runs if _control(detector) else size.runs
            return measures.delay(stream, detector, runs, seed)
    return _false_alarms(stream, detector, size, seed)


def _control(detector: Detector) -> bool:
    return is_rivers(detector) or not isinstance(detector, Judged)


def _false_alarms(stream: Stream, detector: Detector, size: Size, seed: int) -> FalseAlarms:
    many = _models(stream) > 1 or stream.kind == "features"
    if many:
        detector = sharing(detector, _models(stream))
    if _control(detector) or not isinstance(detector, Judged):
        return measures.false_alarms(stream, detector, size.controls, seed)
    # a season has another reference in every window; what alarms all the time has nothing to be left out
    seasonal = getattr(stream, "period", None) is not None
    flooded = not getattr(stream, "measured_phi", True)
    if flooded:
        return measures.false_alarms(stream, detector, size.controls, seed)
    roll_up, alone = detector.policy().features, len(detector.document) == 1
    if roll_up and alone and not seasonal and (roll_up.tolerance_warn or not stream.tolerated):
        return measures.screened(stream, detector, size.fleet_screened if many else size.screened, seed)
    slow = many or not alone
    return measures.false_alarms(stream, detector, size.fleet if slow else size.windows, seed)
