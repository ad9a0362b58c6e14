"""Windows whose input side is closed: waiting for outcomes, then for the fates that refer to them."""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush

from domain.windows.cells import ClosedCell, OpenWindow, closed_cell
from domain.windows.policy import WindowPolicy


@dataclass(slots=True)
class ClosedWindow:
    """A window that takes no more predictions."""

    index: int
    start_ms: int
    cutoffs: dict[int, int]
    """Cutoff by horizon."""
    cells: dict[int, list[ClosedCell]]
    """Cells by horizon, until that horizon is scored."""
    ids: dict[int, list[str]]
    """Ids by horizon."""
    finish_ms: int
    """When the outcomes are through here, the window can be forgotten: last cutoff + memory."""


class KeptWindows:
    """Closed windows in order of what happens to them next."""

    def __init__(self, policy: WindowPolicy) -> None:
        self._policy = policy
        self._windows: dict[int, ClosedWindow] = {}
        # heaps: a close costs what it closes, not what is kept (a month of minutes is 44,640 windows)
        self._cutoffs: list[tuple[int, int, int]] = []
        self._finishes: list[tuple[int, int]] = []
        self._held: set[int] = set()
        """Windows low water must not pass: those above, and finished ones that outcomes may refer to."""
        self._marks: list[tuple[int, int]] = []
        """(last arrival window that may refer to it, window) of the finished ones."""
        self._lows: list[tuple[int, int, int]] = []
        """(offset, newest just before it, window) of first records; some of windows no longer held."""

    def __len__(self) -> int:
        return len(self._windows)

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
        self._windows[window.index] = ClosedWindow(window.index, start_ms, cutoffs, cells, ids, finish_ms)
        for horizon, cutoff in cutoffs.items():
            heappush(self._cutoffs, (cutoff, window.index, horizon))
        heappush(self._finishes, (finish_ms, window.index))
        heappush(self._lows, (window.offset, window.newest_before_ms, window.index))
        self._held.add(window.index)

    def scorable(self, outcomes_through_ms: int) -> bool:
        """Whether the outcome side of some window and horizon is closed but not scored."""
        return bool(self._cutoffs) and self._cutoffs[0][0] <= outcomes_through_ms

    def scorable_cells(self, outcomes_through_ms: int) -> Iterator[ClosedCell]:
        """The cells that `take_scorable` would yield, left in place."""
        for cutoff, index, horizon in self._cutoffs:
            if cutoff <= outcomes_through_ms:
                yield from self._windows[index].cells[horizon]

    def take_scorable(self, outcomes_through_ms: int) -> Iterator[tuple[ClosedWindow, int]]:
        """Each (window, horizon) whose outcome side has closed, once."""
        while self.scorable(outcomes_through_ms):
            _, index, horizon = heappop(self._cutoffs)
            yield self._windows[index], horizon

    def finishable(self, outcomes_through_ms: int) -> bool:
        """Whether some window is past its memory."""
        return bool(self._finishes) and self._finishes[0][0] <= outcomes_through_ms

    def take_finished(self, outcomes_through_ms: int) -> Iterator[ClosedWindow]:
        """Each window that no new outcome can refer to, once. It is held until `drop_marks`."""
        while self.finishable(outcomes_through_ms):
            window = self._windows.pop(heappop(self._finishes)[1])
            heappush(self._marks, (self._policy.last_arrival_window(window.finish_ms), window.index))
            yield window

    def finished_through(self, index: int) -> bool:
        """Whether all windows up to `index` are finished, if their input sides are closed."""
        return next(iter(self._windows), index + 1) > index

    def drop_marks(self, oldest_undecided: int | None, oldest_repeated: int | None) -> None:
        """Let go of the finished windows that nothing without an arrival row may refer to.

        Undecided outcomes may. So may predictions: after a restart without the first one of an id, its
        duplicate would be counted as new.
        """
        while self._marks and (oldest_undecided is None or self._marks[0][0] < oldest_undecided):
            if oldest_repeated is not None and self._marks[0][1] >= oldest_repeated:
                break
            self._held.discard(heappop(self._marks)[1])

    def low_water(self) -> tuple[int, int] | None:
        """(offset, newest just before it) of the first record of all windows held."""
        while self._lows and self._lows[0][2] not in self._held:
            heappop(self._lows)
        return self._lows[0][:2] if self._lows else None
