"""The prediction side of a partition: lateness, windows, duplicates."""

from collections import defaultdict
from collections.abc import Sequence

from domain.windows.arrivals import Arrival
from domain.windows.cells import Cell, OpenWindow
from domain.windows.policy import WindowPolicy
from domain.windows.records import Invalid, PredictionRecord


class PredictionSide:
    """Folds predictions into open windows. A function of the partition's records, whatever the batches."""

    def __init__(self, policy: WindowPolicy, next_offset: int, newest_ms: int) -> None:
        self._policy = policy
        self.next_offset = next_offset
        self.newest_ms = newest_ms
        self.open: dict[int, OpenWindow] = {}
        self.arrivals: list[Arrival] = []
        """Arrival windows without a row yet, oldest first; the last is still filling."""

    @property
    def through_ms(self) -> int:
        """Windows that end here or before take no more records. Never before the epoch."""
        return max(0, self.newest_ms - self._policy.slack_ms)

    def add(
        self,
        offsets: Sequence[int],
        timestamps: Sequence[int],
        records: Sequence[PredictionRecord | Invalid | None],
    ) -> None:
        """Fold the next records of the partition; the three sequences are parallel, None is a heartbeat."""
        if not len(offsets) == len(timestamps) == len(records):
            raise ValueError("offsets, timestamps and records must be parallel")
        length, slack = self._policy.length_ms, self._policy.slack_ms
        newest = self.newest_ms
        arrival = self.arrivals[-1] if self.arrivals else None
        arrival_end = (arrival.window + 1) * length if arrival is not None else 0
        window, start, end = None, 0, 0
        taken: defaultdict[Cell, list[PredictionRecord]] = defaultdict(list)
        for offset, timestamp, record in zip(offsets, timestamps, records, strict=True):
            before = newest
            if timestamp > newest and not (isinstance(record, Invalid) and not record.moves_time):
                newest = timestamp
            if arrival is None or newest >= arrival_end:
                arrival = Arrival(newest // length, offset, before)
                self.arrivals.append(arrival)
                arrival_end = (arrival.window + 1) * length
            arrival.records += 1
            if record is None or isinstance(record, Invalid) or timestamp < before - slack:
                arrival.leave_out(record)
                continue
            if window is None or not start <= timestamp < end:
                window = self._window(timestamp // length, offset, before)
                start = window.index * length
                end = start + length
            r = record
            cell = window.cells.get((r.model, r.version, r.variant, r.experiment, r.epoch, r.horizon_s))
            if cell is None:
                cell = window.cell(record)
            first = cell.seen.get(r.prediction_id)
            if first is not None:
                first.duplicates += 1
                arrival.duplicate += 1
                continue
            cell.seen[r.prediction_id] = cell
            taken[cell].append(record)
        # column by column is quicker than record by record
        for cell, fresh in taken.items():
            cell.extend(fresh)
        self.newest_ms = newest
        if len(offsets):
            self.next_offset = offsets[-1] + 1

    def _window(self, index: int, offset: int, newest_before_ms: int) -> OpenWindow:
        window = self.open.get(index)
        if window is None:
            window = self.open[index] = OpenWindow(index, offset, newest_before_ms)
        return window

    def oldest_repeated(self) -> int | None:
        """The oldest window that a record of an arrival window without a row may belong to."""
        if not self.arrivals:
            return None
        # its records came with newest in that window, or moved it there themselves; what is older is late
        newest_ms = self.arrivals[0].window * self._policy.length_ms
        return self._policy.window(max(0, newest_ms - self._policy.slack_ms))

    def closable(self) -> bool:
        """Whether a window's input side is closed but still held open."""
        return bool(self.open) and (min(self.open) + 1) * self._policy.length_ms <= self.through_ms

    def take_closed(self) -> list[OpenWindow]:
        """Remove and return the windows whose input side is closed, oldest first."""
        limit = self.through_ms
        closed = sorted(index for index in self.open if (index + 1) * self._policy.length_ms <= limit)
        return [self.open.pop(index) for index in closed]

    def take_arrivals(self) -> list[Arrival]:
        """Remove and return the arrival windows that `newest` has left; all fates in them are known."""
        complete = [a for a in self.arrivals if a.window < self.newest_ms // self._policy.length_ms]
        del self.arrivals[: len(complete)]
        return complete
