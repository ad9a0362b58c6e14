"""Replay recomputes everything from the log, and finds whatever was changed on either side."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consumers.services.refolding import LogIncomplete
from consumers.store.repositories.tallies import TallyRepository
from tests.services.deployment import LENGTH, Deployment, deployment, drifting_life, prediction


@pytest.fixture
async def done(tmp_path: Path, migrated_file: Path) -> AsyncIterator[Deployment]:
    """A deployment with a drift in it, tallied and judged."""
    async with deployment(tmp_path, migrated_file, partitions=2) as where:
        await drifting_life(where)
        await where.tallied(batch_records=700)
        await where.judged()
        yield where


async def change_an_outcome(where: Deployment, window: int) -> None:
    """One outcome of `window` gets another value, in the log file itself."""
    found = where.sql(
        "log.db",
        'SELECT partition, "offset" FROM records WHERE topic = ? AND timestamp_ms >= ?'
        " ORDER BY timestamp_ms LIMIT 1",
        where.topics.outcomes,
        window * LENGTH + 20,
    )
    where.sql(
        "log.db",
        """UPDATE records
           SET value = CAST(replace(CAST(value AS TEXT), '"actual":0.', '"actual":0.0') AS BLOB)"""
        ' WHERE topic = ? AND partition = ? AND "offset" = ?',
        where.topics.outcomes,
        *found[0],
    )


async def test_a_run_is_replayed_byte_for_byte(done: Deployment) -> None:
    report = await done.replaying.replay()
    assert report.equal
    assert report.decisions == len(await done.decisions()) >= 3
    assert report.rows == len(await done.rows()) == 14 * 2 * 2
    assert report.row_differences == 0


async def test_workers_that_are_ahead_of_the_judge_are_no_difference(done: Deployment) -> None:
    await done.append(*(prediction(9_000 + at, 24_500) for at in range(300)))
    await done.beat(60_000)
    assert (await done.replaying.replay()).equal
    await done.tallied()
    assert (await done.replaying.replay()).equal


@pytest.mark.parametrize("window", [2, 9])
async def test_one_changed_outcome_is_found_in_the_first_decision_after_it(
    done: Deployment, window: int
) -> None:
    before = await done.decisions()
    await change_an_outcome(done, window)
    report = await done.replaying.replay()
    assert not report.equal
    assert report.row_differences == 1
    assert report.first_row is not None
    assert (report.first_row.kind, report.first_row.window_start_ms) == ("score", window * LENGTH)
    due_ms = (window + 1) * LENGTH + 1_500
    expected = [decision for decision in before if decision.at_ms >= due_ms]
    if expected:
        assert report.first_difference is not None
        assert report.first_difference.decision.at_ms == expected[0].at_ms
        assert report.first_difference.stored in expected
    else:
        assert report.first_difference is None


async def test_verifying_a_decision_recomputes_just_that_one(done: Deployment) -> None:
    decisions = await done.decisions()
    for decision in decisions:
        assert await done.replaying.verify(decision) == decision
    await change_an_outcome(done, 2)
    for decision in decisions:
        again = await done.replaying.verify(decision)
        assert (again == decision) == (decision.at_ms < 3 * LENGTH + 1_500)


async def test_a_decision_that_was_tampered_with_is_named(done: Deployment) -> None:
    victim = (await done.decisions())[1]
    done.sql(
        "store.db",
        "UPDATE decisions SET body = ? WHERE decision_id = ?",
        victim.body.replace(b'"kind"', b'"Kind"'),
        victim.decision_id,
    )
    report = await done.replaying.replay()
    assert report.row_differences == 0
    assert report.first_difference is not None
    assert report.first_difference.decision.decision_id == victim.decision_id
    assert report.first_difference.recomputed == victim


async def test_a_decision_that_was_removed_or_invented_is_named(done: Deployment) -> None:
    first, *others = await done.decisions()
    done.sql("store.db", "DELETE FROM drift_episodes")
    done.sql("store.db", "DELETE FROM decisions WHERE decision_id = ?", first.decision_id)
    report = await done.replaying.replay()
    assert report.first_difference is not None
    assert (report.first_difference.stored, report.first_difference.recomputed) == (None, first)
    done.sql(
        "store.db",
        "UPDATE decisions SET decision_id = 'forged' WHERE decision_id = ?",
        others[-1].decision_id,
    )
    forged = next(one for one in await done.decisions() if one.decision_id == "forged")
    assert await done.replaying.verify(forged) is None


async def test_rows_that_were_changed_or_removed_are_found(done: Deployment) -> None:
    done.sql(
        "store.db",
        "UPDATE window_tallies SET body = ? WHERE kind = 'input' AND window_start_ms = 3000",
        b"{}",
    )
    report = await done.replaying.replay()
    assert report.row_differences == 2  # one in each partition
    done.sql("store.db", "DELETE FROM window_tallies WHERE kind = 'score' AND window_start_ms = 1000")
    report = await done.replaying.replay()
    assert report.row_differences == 4
    assert report.first_row is not None
    assert (report.first_row.kind, report.first_row.window_start_ms) == ("score", 1_000)


async def test_a_log_without_its_beginning_cannot_be_replayed(done: Deployment) -> None:
    await done.log.delete_before(done.topics.outcomes, 1, 5)
    with pytest.raises(LogIncomplete, match=r"outcomes partition 1 begins at offset 5"):
        await done.replaying.replay()
    # what is not accounted for yet is there all the same
    assert await done.balanced()


async def test_a_replay_writes_nothing(done: Deployment) -> None:
    async with done.store.read() as session:
        before = await TallyRepository(session).all_progress()
    await done.replaying.replay()
    async with done.store.read() as session:
        assert await TallyRepository(session).all_progress() == before
