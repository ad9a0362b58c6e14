"""Whatever stands in the log: what is invalid is kept and counted, what is valid is tallied."""

from pathlib import Path

import orjson
import pytest
from structlog.testing import capture_logs

from consumers.services.status import status
from consumers.store.errors import DeploymentMismatch
from consumers.store.repositories.tallies import TallyRepository
from consumers.workers.relay import Relay
from consumers.workers.shell import settle
from consumers.workers.tally import PartitionsDiffer, TooManyInvalid
from domain.registry.version import Lineage, ModelArtifact, ModelMetadata
from domain.windows.policy import WindowPolicy
from domain.windows.progress import Progress
from schemas.clock import from_ms
from schemas.errors import UnknownTopic
from schemas.logfile import NewRecord, TopicSpec
from tests.services.deployment import (
    LENGTH,
    WALL_MS,
    Deployment,
    deployment,
    outcome,
    prediction,
    profile,
)

GOOD = (
    b'{"occurred_at":"1970-01-01T00:00:00.500Z","prediction_id":"p","model":"m","version":"1",'
    b'"prediction":%s,"features":{%s},"horizon_s":%s}'
)
BAD_PREDICTIONS = {
    "not JSON": (b"\x00\xff nonsense", "record"),
    "not an object": (b"[1,2]", "record"),
    "wrong type": (GOOD % (b"{}", b"", b"1"), "prediction"),
    "no horizon": (GOOD % (b"1", b"", b"null"), "horizon_s"),
    "NaN": (GOOD % (b"NaN", b"", b"1"), "prediction"),
    "too large a number": (GOOD % (b"1e999", b"", b"1"), "prediction"),
    "10 MB": (GOOD % (b"1", b'"x":"' + b"a" * 10_000_000 + b'"', b"1"), "1048576"),
    "10,000 features": (
        GOOD % (b"1", b",".join(b'"f%d":1' % i for i in range(10_000)), b"1"),
        "features",
    ),
    "horizon over the limit": (GOOD % (b"1", b"", b"3601"), "3600"),
    "half a surrogate": (GOOD % (b"1", b'"\\ud800":1', b"1"), "record"),
    "deep nesting": (b'{"prediction":' + b"[" * 50_000, "record"),
    "not UTF-8": (GOOD % (b"1", b'"\xff\xfe":1', b"1"), "record"),
}
BAD_OUTCOMES = {
    "not JSON": (b"nope", "record"),
    "infinite": (b'{"occurred_at":"1970-01-01T00:00:00Z","prediction_id":"p","actual":-1e999}', "actual"),
    "no id": (b'{"occurred_at":"1970-01-01T00:00:00Z","actual":1}', "prediction_id"),
}


async def with_bad_input(where: Deployment) -> dict[tuple[str, int], str]:
    """A log with every kind of bad record between good ones; what each bad one's reason has to name."""
    topics, expected = where.topics, {}
    generous = await where.another_log(future_ms=10**15)
    for topic, bad in ((topics.predictions, BAD_PREDICTIONS), (topics.outcomes, BAD_OUTCOMES)):
        for at, (value, named) in enumerate(bad.values()):
            good = prediction(at, 100 * at) if topic == topics.predictions else outcome(at, 100 * at)
            await where.append(good)
            ((_, offset),) = await where.log.append(
                [NewRecord(topic=topic, key=b"k", value=value, timestamp_ms=100 * at)]
            ) or [(0, 0)]
            expected[topic, offset] = named
        lies = NewRecord(topic=topic, key=None, value=b"{}", timestamp_ms=10**14, partition=0)
        early = NewRecord(topic=topic, key=None, value=b"{}", timestamp_ms=1, partition=0)
        ((_, future), (_, negative)) = await generous.append([lies, early]) or []
        where.sql(
            "log.db", 'UPDATE records SET timestamp_ms = -5 WHERE topic = ? AND "offset" = ?', topic, negative
        )
        expected |= {(topic, future): "later than the latest accepted", (topic, negative): "before the epoch"}
    await where.append(prediction(500, 4_500), outcome(500, 5_000))
    await where.beat(60_000)
    return expected


