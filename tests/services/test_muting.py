"""Mutes act on what is not judged yet, on both engines, also while others judge or mute."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from consumers.services.figures import read_store
from consumers.services.muting import MuteOrder, MuteTooShort, is_over, mute, unmute
from consumers.store.engine import open_store
from consumers.store.errors import NotFound
from consumers.store.repositories.episodes import EpisodeRepository
from consumers.store.repositories.judgements import Judgement, JudgementRepository
from consumers.store.repositories.mutes import Mute, MuteRepository
from consumers.store.repositories.outbox import OutboxRepository
from schemas.clock import from_ms
from schemas.events import DriftType
from tests.services.deployment import LENGTH, MODEL, WALL_MS, Deployment, deployment, drifting_life, served


@pytest.fixture
async def where(tmp_path: Path, url: str) -> AsyncIterator[Deployment]:
    """Once per engine of the store."""
    async with deployment(tmp_path, url) as made:
        yield made


async def muted(where: Deployment, **other: Any) -> Mute:
    values = {
        "model": MODEL,
        "drift_type": None,
        "until_ms": None,
        "actor": "ada",
        "reason": "known",
        **other,
    }
    async with where.store.write() as session:
        return await mute(session, MuteOrder(**values), from_ms(WALL_MS))


async def unmuted(where: Deployment, mute_id: str, actor: str = "bob") -> Mute:
    async with where.store.write() as session:
        return await unmute(session, mute_id, actor=actor, reason="over")


async def topics(where: Deployment) -> list[str]:
    async with where.store.read() as session:
        return [record.topic for record in await OutboxRepository(session).unsent(1_000)]


def only(counts: Any) -> dict[str, int]:
    return {kind: number for kind, number in counts.items() if number}


async def test_muted_drift_is_kept_and_not_announced_and_the_figures_tell_it_apart(where: Deployment) -> None:
    made = await muted(where)
    assert made.effective_from_ms == 0
    await drifting_life(where)
    await where.tallied()
    await where.judged()
    async with where.store.read() as session:
        episodes = await EpisodeRepository(session).list()
    # the errors recovered: their level is what it is
    assert [each.closed_at_ms is None for each in episodes] == [True, False]
    assert await topics(where) == []
    found = await read_store(where.store)
    assert only(found.episodes_muted) == {"DATA_DRIFT": 1}
    assert only(found.episodes_unacknowledged) == {}
    ended = await unmuted(where, made.mute_id)
    found = await read_store(where.store)
    assert only(found.episodes_muted) == {}
    assert only(found.episodes_unacknowledged) == {"DATA_DRIFT": 1}
    assert ended.ended_ms is not None
    assert ended.ended_ms > max(decision.at_ms for decision in await where.decisions())
    assert (await where.replaying.replay()).equal


async def test_retraining_is_asked_for_once_the_mute_is_over(where: Deployment) -> None:
    made = await muted(where)
    await drifting_life(where)
    await where.tallied()
    await where.judged()
    await unmuted(where, made.mute_id)
    await where.append(*served(24, 27, low=9, actual=0.9))
    await where.beat(LENGTH * 27 + 10_000)
    await where.tallied()
    await where.judged()
    assert await topics(where) == [where.topics.retrain_requested]
    assert (await where.replaying.replay()).equal


async def test_a_mute_counts_only_for_what_is_not_judged(where: Deployment) -> None:
    await drifting_life(where)
    await where.tallied()
    assert await where.judged() > 0
    before = await topics(where)
    late = await muted(where)
    assert late.effective_from_ms > max(decision.at_ms for decision in await where.decisions())
    assert (await where.replaying.replay()).equal
    assert await topics(where) == before != []
    with pytest.raises(MuteTooShort, match="mutes nothing: all before"):
        await muted(where, until_ms=late.effective_from_ms)
    assert not is_over(late, late.effective_from_ms)


async def test_an_order_given_twice_is_one_mute_and_another_is_another(where: Deployment) -> None:
    first, again = await muted(where), await muted(where)
    assert first == again
    others = [
        await muted(where, drift_type=DriftType.DATA_DRIFT),
        await muted(where, until_ms=9),
        await muted(where, actor="bob"),
        await muted(where, model="another"),
    ]
    assert len({each.mute_id for each in (first, *others)}) == 5
    ended = await unmuted(where, first.mute_id)
    assert await unmuted(where, first.mute_id, actor="eve") == ended, "who was first stays"
    assert (ended.ended_by, ended.ended_because, ended.ended_ms) == ("bob", "over", 0)
    assert (await muted(where)).mute_id != first.mute_id
    with pytest.raises(NotFound, match="there is no mute nothing"):
        await unmuted(where, "nothing")


async def test_a_mute_that_is_over_by_itself_is_not_ended(where: Deployment) -> None:
    made = await muted(where, until_ms=50)
    async with where.store.write() as session:
        await JudgementRepository(session).save(
            Judgement(model=MODEL, judged_through_ms=80, state={}, tallies_digest="t" * 64)
        )
    assert await unmuted(where, made.mute_id) == made
    assert is_over(made, 81)


async def test_people_who_mute_at_once_each_get_their_own(where: Deployment, url: str) -> None:
    stores = [await open_store(url) for _ in range(4)]

    async def order(number: int) -> Mute:
        async with stores[number].write() as session:
            wanted = MuteOrder(
                model=MODEL, drift_type=None, until_ms=None, actor=f"person {number}", reason="known"
            )
            return await mute(session, wanted, from_ms(WALL_MS))

    made = await asyncio.gather(*map(order, range(4)))
    async with where.store.read() as session:
        kept = await MuteRepository(session).all(MODEL)
    assert {each.mute_id for each in made} == {each.mute_id for each in kept}
    assert sorted(each.actor for each in kept) == [f"person {number}" for number in range(4)]
    for store in stores:
        await store.dispose()


async def test_whoever_mutes_while_the_model_is_judged_waits_and_counts_after_it(
    where: Deployment, url: str
) -> None:
    other = await open_store(url)
    began, waited = asyncio.Event(), []

    async def judge() -> None:
        async with where.store.write() as session:
            assert await JudgementRepository(session).claim(MODEL)
            began.set()
            await asyncio.sleep(0.2)
            waited.append(not muting.done())
            await JudgementRepository(session).save(
                Judgement(model=MODEL, judged_through_ms=7_000, state={}, tallies_digest="t" * 64)
            )

    async def order() -> Mute:
        await began.wait()
        async with other.write() as session:
            wanted = MuteOrder(model=MODEL, drift_type=None, until_ms=None, actor="ada", reason="known")
            return await mute(session, wanted, from_ms(WALL_MS))

    muting = asyncio.create_task(order())
    await judge()
    assert (await muting).effective_from_ms == 7_001
    assert waited == [True]
    await other.dispose()


async def test_judges_and_people_at_once_leave_what_a_replay_finds(where: Deployment, url: str) -> None:
    await drifting_life(where)
    await where.tallied()
    stores = [await open_store(url) for _ in range(3)]

    async def judge(store: Any) -> None:
        worker = where.judge(store, slice_rows=3)
        async with asyncio.timeout(30):
            while await worker.step():
                pass

    async def order() -> None:
        for number in range(6):
            async with stores[2].write() as session:
                wanted = MuteOrder(
                    model=MODEL, drift_type=None, until_ms=None, actor=f"person {number}", reason="known"
                )
                made = await mute(session, wanted, from_ms(WALL_MS))
            async with stores[2].write() as session:
                await unmute(session, made.mute_id, actor="bob", reason="over")

    await asyncio.gather(judge(stores[0]), judge(stores[1]), order())
    await where.judged()
    assert len(await where.decisions()) > 0
    assert (await where.replaying.replay()).equal
    for store in stores:
        await store.dispose()
