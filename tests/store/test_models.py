"""The registry: stages by compare-and-set, one PRODUCTION, history that answers for any time."""

import asyncio
import itertools

import pytest

from consumers.store.engine import Store
from consumers.store.errors import (
    ConstraintViolated,
    ImmutableConflict,
    NotFound,
    ProductionTaken,
    StaleStage,
    VersionExists,
)
from consumers.store.repositories.models import ModelRecord, ModelRepository
from consumers.store.repositories.profiles import ProfileRepository, StoredProfile
from consumers.store.session import ReadSession
from domain.registry import stages
from schemas.events import ModelStage
from tests.store.builders import NOW, add_model, transition, version
from tests.store.contender import lines_of, promote, start_contender

STAGING, PRODUCTION, ARCHIVED = ModelStage.STAGING, ModelStage.PRODUCTION, ModelStage.ARCHIVED


async def test_a_model_begins_at_epoch_zero_and_is_created_once(store: Store) -> None:
    async with store.write() as session:
        registry = ModelRepository(session)
        assert await registry.get_model("brent") is None
        assert await registry.create_model(name="brent", task="float", created_at_ms=5)
        assert not await registry.create_model(name="brent", task="label", created_at_ms=6)
    async with store.read() as session:
        registry_read = ModelRepository(session)
        expected = ModelRecord(name="brent", task="float", epoch=0, frozen=False, created_at_ms=5)
        assert await registry_read.get_model("brent") == expected
        assert await registry_read.list_models() == [expected]


async def test_epochs_go_up_and_models_freeze_and_thaw(store: Store) -> None:
    async with store.write() as session:
        registry = await add_model(session)
        assert [await registry.raise_epoch("brent"), await registry.raise_epoch("brent")] == [1, 2]
        await registry.set_frozen("brent", True)
        found = await registry.get_model("brent", for_update=True)
        assert found is not None
        assert (found.frozen, found.epoch) == (True, 2)
        with pytest.raises(NotFound):
            await registry.raise_epoch("wti")
        with pytest.raises(NotFound):
            await registry.set_frozen("wti", True)


async def test_versions_come_back_whole_and_lowest_number_first(store: Store) -> None:
    numbers = [version("10"), version("2", ARCHIVED), version("1", job_id="j-1", metadata={"mae": 1e16})]
    async with store.write() as session:
        registry = await add_model(session, *numbers)
        assert await registry.versions("brent") == numbers[::-1]
        assert await registry.versions("brent", ARCHIVED) == [numbers[1]]
        assert await registry.get_version("brent", "1") == numbers[2]
        assert await registry.get_version("brent", "3") is None
        assert await registry.version_by_job("j-1") == numbers[2]
        assert await registry.version_by_job("j-2") is None
        assert await registry.next_version_number("brent") == 11
        assert await registry.next_version_number("wti") == 1


async def test_a_version_and_a_jobs_version_are_registered_once(store: Store) -> None:
    async with store.write() as session:
        registry = await add_model(session, version("1", job_id="j-1"))
        for again in (version("1"), version("2", job_id="j-1")):
            with pytest.raises(VersionExists):
                await registry.add_version(again)
        assert len(await registry.versions("brent")) == 1
    async with store.write() as session:
        with pytest.raises(ConstraintViolated):
            await ModelRepository(session).add_version(version(model="unknown"))


def test_stages_of_the_domain_are_those_of_the_wire() -> None:
    assert [stage.value for stage in stages.ModelStage] == [stage.value for stage in ModelStage]


async def test_a_stage_moves_by_compare_and_set(store: Store) -> None:
    async with store.write() as session:
        registry = await add_model(session, version("1"))
        await registry.set_stage("brent", "1", STAGING, PRODUCTION)
        with pytest.raises(StaleStage) as caught:
            await registry.set_stage("brent", "1", STAGING, ARCHIVED)
        assert (caught.value.expected, caught.value.found) == (STAGING, PRODUCTION)
        with pytest.raises(StaleStage) as caught:
            await registry.set_stage("brent", "7", STAGING, ARCHIVED)
        assert caught.value.found is None
        await registry.set_status("brent", "1", "DEPLOYMENT_ACTIVE")
        with pytest.raises(NotFound):
            await registry.set_status("brent", "7", "REGISTERED")
        assert await registry.production("brent") == version("1", PRODUCTION, status="DEPLOYMENT_ACTIVE")


