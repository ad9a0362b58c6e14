"""Notices a consumer that has stopped committing: its partition holds more and its position stands still."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from consumers.log.port import LogStuck

Partition = tuple[str, int]
_LOOKS = 4
"""No single look makes more of the time up than one part in so many."""


@dataclass(slots=True)
class CommitWatch:
    """Told now and then how far each held partition is; time is passed in, in seconds."""

    after_s: float
    _seen: dict[Partition, tuple[int, float, float]] = field(default_factory=dict)
    """Position, how long it has been seen to stand there, when it was seen last."""

    def hold(self, partitions: Iterable[Partition]) -> None:
        """Forget what is not among `partitions` any more."""
        held = set(partitions)
        self._seen = {partition: seen for partition, seen in self._seen.items() if partition in held}

    def excuse(self, partition: Partition) -> None:
        """The partition stands still for a known reason: it has all its time again."""
        self._seen.pop(partition, None)

    def see(self, partition: Partition, position: int, end: int, now_s: float) -> None:
        """Raises LogStuck when the position has stood before the end for `after_s`."""
        before, stood_s, seen_s = self._seen.get(partition, (position, 0.0, now_s))
        # while nobody looked (the brokers were away) the consumer may have had no chance to move it either
        stood_s += min(now_s - seen_s, self.after_s / _LOOKS)
        if position >= end or position != before:
            stood_s = 0.0
        self._seen[partition] = (position, stood_s, now_s)
        if stood_s >= self.after_s:
            topic, number = partition
            raise LogStuck(self.after_s, f"{topic}[{number}]")
