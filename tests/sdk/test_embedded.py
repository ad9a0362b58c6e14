"""The SDK on the embedded log, held to what it does on Kafka."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lifecycle_sdk import EmbeddedEvents, EmbeddedPublisher, EventSource
from lifecycle_sdk.contracts import LifecycleEvent, LogRecord, Topics, record_of
from tests.sdk.announcements import new_log
from tests.sdk.conformance import EventSourceConformance, PublisherConformance


class EmbeddedBench:
    """A log file of its own."""

    def __init__(self, path: Path) -> None:
        self.topics = Topics()
        self.path = path
        self.log = new_log(path)

    def publisher(self, *, max_batch: int = 10_000) -> EmbeddedPublisher:
        return EmbeddedPublisher(self.path, producer="test", max_batch=max_batch)

    def source(self) -> EventSource:
        return EmbeddedEvents(self.path)

    async def announce(self, *events: LifecycleEvent) -> None:
        self.log.append([record_of(event, self.topics, source="test") for event in events])

    async def records(self, topic: str) -> list[LogRecord]:
        partitions = range(self.log.topics()[topic].partitions)
        return [record for partition in partitions for record in self.log.read(topic, partition, 0, 10_000)]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[EmbeddedBench]:
    made = EmbeddedBench(tmp_path / "log.sqlite")
    yield made
    made.log.close()


class TestEmbeddedPublisher(PublisherConformance):
    """Its sequences are in test_publisher.py."""


class TestEmbeddedEvents(EventSourceConformance):
    """Its retention is in test_feeds.py."""
