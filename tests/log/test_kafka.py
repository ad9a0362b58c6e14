"""The log on Kafka: held to the port, and to what real brokers do besides."""

from collections.abc import AsyncIterator
from typing import ClassVar

import pytest

from consumers.log.kafka import KafkaLog
from consumers.log.port import EventLog
from consumers.settings import KafkaSettings

from .conformance import FOUR, ONE, Clock, EventLogConformance
from .kafka_prefixed import PrefixedLog


class TestKafkaLog(EventLogConformance):
    keeps_append_time: ClassVar[bool] = False

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    async def log(self, clock: Clock, kafka: str, topic_prefix: str) -> AsyncIterator[EventLog]:
        opened = await KafkaLog.open(KafkaSettings(bootstrap=kafka), now_ms=clock, prefix=topic_prefix)
        log = PrefixedLog(opened, topic_prefix)
        await log.create_topics([ONE, FOUR])
        yield log
        await log.close()