async def test_every_bad_record_is_dead_lettered_once_and_the_partition_goes_on(
    tmp_path: Path, migrated_file: Path
) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        expected = await with_bad_input(where)
        for batch_records in (1, 3, 1_000, 1_000):  # new workers; the last two find everything done
            worker = await where.tally(batch_records=batch_records)
            for _ in range(12 if batch_records < 1_000 else 10):
                await worker.step()
            await where.relayed()
        where.sql("store.db", "DELETE FROM partition_progress")
        await where.tallied()
        await where.relayed()
        letters = await where.dead_letters()
        found = {}
        for letter in letters:
            headers = {name: content.decode() for name, content in letter.headers}
            assert headers["partition"] == "0"
            assert len(headers["reason"]) <= 300
            found[headers["topic"], int(headers["offset"])] = headers["reason"]
            (original,) = await where.log.read(headers["topic"], 0, int(headers["offset"]), 1)
            assert letter.value == original.value
            assert 0 <= letter.timestamp_ms <= WALL_MS
        assert len(letters) == len(expected) == len(found)
        assert {key: named in found[key] for key, named in expected.items()} == dict.fromkeys(expected, True)
        n = sum(
            orjson.loads(body)["n"] for key, (_, body) in (await where.rows()).items() if key[0] == "input"
        )
        assert n == len(BAD_PREDICTIONS) + 1
        last = ("score", 4_000, 0, "m", "1", "", "", 0, 1)
        assert orjson.loads((await where.rows())[last][1])["matched"] == 1
        predictions, outcomes = await where.accounts()
        assert predictions.fates["invalid"] == len(BAD_PREDICTIONS) + 2
        assert outcomes.fates["invalid"] == len(BAD_OUTCOMES) + 2
        assert await where.balanced()
        assert await where.divergences() == 0
        shown = await status(where.store, where.log, where.topics)
        assert shown["dead_letters"] == len(expected)
        assert shown["outbox_waiting"] == 0


async def test_a_writer_whose_clock_is_ahead_does_not_stop_the_relay(
    tmp_path: Path, migrated_file: Path
) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        ahead = await where.another_log(now_ms=lambda: WALL_MS + 86_400_000)
        bad = NewRecord(
            topic=where.topics.predictions, key=b"k", value=b"?", timestamp_ms=WALL_MS + 86_400_000
        )
        await ahead.append([bad])
        await where.tallied()
        await where.relayed()
        (letter,) = await where.dead_letters()
        assert letter.timestamp_ms == WALL_MS


@pytest.mark.parametrize("outcomes", [False, True])
async def test_a_topic_of_nothing_but_rubbish_stops_the_worker_also_if_the_other_is_sound(
    outcomes: bool, tmp_path: Path, migrated_file: Path
) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        rotten = where.topics.outcomes if outcomes else where.topics.predictions
        for at in range(60):
            bad = NewRecord(topic=rotten, key=b"k", value=b"?", timestamp_ms=100 * at)
            await where.append(bad, prediction(at, 100 * at) if outcomes else outcome(at, 100 * at))
        worker = await where.tally(batch_records=5, dead_letter_limit=30)
        with pytest.raises(TooManyInvalid, match=r"partition 0: 35 invalid records in a row, .*_limit"):
            await settle({"tally": worker})
        # with a higher limit it goes on where it was
        await where.tallied(batch_records=5, dead_letter_limit=60)
        await where.relayed()
        assert len(await where.dead_letters()) == 60


async def test_some_rubbish_among_good_records_never_stops_it(tmp_path: Path, migrated_file: Path) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        bad = NewRecord(topic=where.topics.predictions, key=b"k", value=b"?", timestamp_ms=1)
        for at in range(20):
            await where.append(bad, bad, bad, bad, prediction(at, 1))
        with capture_logs() as lines:
            worker = await where.tallied(batch_records=5, dead_letter_limit=10)
        assert worker.counts.invalid == 80
        # the wall clock of this deployment stands still, so the others are held back
        (said,) = (line for line in lines if line["event"] == "tally.invalid")
        assert (said["topic"], said["partition"], said["count"]) == (where.topics.predictions, 0, 4)


async def test_unknown_versions_are_tallied_without_features_and_shown(
    tmp_path: Path, migrated_file: Path
) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        await where.register(profile("1"))
        await where.append(
            prediction(1, 100), prediction(2, 200, version="9"), prediction(3, 3_200, version="9")
        )
        await where.beat(9_000)
        await where.tallied()
        bodies = {
            key[4]: orjson.loads(body) for key, (_, body) in (await where.rows()).items() if key[0] == "input"
        }
        assert "features" in bodies["1"]
        assert "features" not in bodies["9"]
        assert bodies["9"]["n"] == 1
        shown = await status(where.store, where.log, where.topics)
        assert shown["unknown_versions"] == [
            {"model": "m", "version": "9", "first_window_ms": 0, "last_window_ms": 3_000}
        ]
        assert [one["model"] for one in shown["models"]] == ["m"]