async def test_a_second_production_is_refused_by_every_way_and_the_transaction_goes_on(store: Store) -> None:
    async with store.write() as session:
        registry = await add_model(session, version("1", PRODUCTION), version("2"))
        with pytest.raises(ProductionTaken, match="version 1 is") as caught:
            await registry.set_stage("brent", "2", STAGING, PRODUCTION)
        assert caught.value.production == "1"
        with pytest.raises(ProductionTaken):
            await registry.add_version(version("3", PRODUCTION))
        await registry.set_stage("brent", "1", PRODUCTION, ARCHIVED)
        await registry.set_stage("brent", "2", STAGING, PRODUCTION)
        await add_model(session, version("1", PRODUCTION, model="wti"), name="wti")
    async with store.read() as session:
        found = await ModelRepository(session).production("brent")
        assert found is not None
        assert found.version == "2"


async def test_twenty_promotions_at_once_leave_one_production_and_a_seamless_history(store: Store) -> None:
    numbers = [str(number) for number in range(1, 21)]
    async with store.write() as session:
        await add_model(session, version("0", PRODUCTION), *(version(number) for number in numbers))
    await asyncio.gather(*(promote(store, number) for number in numbers))
    async with store.read() as session:
        assert await production_history(session) == 20


async def test_promotions_of_three_processes_leave_one_production(store: Store, url: str) -> None:
    shares = [[str(number) for number in range(start, 31, 3)] for start in (1, 2, 3)]
    async with store.write() as session:
        await add_model(session, version("0", PRODUCTION), *(version(n) for share in shares for n in share))
    others = await asyncio.gather(*(start_contender("promote", url, *share) for share in shares[:2]))
    await asyncio.gather(
        *(lines_of(other) for other in others), *(promote(store, number) for number in shares[2])
    )
    async with store.read() as session:
        assert await production_history(session) == 30


async def production_history(session: ReadSession) -> int:
    """How many promotions there were; asserts one PRODUCTION now, and a different one after each."""
    registry = ModelRepository(session)
    model = await registry.get_model("brent")
    assert model is not None
    (now,) = await registry.versions("brent", PRODUCTION)
    told = [await registry.production_at("brent", at_ms) for at_ms in range(1, model.epoch + 1)]
    assert len(set(told)) == model.epoch
    assert told[-1] == now.version
    return model.epoch


@pytest.mark.parametrize("archive_first", [True, False])
async def test_history_tells_the_production_version_of_any_time(store: Store, archive_first: bool) -> None:
    swap = [transition("1", PRODUCTION, ARCHIVED, 20), transition("2", STAGING, PRODUCTION, 20)]
    moves = [
        transition("1", None, STAGING, 5),
        transition("1", STAGING, PRODUCTION, 10),
        *(swap if archive_first else swap[::-1]),
        transition("2", PRODUCTION, ARCHIVED, 30),
    ]
    async with store.write() as session:
        registry = await add_model(session, version("1"), version("2"))
        for move in moves:
            await registry.add_transition(move, NOW)
        assert await registry.transitions("brent") == moves
        told = [(t, await registry.production_at("brent", t)) for t in (9, 10, 19, 20, 29, 30, 99)]
    assert told == [(9, None), (10, "1"), (19, "1"), (20, "2"), (29, "2"), (30, None), (99, None)]


async def test_a_version_that_returns_is_production_again(store: Store) -> None:
    steps = itertools.pairwise([STAGING, PRODUCTION, ARCHIVED, PRODUCTION])
    async with store.write() as session:
        registry = await add_model(session, version("1"))
        for at_ms, (before, after) in enumerate(steps):
            await registry.add_transition(transition("1", before, after, at_ms), NOW)
        assert [await registry.production_at("brent", t) for t in range(3)] == ["1", None, "1"]


async def test_a_profile_never_changes(store: Store) -> None:
    async with store.write() as session:
        await add_model(session, version("1"), version("2"))
        profiles = ProfileRepository(session)
        for _ in range(2):
            await profiles.add(model="brent", version="1", body=b"{}", digest="d1", effective_from_ms=60)
        with pytest.raises(ImmutableConflict, match="never changes"):
            await profiles.add(model="brent", version="1", body=b"[]", digest="d2", effective_from_ms=60)
        with pytest.raises(ImmutableConflict):
            await profiles.add(model="brent", version="1", body=b"{}", digest="d1", effective_from_ms=0)
        expected = StoredProfile(model="brent", version="1", body=b"{}", digest="d1", effective_from_ms=60)
        assert await profiles.get_many({("brent", "1"), ("brent", "2"), ("wti", "1")}) == {
            ("brent", "1"): expected
        }
        assert await profiles.get_many([]) == {}
