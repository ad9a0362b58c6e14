"""Publishers with sequences keep one contract; the embedded one keeps it in the file, over restarts."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lifecycle_sdk import (
    BatchTooLarge,
    EmbeddedPublisher,
    FutureTimestamp,
    InMemoryPublisher,
    LogUnavailable,
    Publisher,
)
from lifecycle_sdk.contracts import (
    LogFile,
    LogRecord,
    Topics,
)
from tests.sdk.announcements import new_log, outcome, prediction

TOPICS = Topics()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LogFile]:
    file = new_log(tmp_path / "log.sqlite")
    yield file
    file.close()


@pytest.fixture(params=["embedded", "in-memory"])
async def publisher(request: pytest.FixtureRequest, log: LogFile) -> Publisher:
    if request.param == "in-memory":
        return InMemoryPublisher(max_batch=3)
    return EmbeddedPublisher(Path(log.path), producer="service", max_batch=3)


def records(log: LogFile, topic: str) -> list[LogRecord]:
    return [r for part in range(log.topics()[topic].partitions) for r in log.read(topic, part, 0, 1_000)]


async def test_it_counts_what_it_has_sent(publisher: Publisher) -> None:
    await publisher.predict(prediction())
    await publisher.publish([prediction("p2"), outcome("p1"), outcome("p2")])
    await publisher.outcome(outcome("p3"))
    assert (publisher.sent.predictions, publisher.sent.outcomes) == (2, 3)
    await publisher.close()


async def test_a_sequence_is_published_once(publisher: Publisher) -> None:
    assert await publisher.last_sequence() is None
    assert await publisher.publish([prediction()], sequence=7)
    assert not await publisher.publish([prediction()], sequence=7)
    assert not await publisher.publish([prediction("p2")], sequence=6)
    assert await publisher.last_sequence() == 7
    assert (publisher.sent.predictions, publisher.sent.repeated_batches) == (1, 2)
    await publisher.close()


async def test_an_empty_batch_moves_the_sequence(publisher: Publisher) -> None:
    assert await publisher.publish([], sequence=1)
    assert await publisher.last_sequence() == 1
    await publisher.close()


async def test_a_batch_is_bounded_and_then_nothing_is_sent(publisher: Publisher) -> None:
    with pytest.raises(BatchTooLarge, match="4 events is over the limit of 3"):
        await publisher.publish([prediction(f"p{n}") for n in range(4)], sequence=1)
    assert await publisher.last_sequence() is None
    assert publisher.sent.predictions == 0
    await publisher.close()


async def test_a_restarted_producer_goes_on_where_it_was(log: LogFile) -> None:
    for start in range(3):
        async with EmbeddedPublisher(Path(log.path), producer="service") as publisher:
            for sequence in range(start + 1):
                await publisher.publish([prediction(f"p{sequence}")], sequence=sequence)
    assert sorted(record.key or b"" for record in records(log, TOPICS.predictions)) == [b"p0", b"p1", b"p2"]


async def test_producers_do_not_share_a_sequence(log: LogFile) -> None:
    for name in ("one", "two"):
        async with EmbeddedPublisher(Path(log.path), producer=name) as publisher:
            assert await publisher.publish([prediction(name)], sequence=1)
    assert len(records(log, TOPICS.predictions)) == 2


async def test_an_event_from_the_future_is_refused_with_its_whole_batch(log: LogFile) -> None:
    late = datetime(2999, 1, 1, tzinfo=UTC)
    async with EmbeddedPublisher(Path(log.path), producer="service") as publisher:
        with pytest.raises(FutureTimestamp):
            await publisher.publish([prediction(), prediction("p2", at=late)], sequence=1)
        assert await publisher.last_sequence() is None
        assert publisher.sent.predictions == 0
    assert records(log, TOPICS.predictions) == []


def test_a_file_that_is_no_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.sqlite").write_text("this is not a database, whatever its name says" * 50)
    with pytest.raises(LogUnavailable):
        EmbeddedPublisher(tmp_path / "log.sqlite", producer="service")
