"""Windows whose input side is closed: waiting for outcomes, then for the fates that refer to them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush

from domain.windows.cells import ClosedCell, OpenWindow, closed_cell
from domain.windows.policy import WindowPolicy


@dataclass(slots=True)
class ClosedWindow:
    """A window that takes no more predictions. `offset`, `newest_before_ms`: those of its first record."""

    index: int
    offset: int
    newest_before_ms: int
    start_ms: int
    cutoffs: dict[int, int]
    """Cutoff by horizon."""
    cells: dict[int, list[ClosedCell]]
    """Cells by horizon, until that horizon is scored."""
    ids: dict[int, list[str]]
    """Ids by horizon."""
    finish_ms: int
    """When the outcomes are through here, the window can be forgotten: last cutoff + memory."""


@dataclass(frozen=True, slots=True)
class Mark:
    """All that is kept of a finished window: where to start reading to rebuild it."""

    offset: int
    newest_before_ms: int
    last_arrival_window: int
    """Undecided outcomes that arrived up to this window may refer to the finished one."""


class KeptWindows:
    """Closed windows in order of what happens to them next."""

    def __init__(self, policy: WindowPolicy) -> None:
        self._policy = policy
        self._windows: dict[int, ClosedWindow] = {}
        self._cutoffs: list[tuple[int, int, int]] = []
        self._finishes: list[tuple[int, int]] = []
        self._marks: list[Mark] = []

    def __len__(self) -> int:
        return len(self._windows)

    def __iter__(self) -> Iterator[ClosedWindow]:
        return iter(self._windows.values())

    def keep(self, window: OpenWindow) -> None:
        """Take over a window whose input side has just closed. Windows come in rising order."""
        length = self._policy.length_ms
        start_ms = window.index * length
        cells: dict[int, list[ClosedCell]] = {}
        for cell in window.tallied():
            cells.setdefault(cell.key.horizon_s, []).append(closed_cell(cell))
        cutoffs = {horizon: self._policy.cutoff_ms(start_ms, horizon) for horizon in sorted(cells)}
        finish_ms = max(cutoffs.values()) + self._policy.memory_ms
        ids = {horizon: [i for cell in group for i in cell.ids] for horizon, group in cells.items()}
        self._windows[window.index] = ClosedWindow(
            window.index, window.offset, window.newest_before_ms, start_ms, cutoffs, cells, ids, finish_ms
        )
        for horizon, cutoff in cutoffs.items():
            heappush(self._cutoffs, (cutoff, window.index, horizon))
        heappush(self._finishes, (finish_ms, window.index))

    def scorable(self, outcomes_through_ms: int) -> bool:
        """Whether the outcome side of some window and horizon is closed but not scored."""
        return bool(self._cutoffs) and self._cutoffs[0][0] <= outcomes_through_ms

    def take_scorable(self, outcomes_through_ms: int) -> Iterator[tuple[ClosedWindow, int]]:
        """Each (window, horizon) whose outcome side has closed, once."""
        while self.scorable(outcomes_through_ms):
            _, index, horizon = heappop(self._cutoffs)
            yield self._windows[index], horizon

    def finishable(self, outcomes_through_ms: int) -> bool:
        """Whether some window is past its memory."""
        return bool(self._finishes) and self._finishes[0][0] <= outcomes_through_ms

    def take_finished(self, outcomes_through_ms: int) -> Iterator[ClosedWindow]:
        """Each window that no outcome can refer to any more, once; a mark stays behind."""
        while self.finishable(outcomes_through_ms):
            window = self._windows.pop(heappop(self._finishes)[1])
            last = self._policy.last_arrival_window(window.finish_ms)
            self._marks.append(Mark(window.offset, window.newest_before_ms, last))
            yield window

    def finished_through(self, index: int) -> bool:
        """Whether all windows up to `index` are finished, if their input sides are closed."""
        return next(iter(self._windows), index + 1) > index

    def drop_marks(self, oldest_undecided: int | None) -> None:
        """Forget the windows to which no undecided outcome may refer."""
        self._marks = [
            m
            for m in self._marks
            if oldest_undecided is not None and m.last_arrival_window >= oldest_undecided
        ]

    def low_water(self) -> Iterable[tuple[int, int]]:
        """(offset, newest just before it) of the first record of every window kept or marked."""
        for window in self._windows.values():
            yield window.offset, window.newest_before_ms
        for mark in self._marks:
            yield mark.offset, mark.newest_before_ms
