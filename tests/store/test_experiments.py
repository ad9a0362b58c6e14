"""Experiments and drift episodes."""

import asyncio

import pytest

from consumers.store.engine import Store
from consumers.store.errors import ExperimentAlreadyRunning, ImmutableConflict, NotFound, StaleExperiment
from consumers.store.repositories.episodes import EpisodeRepository
from consumers.store.repositories.experiments import ExperimentRepository
from schemas.events import ExperimentStatus
from tests.store.builders import episode, experiment

CREATED, RUNNING = ExperimentStatus.CREATED, ExperimentStatus.RUNNING
PROMOTED, CANCELLED = ExperimentStatus.COMPLETED_PROMOTED, ExperimentStatus.CANCELLED


async def test_an_experiment_is_recorded_once_and_its_config_never_changes(store: Store) -> None:
    async with store.write() as session:
        experiments = ExperimentRepository(session)
        assert await experiments.add(experiment(started_at_ms=4))
        assert not await experiments.add(experiment())
        assert await experiments.get("e-1") == experiment(started_at_ms=4)
        assert await experiments.get("e-2") is None
        with pytest.raises(ImmutableConflict):
            await experiments.add(experiment(config_hash="0" * 64))


async def test_a_model_runs_one_experiment_at_a_time(store: Store) -> None:
    async with store.write() as session:
        experiments = ExperimentRepository(session)
        await experiments.add(experiment("e-1"))
        await experiments.add(experiment("e-2", CREATED))
        await experiments.add(experiment("e-3", model="wti"))
        with pytest.raises(ExperimentAlreadyRunning) as caught:
            await experiments.set_status("e-2", CREATED, RUNNING, started_at_ms=9)
        assert caught.value.running == "e-1"
        with pytest.raises(ExperimentAlreadyRunning):
            await experiments.add(experiment("e-4"))
        await experiments.set_status("e-1", RUNNING, PROMOTED, decision_id="d-1", closed_at_ms=8)
        await experiments.set_status("e-2", CREATED, RUNNING, started_at_ms=9)
        assert await experiments.running("brent") == experiment("e-2", started_at_ms=9)
        assert await experiments.get("e-1") == experiment("e-1", PROMOTED, decision_id="d-1", closed_at_ms=8)
        assert await experiments.running("gas") is None
        assert [found.experiment_id for found in await experiments.list("brent")] == ["e-2", "e-1"]
        assert len(await experiments.list()) == 3


async def test_of_ten_starts_at_once_one_succeeds(store: Store) -> None:
    async def start(number: int) -> bool:
        async with store.write() as session:
            return await ExperimentRepository(session).add(experiment(f"e-{number}"))

    results = await asyncio.gather(*(start(number) for number in range(10)), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["ExperimentAlreadyRunning"] * 9 + ["bool"]


async def test_a_status_moves_by_compare_and_set(store: Store) -> None:
    async with store.write() as session:
        experiments = ExperimentRepository(session)
        await experiments.add(experiment())
        await experiments.set_status("e-1", RUNNING, PROMOTED)
        with pytest.raises(StaleExperiment) as caught:
            await experiments.set_status("e-1", RUNNING, CANCELLED)
        assert caught.value.found == PROMOTED
        with pytest.raises(StaleExperiment, match="unknown"):
            await experiments.set_status("e-9", RUNNING, CANCELLED)


async def test_allocation_epochs_go_up(store: Store) -> None:
    async with store.write() as session:
        experiments = ExperimentRepository(session)
        await experiments.add(experiment())
        assert [await experiments.raise_epoch("e-1") for _ in range(2)] == [1, 2]
        with pytest.raises(NotFound):
            await experiments.raise_epoch("e-9")


async def test_an_episode_opens_once_and_closes_once(store: Store) -> None:
    async with store.write() as session:
        episodes = EpisodeRepository(session)
        assert await episodes.open(episode())
        assert not await episodes.open(episode(opened_at_ms=99))
        await episodes.open(episode("p-0", opened_at_ms=5))
        await episodes.open(episode("p-2", model="wti"))
        assert await episodes.open_episodes("brent") == [episode("p-0", opened_at_ms=5), episode()]
        assert await episodes.close("p-1", closed_at_ms=20, closed_by="d-2")
        assert not await episodes.close("p-1", closed_at_ms=30, closed_by="d-3")
        found = await episodes.get("p-1")
        assert found is not None
        assert (found.closed_at_ms, found.closed_by) == (20, "d-2")
        assert await episodes.open_episodes("brent") == [episode("p-0", opened_at_ms=5)]
        assert [one.episode_id for one in await episodes.list()] == ["p-0", "p-1", "p-2"]
        assert len(await episodes.list("wti")) == 1
        with pytest.raises(NotFound):
            await episodes.close("p-9", closed_at_ms=1, closed_by=None)
