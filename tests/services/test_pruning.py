"""Retention deletes what nobody needs, in small parts, and everything that is still needed stays right."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from consumers.log.port import EventLog
from consumers.services.pruning import Ages, InboxTooShort, Pruning, Reclaimed
from consumers.store.repositories.inbox import InboxRepository
from consumers.store.repositories.outbox import OutboxRepository
from consumers.store.repositories.pruning import PruningRepository
from consumers.store.repositories.tallies import TallyRepository
from domain.windows.rows import WindowRow
from schemas.clock import from_ms
from schemas.events import Event
from schemas.logfile import NewRecord
from schemas.logrecords import TopicSpec
from tests.services.deployment import (
    WALL_MS,
    Deployment,
    deployment,
    drifting_life,
    outcome,
    prediction,
)
from tests.store.fixtures import ENGINES

DAY_MS = 86_400_000
NOTHING = Ages(outbox=None, inbox=None, tallies=None)
NOW = from_ms(WALL_MS)


@pytest.fixture(params=["migrated_file", "postgresql_url"], ids=ENGINES)
def migrated(request: pytest.FixtureRequest) -> Path | str:
    found: Path | str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def where(migrated: Path | str, tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployment(tmp_path, migrated, partitions=2) as made:
        yield made


def pruning(where: Deployment, *, days_later: float = 0, batch: int = 7) -> Pruning:
    now = NOW + timedelta(days=days_later)
    return Pruning(store=where.store, log=where.log, topics=where.topics, now=lambda: now, batch=batch)


async def two_lives(where: Deployment) -> None:
    """A drift in the first seconds, and some more windows 200 days later; tallied, judged and sent."""
    await drifting_life(where)
    await where.append(NewRecord(topic=where.topics.outcomes, key=b"k", value=b"?", timestamp_ms=20_000))
    later = 200 * DAY_MS
    events: list[Event] = []
    for number in range(40):
        events += [prediction(90_000 + number, later + number * 100), outcome(90_000 + number, later + 4_500)]
    await where.append(*sorted(events, key=lambda event: event.occurred_at))
    await where.beat(later + 30_000)
    await where.tallied(batch_records=700)
    await where.judged()
    await where.relayed()


async def test_old_rows_go_and_the_law_the_replay_and_the_workers_do_not_miss_them(where: Deployment) -> None:
    await two_lives(where)
    before, decisions = await where.accounts(), await where.decisions()
    rows, arrivals = await where.rows(), {**await where.arrivals(0), **await where.arrivals(1)}
    said = await pruning(where).prune(Ages(outbox=None, inbox=None, tallies=90), dry_run=True)
    assert await where.rows() == rows
    done = await pruning(where).prune(Ages(outbox=None, inbox=None, tallies=90))
    assert done == said
    assert done.window_rows > 20
    assert done.arrival_rows > 20
    left = await where.rows()
    assert {key: rows[key] for key in left} == left
    assert len(left) == len(rows) - done.window_rows > 0
    assert min(due for due, _ in left.values()) > 100 * DAY_MS
    assert len({**await where.arrivals(0), **await where.arrivals(1)}) < len(arrivals)
    assert await where.accounts() == before
    assert await where.balanced()
    report = await where.replaying.replay()
    assert report.equal
    assert await where.decisions() == decisions
    assert await pruning(where).prune(Ages(outbox=None, inbox=None, tallies=90)) == Reclaimed(
        outbox=0, inbox=0, window_rows=0, arrival_rows=0, tallies_through_ms=done.tallies_through_ms
    )
    # a worker that starts afresh goes on from its progress, and a judge from its state
    await where.tallied()
    assert await where.judged() == 0
    assert await where.rows() == left


async def test_a_row_that_comes_back_late_is_counted_once_and_goes_again(where: Deployment) -> None:
    await two_lives(where)
    accounts = await where.accounts()
    async with where.store.read() as session:
        rows = [WindowRow(r.key, r.due_ms, r.body) async for r in TallyRepository(session).all_rows()]
        arrivals = [arrival async for arrival in TallyRepository(session).all_arrivals()]
        progress = await TallyRepository(session).all_progress()
    await pruning(where).prune(Ages(outbox=None, inbox=None, tallies=90))
    async with where.store.write() as session:  # a worker that was stopped in the middle of its closing
        await TallyRepository(session).insert_closed(rows, arrivals, progress[0], now=NOW)
    assert await where.accounts() == accounts
    assert (await where.replaying.replay()).equal
    again = await pruning(where).prune(Ages(outbox=None, inbox=None, tallies=90))
    assert again.window_rows > 20
    assert await where.accounts() == accounts


async def test_nothing_goes_that_is_not_judged(where: Deployment) -> None:
    await drifting_life(where)
    await where.beat(200 * DAY_MS)
    await where.tallied()
    rows = await where.rows()
    done = await pruning(where).prune(Ages(outbox=None, inbox=None, tallies=1))
    assert (done.window_rows, await where.rows()) == (0, rows)
    await where.judged()
    done = await pruning(where).prune(Ages(outbox=None, inbox=None, tallies=1))
    assert done.window_rows == len(rows)
    assert await where.balanced()


async def test_sent_events_go_and_waiting_ones_and_the_newest_stay(where: Deployment) -> None:
    async def promise(name: str) -> bool:
        async with where.store.write() as session:
            return await OutboxRepository(session).add(
                event_id=name,
                topic=where.topics.retraining_changed,
                key=b"m",
                value=b"{}",
                timestamp_ms=1,
                now=NOW,
            )

    for number in range(20):
        assert await promise(f"e{number}")
    await where.relayed()
    assert await promise("waits")
    month = Ages(outbox=30, inbox=None, tallies=None)
    assert (await pruning(where, days_later=29).prune(month)).outbox == 0
    assert (await pruning(where, days_later=31).prune(month, dry_run=True)).outbox == 20
    assert (await pruning(where, days_later=31).prune(month)).outbox == 20
    assert await where.relayed() == 1
    assert (await pruning(where, days_later=31).prune(month)).outbox == 0, "the newest of all stays"
    assert await promise("another")
    assert await where.relayed() == 1


async def test_a_dead_letter_stays_noted_until_its_record_is_not_read_again(where: Deployment) -> None:
    async def bad(at_ms: int) -> None:
        record = NewRecord(topic=where.topics.outcomes, key=b"k", value=b"?", timestamp_ms=at_ms)
        await where.append(record, partition=0)

    month = Ages(outbox=30, inbox=None, tallies=None)
    await bad(1_000)
    await where.append(prediction(1, 1_000, horizon_s=3_000), partition=0)
    await bad(2_000)
    await where.beat(10_000)
    await where.tallied()
    await where.relayed()
    assert len(await where.dead_letters()) == 2
    await pruning(where, days_later=31).prune(month)
    await where.tallied()  # reads again from the low water, which is before the open prediction
    await where.relayed()
    assert len(await where.dead_letters()) == 2
    await bad(20_000)
    await where.beat(5_000_000)
    await where.tallied()
    await where.relayed()
    assert (await pruning(where, days_later=31).prune(month)).outbox == 2
    await where.tallied()
    await where.relayed()
    assert len(await where.dead_letters()) == 3


async def test_an_event_is_forgotten_only_after_its_promise(where: Deployment) -> None:
    async with where.store.write() as session:
        outbox, inbox = OutboxRepository(session), InboxRepository(session)
        for name in ("promised", "foreign"):
            await inbox.first_time("registry/drift-detected", name, NOW)
        for name in ("promised", "newest"):
            await outbox.add(
                event_id=name,
                topic=where.topics.drift_detected,
                key=b"m",
                value=b"",
                timestamp_ms=1,
                now=NOW,
            )
    later = forgetful(pruning(where, days_later=100))
    assert (await later.prune(Ages(outbox=None, inbox=90, tallies=None), dry_run=True)).inbox == 1
    assert (await later.prune(Ages(outbox=None, inbox=90, tallies=None))).inbox == 1
    await where.relayed()
    assert await later.prune(Ages(outbox=30, inbox=90, tallies=None)) == Reclaimed(
        outbox=1, inbox=1, window_rows=0, arrival_rows=0, tallies_through_ms=None
    )


class ForgetfulLog:
    """A log whose topics keep events for a week."""

    async def topics(self) -> dict[str, TopicSpec]:
        topics = ("lifecycle.drift-detected", "lifecycle.retrain-requested", "lifecycle.model-promoted")
        return {
            name: TopicSpec(name=name, partitions=1, cleanup="delete", retention_ms=7 * DAY_MS)
            for name in topics
        }


def forgetful(pruning: Pruning) -> Pruning:
    return replace(pruning, log=cast(EventLog, ForgetfulLog()))


async def test_the_inbox_outlives_what_the_log_can_deliver_again(where: Deployment) -> None:
    short = forgetful(pruning(where))
    assert await short.shortest_inbox() == 7
    with pytest.raises(InboxTooShort, match=r"6 days of inbox are too few.*keeps events for 7 days"):
        await short.prune(Ages(outbox=1, inbox=6, tallies=1))
    await short.prune(Ages(outbox=None, inbox=7, tallies=None))


async def test_the_inbox_of_a_log_that_forgets_nothing_forgets_nothing(where: Deployment) -> None:
    async with where.store.write() as session:
        await InboxRepository(session).first_time("registry/model-promoted", "e1", NOW)
    later = pruning(where, days_later=100_000)
    assert await later.shortest_inbox() is None
    for dry_run in (True, False):
        with pytest.raises(InboxTooShort, match=r"99999 days .* keeps events for ever.*; keep the inbox too"):
            await later.prune(Ages(outbox=None, inbox=99_999, tallies=None), dry_run=dry_run)
    async with where.store.read() as session:
        assert await PruningRepository(session).handled_before(later.now()) == 1


async def test_what_is_kept_is_kept(where: Deployment) -> None:
    await two_lives(where)
    rows = await where.rows()
    assert await pruning(where, days_later=1_000).prune(NOTHING) == Reclaimed(
        outbox=0, inbox=0, window_rows=0, arrival_rows=0, tallies_through_ms=None
    )
    assert await where.rows() == rows
