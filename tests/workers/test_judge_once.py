"""One drift is announced once: with two judges, judges that die, a replay, and a stream with duplicates."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from consumers.services.policies import checked, put_in_force
from consumers.store.engine import Store, open_store
from consumers.store.repositories.episodes import EpisodeRepository
from consumers.store.repositories.outbox import OutboxRepository
from consumers.store.session import WriteSession
from schemas.codec import decode
from schemas.events import DriftDetected, Event
from tests.services.deployment import LENGTH, MODEL, Deployment, deployment, profile, served

WINDOWS = 30
POLICY = {
    "drift": {"features": {"levels": 1}, "errors": None, "episodes": {"quiet_windows": 3}},
    "retrain": {"cooldown_ms": 0, "budget": 9},
}


class Killed(Exception):
    """As if the process had ended here."""


class OftenDies(Store):
    """Every second transaction is never committed: its process has ended."""

    opened = 0

    @asynccontextmanager
    async def write(self) -> AsyncIterator[WriteSession]:
        self.opened += 1
        dies = self.opened % 2 == 1
        async with super().write() as session:
            yield session
            if dies:
                raise Killed


def two_drifts() -> list[Event]:
    """The feature moves in windows 5 to 8 and 20 to 23; in between it recovers."""
    return [
        *served(0, 5),
        *served(5, 9, low=9),
        *served(9, 20),
        *served(20, 24, low=9),
        *served(24, WINDOWS),
    ]


async def lived(where: Deployment, *events: Event) -> None:
    await where.register(profile())
    async with where.store.write() as session:
        await put_in_force(session, MODEL, checked(POLICY))
    await where.append(*events)
    await where.beat(LENGTH * WINDOWS + 10_000)
    await where.tallied()


async def announced(where: Deployment) -> list[DriftDetected]:
    async with where.store.read() as session:
        records = await OutboxRepository(session).unsent(1_000)
    events = [decode(record.topic, record.value) for record in records]
    return [event for event in events if isinstance(event, DriftDetected)]


async def two_episodes_once(where: Deployment) -> list[str]:
    """Checks that there were two drifts, each announced once and recovered; their ids."""
    async with where.store.read() as session:
        episodes = await EpisodeRepository(session).list()
    events = await announced(where)
    assert [each.closed_at_ms is not None for each in episodes] == [True, True]
    assert [event.drift_id for event in events] == [each.episode_id for each in episodes]
    assert len({event.event_id for event in events}) == 2
    assert (await where.replaying.replay()).equal
    assert await announced(where) == events, "a replay announces nothing"
    return [event.drift_id for event in events]


@pytest.fixture
async def where(tmp_path: Path, url: str) -> AsyncIterator[Deployment]:
    """Once per engine of the store."""
    async with deployment(tmp_path, url) as made:
        yield made


async def test_two_drifts_are_announced_once_each_by_two_judges_in_slices(
    where: Deployment, url: str
) -> None:
    await lived(where, *two_drifts())
    stores = [await open_store(url) for _ in range(2)]
    judges = [where.judge(store, slice_rows=2) for store in stores]
    async with asyncio.timeout(60):
        await asyncio.gather(*(judge.step() for judge in judges))
    await where.judged()
    await two_episodes_once(where)
    for store in stores:
        await store.dispose()


async def test_judges_that_die_between_any_two_commits_announce_nothing_twice(where: Deployment) -> None:
    await lived(where, *two_drifts())
    store = where.store
    dying = OftenDies(store.url, store._engine, store._busy_timeout_s)
    deaths = 0
    async with asyncio.timeout(60):
        while True:
            try:
                if not await where.judge(dying, slice_rows=2).step():
                    break
            except Killed:
                deaths += 1
    assert deaths > 10
    await two_episodes_once(where)


async def test_a_stream_with_every_record_twice_announces_the_same_drifts(
    tmp_path: Path, migrated_file: Path
) -> None:
    found: list[list[str]] = []
    events = two_drifts()
    for name, stream in (("once", events), ("twice", [each for each in events for _ in range(2)])):
        folder = tmp_path / name
        await asyncio.to_thread(folder.mkdir)
        async with deployment(folder, migrated_file) as where:
            await lived(where, *stream)
            await where.judged()
            found.append(await two_episodes_once(where))
    assert found[0] == found[1]
