"""The outcome side of a partition: lateness, the join by id, and each outcome's fate."""

from collections import deque
from collections.abc import Sequence
from itertools import chain

from domain.windows.arrivals import Arrival
from domain.windows.policy import WindowPolicy
from domain.windows.records import Invalid, OutcomeRecord

# In rising order: an outcome that several windows see keeps the highest.
ORPHAN, LATE_CORRECTION, SUPERSEDED, MATCHED = range(4)
FATE_NAMES = ("orphan", "late_correction", "superseded", "matched")


class OutcomeSide:
    """Holds the outcomes that a window may still use, in partition order.

    Outcomes are numbered as they come; number k sits at position k - `_first` of the parallel columns.
    """

    def __init__(self, policy: WindowPolicy, next_offset: int, newest_ms: int) -> None:
        self._policy = policy
        self.next_offset = next_offset
        self.newest_ms = newest_ms
        self.arrivals: list[Arrival] = []
        """Arrival windows whose fates are not decided, oldest first; the last is still filling."""
        self._first = 0
        self._times: list[int] = []
        self._records: list[OutcomeRecord] = []
        self._fates = bytearray()
        self._last: dict[str, int] = {}
        """Number of an id's last outcome."""
        self._earlier: dict[str, deque[int]] = {}
        """Numbers of its outcomes before that, if any."""

    def __len__(self) -> int:
        return len(self._records)

    @property
    def through_ms(self) -> int:
        """Cutoffs here or before are final. Never before the epoch."""
        return max(0, self.newest_ms - self._policy.slack_ms)

    def add(
        self,
        offsets: Sequence[int],
        timestamps: Sequence[int],
        records: Sequence[OutcomeRecord | Invalid | None],
    ) -> None:
        """Fold the next records of the partition; the three sequences are parallel, None is a heartbeat."""
        if not len(offsets) == len(timestamps) == len(records):
            raise ValueError("offsets, timestamps and records must be parallel")
        length, slack = self._policy.length_ms, self._policy.slack_ms
        newest = self.newest_ms
        arrival = self.arrivals[-1] if self.arrivals else None
        arrival_end = (arrival.window + 1) * length if arrival is not None else 0
        last, number = self._last, self._first + len(self._records)
        add_time, add_record = self._times.append, self._records.append
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
            outcome_id = record.prediction_id
            previous = last.get(outcome_id)
            if previous is not None:
                self._earlier.setdefault(outcome_id, deque()).append(previous)
            last[outcome_id] = number
            add_time(timestamp)
            add_record(record)
            number += 1
        self._fates.extend(bytes(len(self._records) - len(self._fates)))
        self.newest_ms = newest
        if len(offsets):
            self.next_offset = offsets[-1] + 1

    def settle(self, ids: Sequence[str], from_ms: int, cutoff_ms: int) -> list[OutcomeRecord | None]:
        """The outcome each id is scored with, or None, and the fates that follow.

        Eligible are outcomes with from_ms <= timestamp < cutoff_ms; the last in the partition wins.
        """
        first, times, records, fates = self._first, self._times, self._records, self._fates
        winners: list[OutcomeRecord | None] = []
        add = winners.append
        for outcome_id, number in zip(ids, map(self._last.get, ids), strict=True):
            if number is None:
                add(None)
            elif self._earlier and outcome_id in self._earlier:
                add(self._settle_several(outcome_id, from_ms, cutoff_ms))
            elif from_ms <= times[number - first] < cutoff_ms:
                fates[number - first] = MATCHED
                add(records[number - first])
            else:
                add(None)
        return winners

    def _settle_several(self, outcome_id: str, from_ms: int, cutoff_ms: int) -> OutcomeRecord | None:
        winner: OutcomeRecord | None = None
        for position in reversed(self._positions(outcome_id)):
            if not from_ms <= self._times[position] < cutoff_ms:
                continue
            fate = MATCHED if winner is None else SUPERSEDED
            self._fates[position] = max(self._fates[position], fate)
            winner = self._records[position] if winner is None else winner
        return winner

    def note_corrections(self, ids: Sequence[str], cutoff_ms: int, forgotten_ms: int) -> None:
        """Outcomes of `ids` from the cutoff on that no window could use are late corrections, not orphans."""
        first, fates, earlier = self._first, self._fates, self._earlier
        for outcome_id, number in zip(ids, map(self._last.get, ids), strict=True):
            # most ids have one outcome, and a window has used it
            if number is None or fates[number - first] == MATCHED and outcome_id not in earlier:
                continue
            for position in self._positions(outcome_id):
                if cutoff_ms <= self._times[position] < forgotten_ms:
                    fates[position] = max(fates[position], LATE_CORRECTION)

    def _positions(self, outcome_id: str) -> list[int]:
        last = self._last.get(outcome_id)
        if last is None:
            return []
        return [number - self._first for number in chain(self._earlier.get(outcome_id, ()), (last,))]

    def retire(self, arrival: Arrival) -> dict[str, int]:
        """Forget the outcomes of the oldest arrival window; what became of them."""
        if self.arrivals.pop(0) is not arrival:
            raise ValueError("arrival windows are retired oldest first")
        count = arrival.accepted
        fates = {name: self._fates.count(fate, 0, count) for fate, name in enumerate(FATE_NAMES)}
        for number, record in enumerate(self._records[:count], start=self._first):
            outcome_id = record.prediction_id
            if outcome_id in self._earlier:
                self._forget_earliest(outcome_id, number)
            else:
                del self._last[outcome_id]
        self._first += count
        del self._times[:count], self._records[:count], self._fates[:count]
        return fates

    def _forget_earliest(self, outcome_id: str, number: int) -> None:
        earlier = self._earlier[outcome_id]
        # oldest first, so the number to forget is the first of several
        earlier.remove(number)
        if not earlier:
            del self._earlier[outcome_id]
