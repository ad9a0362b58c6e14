"""Retraining jobs: one open for each model, one holder at a time."""

import asyncio

import pytest

from consumers.store.engine import Store
from consumers.store.errors import JobAlreadyOpen, LeaseLost
from consumers.store.repositories.retraining import RetrainingRepository
from schemas.events import RetrainingStatus
from tests.store.builders import NOW, job, later
from tests.store.contender import claim_all, lines_of, start_contender


async def open_jobs(store: Store, *models: str) -> None:
    async with store.write() as session:
        for number, model in enumerate(models):
            await RetrainingRepository(session).open(job(f"j-{model}", model=model, opened_at_ms=number))


async def claim(store: Store, owner: str, seconds: float = 0, lease_s: float = 60) -> str | None:
    async with store.write() as session:
        taken = await RetrainingRepository(session).claim(owner, later(seconds), lease_s)
        return taken.job_id if taken else None


async def test_a_job_opens_once_and_comes_back_whole(store: Store) -> None:
    async with store.write() as session:
        jobs = RetrainingRepository(session)
        assert await jobs.open(job())
        assert not await jobs.open(job())
        found = await jobs.get("j-1")
        assert found is not None
        assert (found.model, found.trigger, found.request) == ("brent", job().trigger, {"drift_id": "x"})
        assert (found.status, found.attempts, found.result) == (RetrainingStatus.REQUESTED, 0, None)
        assert await jobs.get("j-2") is None


async def test_a_second_open_job_of_a_model_is_refused_and_the_transaction_goes_on(store: Store) -> None:
    async with store.write() as session:
        jobs = RetrainingRepository(session)
        await jobs.open(job("j-1"))
        with pytest.raises(JobAlreadyOpen) as caught:
            await jobs.open(job("j-2"))
        assert caught.value.open_job_id == "j-1"
        await jobs.claim("t", NOW)
        with pytest.raises(JobAlreadyOpen):
            await jobs.open(job("j-2"))
        assert await jobs.add_suppressed(job("j-3", opened_at_ms=11), {"why": "cooldown"})
        assert not await jobs.add_suppressed(job("j-3"))
        await jobs.finish("j-1", "t", RetrainingStatus.FAILED)
        assert await jobs.open(job("j-2", opened_at_ms=12))
        assert [found.job_id for found in await jobs.list(model="brent")] == ["j-1", "j-3", "j-2"]
        suppressed = await jobs.list(status=RetrainingStatus.SUPPRESSED)
        assert [(found.job_id, found.result) for found in suppressed] == [("j-3", {"why": "cooldown"})]


async def test_of_twenty_openings_at_once_one_succeeds(store: Store) -> None:
    async def attempt(number: int) -> bool:
        async with store.write() as session:
            return await RetrainingRepository(session).open(job(f"j-{number}"))

    results = await asyncio.gather(*(attempt(number) for number in range(20)), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["JobAlreadyOpen"] * 19 + ["bool"]


async def test_twenty_trainers_at_once_take_each_job_once(store: Store) -> None:
    await open_jobs(store, *"edcba")
    taken = await asyncio.gather(*(claim(store, f"t-{number}") for number in range(20)))
    assert sorted(job_id for job_id in taken if job_id) == ["j-a", "j-b", "j-c", "j-d", "j-e"]


async def test_jobs_are_taken_oldest_first(store: Store) -> None:
    await open_jobs(store, *"edcba")
    taken = [await claim(store, f"t-{number}") for number in range(6)]
    assert taken == ["j-e", "j-d", "j-c", "j-b", "j-a", None]


async def test_a_job_that_another_trainer_is_taking_is_passed_over_and_not_waited_for(
    pg_store: Store,
) -> None:
    await open_jobs(pg_store, "first", "second")
    async with pg_store.write() as session, asyncio.timeout(5):
        held = await RetrainingRepository(session).claim("slow", NOW)
        assert held is not None
        assert (held.job_id, await asyncio.create_task(claim(pg_store, "quick"))) == ("j-first", "j-second")
        assert await asyncio.create_task(claim(pg_store, "late")) is None


async def test_three_processes_take_each_job_once(store: Store, url: str) -> None:
    models = [f"m{number}" for number in range(45)]
    await open_jobs(store, *models)
    others = await asyncio.gather(*(start_contender("claim", url, name) for name in ("one", "two")))
    shares = await asyncio.gather(claim_all(store, "three"), *(lines_of(other) for other in others))
    taken = [job_id for share in shares for job_id in share]
    assert sorted(taken) == sorted(f"j-{model}" for model in models)


async def test_a_lease_that_ran_out_is_taken_over_and_the_old_holder_learns_it(store: Store) -> None:
    await open_jobs(store, "brent")
    assert await claim(store, "first", lease_s=60) == "j-brent"
    assert await claim(store, "second", seconds=59) is None
    async with store.write() as session:
        await RetrainingRepository(session).heartbeat("j-brent", "first", later(50), 60)
    assert await claim(store, "second", seconds=109) is None
    assert await claim(store, "second", seconds=110) == "j-brent"
    async with store.write() as session:
        jobs = RetrainingRepository(session)
        with pytest.raises(LeaseLost):
            await jobs.heartbeat("j-brent", "first", later(111))
        with pytest.raises(LeaseLost):
            await jobs.finish("j-brent", "first", RetrainingStatus.SUCCEEDED)
        found = await jobs.get("j-brent")
        assert found is not None
        assert (found.lease_owner, found.lease_until, found.attempts) == ("second", later(170), 2)


async def test_a_finished_job_keeps_its_result_and_is_never_claimed_again(store: Store) -> None:
    await open_jobs(store, "brent")
    await claim(store, "t")
    async with store.write() as session:
        jobs = RetrainingRepository(session)
        await jobs.finish("j-brent", "t", RetrainingStatus.SUCCEEDED, version="2", result={"mae": 0.5})
        found = await jobs.get("j-brent")
        assert found is not None
        assert (found.status, found.version, found.result) == ("SUCCEEDED", "2", {"mae": 0.5})
        assert (found.lease_owner, found.lease_until) == (None, None)
        assert await jobs.open_job("brent") is None
    assert await claim(store, "t", seconds=1_000) is None


async def test_a_released_job_is_anybodys_and_a_cancelled_one_nobodys(store: Store) -> None:
    await open_jobs(store, "brent")
    await claim(store, "t")
    async with store.write() as session:
        await RetrainingRepository(session).release("j-brent", "t")
    assert await claim(store, "u", seconds=1) == "j-brent"
    async with store.write() as session:
        jobs = RetrainingRepository(session)
        assert await jobs.cancel("j-brent")
        assert not await jobs.cancel("j-brent")
        with pytest.raises(LeaseLost):
            await jobs.release("j-brent", "u")
    assert await claim(store, "v", seconds=1_000) is None
