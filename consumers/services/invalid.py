"""What a worker says of invalid records: that there are some, and how the last one could be found."""

from collections.abc import Sequence
from dataclasses import dataclass

from consumers.log.port import LogRecord
from consumers.logger import get_logger
from domain.windows.records import Invalid

_log = get_logger("tally")
_SAID_AGAIN_MS = 60_000


@dataclass(slots=True)
class InvalidRecords:
    """Logged at once, then at most once a minute with how many there were: a topic may be full of them."""

    _count: int = 0
    _last: tuple[LogRecord, Invalid] | None = None
    _said_ms: int | None = None

    def met(self, bad: Sequence[tuple[LogRecord, Invalid]], now_ms: int) -> None:
        """After every batch, also one without any: what was held back is said then."""
        if bad:
            self._count += len(bad)
            self._last = bad[-1]
        # a clock that is set back silences nobody
        held_back = self._said_ms is not None and 0 <= now_ms - self._said_ms < _SAID_AGAIN_MS
        if self._last is None or held_back:
            return
        record, invalid = self._last
        _log.warning(
            "tally.invalid",
            message="records are invalid and were dead-lettered: lifecycle dead-letter list shows them",
            count=self._count,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            reason=invalid.reason,
        )
        self._count, self._last, self._said_ms = 0, None, now_ms
