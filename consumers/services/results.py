"""What came of the events of the control plane: counted by the first word of the result, and logged."""

from collections import Counter

from consumers.log.port import LogRecord
from consumers.logger import get_logger
from consumers.services.handlers import FORGED, INVALID

_log = get_logger("registry")
FAILED = "failed"


class Results(Counter[str]):
    """First word of each result -> how often, since the start."""

    def note(self, record: LogRecord, result: str) -> None:
        """Count and log what a handler answered."""
        word = result.partition(" ")[0].rstrip(":")
        self[word] += 1
        if word in (FORGED, INVALID):
            _log.error(f"registry.{word}", message="a record was refused and dead-lettered", **_place(record))
        else:
            _log.info("registry.handled", message=result, **_place(record))

    def note_failure(self, record: LogRecord, error: Exception) -> None:
        """Count and log an event that no handler could do anything with: a defect of this service."""
        self[FAILED] += 1
        _log.error(
            f"registry.{FAILED}",
            message="an event failed and was dead-lettered",
            exc_info=error,
            **_place(record),
        )


def _place(record: LogRecord) -> dict[str, str | int]:
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}
