"""What `lifecycle bench tally` measures is the whole stream, on every engine; it leaves nothing behind."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers.bench import kafka as on_kafka
from consumers.bench.cost import Spread, TallyCost, pinned
from consumers.bench.stream import StreamPlan, chunks
from consumers.bench.tally import measure
from consumers.log.kafka import KafkaLog
from consumers.settings import KafkaSettings
from schemas.topics import Topics
from tests.cli.commands import lifecycle

PLAN = StreamPlan(predictions=600, models=2, features=3, partitions=2)
RECORDS = sum(map(len, chunks(PLAN, Topics("t."), 1_000)))


@pytest.fixture
def collector() -> Iterator[None]:
    """The garbage collector as it was: the command sets it up for a process that only measures."""
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    gc.unfreeze()


async def test_the_embedded_log_is_measured_whatever_brokers_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFECYCLE_KAFKA__BOOTSTRAP", "127.0.0.1:1")
    cost = await measure(tmp_path, PLAN, repeats=2)
    assert_whole(cost)
    assert (cost.log, cost.store) == ("embedded", "SQLite")


async def test_kafka_is_measured(tmp_path: Path, kafka: str) -> None:
    cost = await on_kafka.measure(tmp_path, PLAN, repeats=2, bootstrap=kafka)
    assert_whole(cost)
    assert (cost.log, cost.store) == ("kafka", "SQLite")


async def test_topics_are_deleted_even_when_measuring_fails(tmp_path: Path, kafka: str) -> None:
    prefixes = []

    async def fail() -> None:
        async with on_kafka.filled(tmp_path, PLAN, kafka) as topics:
            prefixes.append(topics.settings.topic_prefix)
            assert topics.records == RECORDS
            assert topics.topics.predictions in await names(kafka, prefixes[0])
            raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        await fail()
    assert await names(kafka, prefixes[0]) == []


async def test_postgresql_is_measured_in_a_database_of_its_own(
    tmp_path: Path, kafka: str, pg_url: str
) -> None:
    cost = await on_kafka.measure(tmp_path, PLAN, repeats=1, bootstrap=kafka, database_url=pg_url)
    assert_whole(cost)
    assert cost.store == "PostgreSQL"


def test_the_process_is_on_one_core_only_while_it_measures() -> None:
    before = os.sched_getaffinity(0)
    with pinned() as core:
        assert os.sched_getaffinity(0) == {core}
    assert os.sched_getaffinity(0) == before


@pytest.mark.usefixtures("collector")
def test_brokers_that_do_not_answer_are_one_line() -> None:
    said = lifecycle("bench", "tally", "--predictions", "1000", "--kafka", "127.0.0.1:1")
    assert said.code == 3
    assert said.err.splitlines()[-1].startswith("lifecycle: the log 127.0.0.1:1 is unavailable")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--database", "postgresql://h/n"], "--database goes with --kafka"),
        (["--kafka", "h:1", "--database", "sqlite:///x"], "must be a URL such as postgresql://HOST/NAME"),
    ],
)
def test_a_database_that_cannot_be_used_is_refused(words: list[str], reason: str) -> None:
    said = lifecycle("bench", "tally", *words)
    assert said.code == 2
    assert reason in said.err


def test_the_median_counts_and_the_spread_is_told() -> None:
    spread = Spread.of([3.0, 1.0, 2.0])
    assert (spread.median, spread.least, spread.most) == (2.0, 1.0, 3.0)
    assert str(spread) == "2.00 (1.00 to 3.00)"


def assert_whole(cost: TallyCost) -> None:
    assert cost.records == RECORDS
    # two sides of each model's window in each partition
    assert cost.rows == 2 * PLAN.models * PLAN.partitions
    assert cost.divergences == 0
    assert cost.worker.least > 0
    told = cost.to_json()
    assert told["ratio_to_floor"] == round(cost.worker.median / cost.floor.median, 2)


async def names(kafka: str, prefix: str) -> list[str]:
    log = await KafkaLog.open(KafkaSettings(bootstrap=kafka), now_ms=lambda: 0, prefix=prefix)
    try:
        return list(await log.topics())
    finally:
        await log.close()
