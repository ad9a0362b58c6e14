"""The log in memory, held to the port."""

import pytest

from consumers.log.memory import InMemoryLog
from consumers.log.port import EventLog

from .conformance import FOUR, ONE, Clock, SequencedLogConformance


class TestInMemoryLog(SequencedLogConformance):
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    async def log(self, clock: Clock) -> EventLog:
        log = InMemoryLog(now_ms=clock)
        await log.create_topics([ONE, FOUR])
        return log
