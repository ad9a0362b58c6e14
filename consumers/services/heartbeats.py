"""Heartbeats into idle partitions, so that time goes on in the log itself and windows close."""

from collections.abc import Callable
from dataclasses import dataclass, field

from consumers.log.port import EventLog, FutureTimestamp
from consumers.logger import get_logger
from schemas.outgoing import heartbeat

_log = get_logger("tally")
_SAID_AGAIN_MS = 60_000


@dataclass(slots=True, kw_only=True)
class Heartbeats:
    """Notes when records came, and appends an empty one where none has come for a while."""

    log: EventLog
    now_ms: Callable[[], int]
    ahead: str | None = None
    """Why the brokers took no beat the last time: this machine's clock."""
    _moved_ms: dict[tuple[str, int], int] = field(default_factory=dict)
    _said_ms: int | None = None

    def moved(self, topic: str, partition: int) -> None:
        """A record came, or it is not known how long none has."""
        self._moved_ms[topic, partition] = self.now_ms()

    async def beat(self, topic: str, partition: int, idle_ms: int) -> None:
        """Append an empty record if none has come for `idle_ms`. Passes LogUnavailable on.

        A clock that is too far ahead of the brokers' costs the beat and nothing else: what is read here is
        still folded, and others can hold the partition.
        """
        now = self.now_ms()
        # a clock that is set back keeps nobody waiting
        if 0 <= now - self._moved_ms.setdefault((topic, partition), now) < idle_ms:
            return
        try:
            await self.log.append([heartbeat(topic, partition, now)])
        except FutureTimestamp as error:
            self.ahead = (
                f"this machine's clock is ahead of the log's, idle partitions get no heartbeat: {error}"
            )
            # asked again when it would be time for the next one
            self._moved_ms[topic, partition] = now
            if self._said_ms is None or now - self._said_ms >= _SAID_AGAIN_MS:
                self._said_ms = now
                _log.error("tally.clock_ahead", message=self.ahead, topic=topic, partition=partition)
        else:
            self.ahead = None
