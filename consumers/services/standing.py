"""Partitions that stand still because their next records cannot be decoded: when to try them again."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from consumers.logger import get_logger
from schemas.errors import UnreadableBatch

_log = get_logger("tally")
_TRIED_AGAIN_MS = 5_000
_SAID_AGAIN_MS = 600_000


@dataclass(slots=True)
class _Standing:
    error: UnreadableBatch
    tried_ms: int
    said_ms: int


def _place(error: UnreadableBatch) -> tuple[str, int]:
    return error.topic, error.first_offset


@dataclass(slots=True)
class StandingPartitions:
    """Tried every few seconds: another replica may have the batch, or a person said that it is skipped."""

    _standing: dict[int, _Standing] = field(default_factory=dict)

    def stand(self, partition: int, error: UnreadableBatch, now_ms: int) -> None:
        """The partition was tried in vain. Logged the first time, then every ten minutes."""
        before = self._standing.get(partition)
        said_ms = now_ms if before is None else before.said_ms
        other = before is None or _place(before.error) != _place(error)
        if other or now_ms - said_ms >= _SAID_AGAIN_MS:
            _log.error("tally.unreadable", partition=partition, offset=error.first_offset, message=str(error))
            said_ms = now_ms
        self._standing[partition] = _Standing(error, now_ms, said_ms)

    def due(self, held: Sequence[int], now_ms: int) -> list[int]:
        """Those of `held` that are to be read now. What is held no more is somebody else's: forgotten."""
        kept = {each: self._standing[each] for each in held if each in self._standing}
        self._standing = kept
        # a clock that is set back keeps nobody waiting
        alone = {each for each in kept if 0 <= now_ms - kept[each].tried_ms < _TRIED_AGAIN_MS}
        return [each for each in held if each not in alone]

    def goes_on(self, partition: int, topic: str, offset: int) -> None:
        """What is at `offset` was read, or is the end of the log."""
        standing = self._standing.get(partition)
        if standing is None or standing.error.topic != topic or offset < standing.error.first_offset:
            return
        del self._standing[partition]
        _log.info("tally.reads_on", partition=partition, topic=topic, offset=offset)

    def errors(self) -> list[UnreadableBatch]:
        """Why they stand, by partition."""
        return [self._standing[partition].error for partition in sorted(self._standing)]
