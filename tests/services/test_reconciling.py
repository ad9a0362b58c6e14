"""The conservation law holds at every moment of a run, and notices what is missing."""

from pathlib import Path
from random import Random

from schemas.logfile import NewRecord
from tests.services.deployment import LENGTH, deployment, drifting_life, outcome, prediction


async def test_nothing_has_happened_is_balanced(tmp_path: Path, migrated_file: Path) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        assert await where.accounts() == []
        await where.tally()
        assert [account.records for account in await where.accounts()] == [0, 0]
        assert await where.balanced()


async def test_the_law_holds_while_workers_are_behind_and_after_restarts(
    tmp_path: Path, migrated_file: Path
) -> None:
    r = Random(7)
    async with deployment(tmp_path, migrated_file, partitions=2) as where:
        workers = [await where.tally(batch_records=size) for size in (3, 17)]
        written = 0
        for window in range(30):
            bad = NewRecord(topic=where.topics.outcomes, key=b"k", value=b"?", timestamp_ms=LENGTH * window)
            events = [prediction(written + at, LENGTH * window + at) for at in range(r.randrange(9))]
            late = [prediction(written + at, LENGTH * window) for at in range(r.randrange(2))]
            found = [outcome(r.randrange(written + 9), LENGTH * window + at) for at in range(r.randrange(9))]
            written += len(events)
            await where.append(bad, *events, *late, *found)
            for _ in range(r.randrange(3)):
                await r.choice(workers).step()
            if r.random() < 0.2:
                workers[r.randrange(2)] = await where.tally(batch_records=r.choice([1, 50]))
            accounts = await where.accounts()
            assert all(account.balanced for account in accounts)
            hot = (where.topics.predictions, where.topics.outcomes)
            held = [await where.log.end(topic, p) for p in range(2) for topic in hot]
            assert [account.records for account in accounts] == held
        assert sum(account.fates["invalid"] for account in await where.accounts()) == 30


async def test_rows_of_a_worker_whose_progress_was_not_kept_count_once(
    tmp_path: Path, migrated_file: Path
) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        await drifting_life(where, windows=6)
        worker = await where.tally(batch_records=300)
        for _ in range(3):
            await worker.step()
        # as if the other side of another worker had been further at that moment
        kept = where.sql("store.db", "SELECT * FROM partition_progress")
        while await worker.step():
            pass
        names = [row[1] for row in where.sql("store.db", "PRAGMA table_info(partition_progress)")]
        for name, value in zip(names, kept[0], strict=True):
            where.sql("store.db", f"UPDATE partition_progress SET {name} = ?", value)
        assert await where.balanced()


async def test_a_row_that_is_gone_is_noticed(tmp_path: Path, migrated_file: Path) -> None:
    async with deployment(tmp_path, migrated_file) as where:
        await drifting_life(where)
        await where.tallied()
        assert await where.balanced()
        where.sql(
            "store.db", "DELETE FROM arrival_tallies WHERE side = 'outcomes' AND window_start_ms = 3000"
        )
        predictions, outcomes = await where.accounts()
        assert predictions.balanced
        assert not outcomes.balanced
        assert outcomes.unaccounted == 120
        where.sql("store.db", "DELETE FROM window_tallies WHERE kind = 'input' AND window_start_ms = 3000")
        predictions, _ = await where.accounts()
        assert predictions.unaccounted == 0
        assert not predictions.balanced
