"""Predictions of one window, in cells: one cell becomes one score row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from domain.windows.features import FeatureTable
from domain.windows.moments import LARGEST
from domain.windows.records import PredictionRecord


class CellKey(NamedTuple):
    """What the records of a cell have in common besides their window."""

    model: str
    version: str
    variant: str | None
    experiment: str | None
    epoch: int
    horizon_s: int


class Cell:
    """Records of one key while the window is open, in parallel columns.

    `seen` is shared by all cells of one (model, variant).
    """

    __slots__ = (
        "covariates",
        "duplicates",
        "features",
        "ids",
        "key",
        "predictions",
        "seen",
        "served",
        "units",
    )

    def __init__(self, key: CellKey, seen: "dict[str, Cell]") -> None:
        self.key = key
        self.seen = seen
        self.duplicates = 0
        self.ids: list[str] = []
        self.predictions: list[float | str] = []
        self.served: list[bool] = []
        self.units: list[str | None] = []
        self.covariates: list[float | None] = []
        self.features = FeatureTable()

    def extend(self, records: Sequence[PredictionRecord]) -> None:
        """Take what rows are made of; the records themselves are not kept."""
        self.ids += [record.prediction_id for record in records]
        self.predictions += [record.prediction for record in records]
        self.served += [record.served for record in records]
        self.units += [record.unit for record in records]
        self.covariates += [record.covariate for record in records]
        self.features.extend([record.features for record in records])

    def __len__(self) -> int:
        return len(self.ids)


class OpenWindow:
    """A window that takes predictions. `offset` and `newest_before_ms` are those of its first record."""

    __slots__ = ("cells", "index", "newest_before_ms", "offset", "seen")

    def __init__(self, index: int, offset: int, newest_before_ms: int) -> None:
        self.index = index
        self.offset = offset
        self.newest_before_ms = newest_before_ms
        self.cells: dict[tuple[str, str, str | None, str | None, int, int], Cell] = {}
        self.seen: dict[tuple[str, str | None], dict[str, Cell]] = {}

    def cell(self, record: PredictionRecord) -> Cell:
        """A new cell for a key that the window does not hold yet."""
        r = record
        key = CellKey(r.model, r.version, r.variant, r.experiment, r.epoch, r.horizon_s)
        cell = self.cells[key] = Cell(key, self.seen.setdefault((r.model, r.variant), {}))
        return cell

    def tallied(self) -> list[Cell]:
        """The cells that become rows: a cell may have seen duplicates of other cells' records only."""
        return [cell for cell in self.cells.values() if len(cell)]

    def release(self) -> None:
        """Let go of the cells: they hold themselves through `seen`, and the collector looks seldom."""
        for seen in self.seen.values():
            seen.clear()

    def __len__(self) -> int:
        return sum(len(cell) for cell in self.cells.values())


@dataclass(frozen=True, slots=True)
class ClosedCell:
    """What scoring needs of a cell whose input side is closed, in parallel columns. Features are gone."""

    key: CellKey
    ids: Sequence[str]
    predictions: Sequence[float | str]
    served: Sequence[bool]
    units: Sequence[str | None]
    """Empty outside experiments and when no record has a unit."""
    covariates: Sequence[float | None]
    """Empty when no record has a covariate."""


def closed_cell(cell: Cell) -> ClosedCell:
    """Keep the columns that scoring needs."""
    units = cell.units if cell.key.experiment is not None else []
    bare = cell.covariates.count(None) == len(cell.covariates)
    covariates = [_measurable(x) for x in cell.covariates] if not bare else []
    return ClosedCell(
        key=cell.key,
        ids=cell.ids,
        predictions=cell.predictions,
        served=cell.served,
        units=units if any(unit is not None for unit in units) else (),
        covariates=covariates if any(x is not None for x in covariates) else (),
    )


def _measurable(covariate: float | None) -> float | None:
    return covariate if covariate is not None and abs(covariate) <= LARGEST else None