async def test_a_later_profile_counts_from_the_first_window_that_no_partition_has_closed(
    tmp_path: Path, migrated_file: Path
) -> None:
    async with deployment(tmp_path, migrated_file, partitions=2) as where:
        for window in range(8):
            for partition in range(2):
                at = prediction(10 * window + partition, LENGTH * window + 500)
                await where.append(at, partition=partition)
        await where.beat(3_100 + 100, [0])
        first, second = await where.tally(partitions=(0,)), await where.tally(partitions=(1,))
        slow = await where.tally(partitions=(0, 1), batch_records=1)
        assert await first.step()
        async with where.store.read() as session:
            at_ms = await TallyRepository(session).last_input_ms()
        assert at_ms == 8_000 - LENGTH
        await register_through_the_registry(where)
        await where.beat(20_000)
        for worker in (second, slow, first):
            while await worker.step():
                pass
        where.sql("store.db", "DELETE FROM partition_progress")
        await where.tallied()
        assert await where.divergences() == 0
        counted = {
            key[1:3] for key, (_, body) in (await where.rows()).items() if "features" in orjson.loads(body)
        }
        assert counted == {(7_000, 0), (7_000, 1)}


async def register_through_the_registry(where: Deployment) -> None:
    async with where.store.write() as session:
        await where.registry.register_version(
            session,
            ModelMetadata(model="m", created_at_ms=1),
            ModelArtifact(uri="file:///x", sha256="a" * 64, manifest={"files": []}),
            profile=profile(),
            lineage=Lineage(source="import"),
            actor="ada",
            reason="a test",
            at_ms=1,
        )


async def test_a_profile_respects_rows_of_a_worker_whose_progress_was_not_kept(
    tmp_path: Path, migrated_file: Path
) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        for window in range(8):
            await where.append(prediction(window, LENGTH * window + 500))
        await where.append(prediction(99, 9_900))
        worker = await where.tally()
        assert await worker.step()
        # as if another worker's progress, which this one's does not dominate, had been there and stayed
        start = Progress.start(0)
        for name in start.__slots__:
            where.sql("store.db", f"UPDATE partition_progress SET {name} = 0")
        await register_through_the_registry(where)
        await where.beat(20_000)
        await where.tallied()
        assert await where.divergences() == 0


async def test_a_row_that_differs_from_the_stored_one_is_a_divergence(
    tmp_path: Path, migrated_file: Path
) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        for at in range(5):
            await where.append(prediction(at, LENGTH * at), outcome(at, LENGTH * at + 900))
        await where.beat(20_000)
        await where.tallied()
        where.sql(
            "store.db",
            "UPDATE window_tallies SET body = ?, digest = ? WHERE kind = 'score' AND window_start_ms = 2000",
            b"{}",
            "0" * 64,
        )
        for _ in range(2):
            where.sql("store.db", "DELETE FROM partition_progress")
            with capture_logs() as lines:
                worker = await where.tallied()
            assert worker.counts.divergences == 1
            (line,) = [line for line in lines if line["log_level"] == "error"]
            assert line["event"] == "tally.divergence"
            assert orjson.loads(line["row"])["window_start_ms"] == 2_000
        assert await where.divergences() == 1
        assert (await status(where.store, where.log, where.topics))["divergences"] == 1
        # the stored row is left as it was found
        assert [body for _, body in (await where.rows()).values()].count(b"{}") == 1


async def test_topics_of_unequal_partition_counts_are_refused(tmp_path: Path, migrated_file: Path) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        where.topics = type(where.topics)("other.")
        with pytest.raises(UnknownTopic, match=r"^the log has no topic 'other.predictions'$"):
            await where.tally()
        await where.log.create_topics(
            [
                TopicSpec(name="other.predictions", partitions=2, cleanup="delete"),
                TopicSpec(name="other.outcomes", partitions=3, cleanup="delete"),
            ]
        )
        with pytest.raises(PartitionsDiffer) as refused:
            await where.tally()
        assert "predictions has 2 partitions, outcomes has 3" in str(refused.value)
        assert "\n" not in str(refused.value)


async def test_another_window_policy_on_an_existing_store_is_refused(
    tmp_path: Path, migrated_file: Path
) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        await where.tally()
        await where.tally()
        where.policy = WindowPolicy(length_ms=2_000)
        with pytest.raises(DeploymentMismatch) as refused:
            await where.tally()
        assert "windows" in str(refused.value)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("sizes", "batches"), [([3, 3, 3, 3, 3], [2, 2, 1]), ([1, 10, 1], [1, 1, 1])])
async def test_the_relay_holds_few_large_letters_at_once(
    sizes: list[int], batches: list[int], tmp_path: Path, migrated_file: Path
) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        for size in sizes:
            value = b"?" * (size << 20)
            await where.append(
                NewRecord(topic=where.topics.predictions, key=b"k", value=value, timestamp_ms=1)
            )
        await where.tallied()
        relay = Relay(store=where.store, log=where.log, now=lambda: from_ms(WALL_MS))
        assert [await relay.step() for _ in [*batches, 0]] == [*batches, 0]
        assert [len(letter.value or b"") >> 20 for letter in await where.dead_letters()] == sizes
