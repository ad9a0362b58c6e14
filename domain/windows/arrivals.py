"""Counters of what arrived, by the window of the partition's newest timestamp at arrival.

`newest` never falls, so the records of one arrival window are one stretch of the partition, and the counters
are a function of the log.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from domain.windows.records import Invalid

PREDICTION_FATES = ("tallied", "duplicate", "late", "invalid")
OUTCOME_FATES = ("matched", "superseded", "late_correction", "orphan", "late", "invalid")


@dataclass(slots=True)
class Arrival:
    """One arrival window of one side. `offset` and `newest_before_ms` are those of its first record."""

    window: int
    offset: int
    newest_before_ms: int
    records: int = 0
    """All records, heartbeats too."""
    heartbeat: int = 0
    invalid: int = 0
    late: int = 0
    duplicate: int = 0

    @property
    def read(self) -> int:
        return self.records - self.heartbeat

    @property
    def accepted(self) -> int:
        """Records that were neither late nor invalid nor a heartbeat."""
        return self.read - self.late - self.invalid

    def leave_out(self, record: object) -> None:
        """Count a record that takes no part: a heartbeat (None), an invalid one, else a late one."""
        if record is None:
            self.heartbeat += 1
        elif isinstance(record, Invalid):
            self.invalid += 1
        else:
            self.late += 1

    def prediction_counts(self) -> dict[str, int]:
        return {
            "read": self.read,
            "tallied": self.accepted - self.duplicate,
            "duplicate": self.duplicate,
            "late": self.late,
            "invalid": self.invalid,
            "heartbeat": self.heartbeat,
        }

    def outcome_counts(self, fates: Mapping[str, int]) -> dict[str, int]:
        """`fates` holds the counts of the accepted records."""
        return {
            "read": self.read,
            **fates,
            "late": self.late,
            "invalid": self.invalid,
            "heartbeat": self.heartbeat,
        }


def added(total: Mapping[str, int], counts: Mapping[str, int]) -> dict[str, int]:
    """Sum by name; a name missing on one side counts 0."""
    return {name: total.get(name, 0) + counts.get(name, 0) for name in {**total, **counts}}
