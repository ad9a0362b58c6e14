"""Feed and router follow what was announced, never back, and assign alike everywhere."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle_sdk import (
    Assignment,
    EmbeddedEvents,
    InMemoryEvents,
    NothingInProduction,
    ProductionFeed,
    Router,
)
from lifecycle_sdk.allocation.assign import UnitMissing
from lifecycle_sdk.contracts import (
    AllocationStrategy,
    ExperimentStatus,
    LifecycleEvent,
    NewRecord,
    Topics,
    record_of,
)
from tests.sdk.announcements import AT, MODEL, experiment, new_log, promoted

TOPICS = Topics()


def announced(*events: LifecycleEvent) -> InMemoryEvents:
    source = InMemoryEvents()
    for event in events:
        source.add(event)
    return source


async def router_of(*events: LifecycleEvent) -> Router:
    router = Router(announced(*events), MODEL)
    await router.poll()
    return router


def version_of(feed: ProductionFeed) -> str | None:
    return None if feed.current is None else feed.current.version


async def test_the_feed_follows_promotions_of_its_model_only() -> None:
    source = announced(promoted("1", 1), promoted("9", 5, model="another"))
    feed = ProductionFeed(source, MODEL)
    assert await feed.poll()
    assert version_of(feed) == "1"
    assert not await feed.poll()
    source.add(promoted("2", 2))
    assert await feed.poll()
    assert version_of(feed) == "2"


async def test_before_any_promotion_there_is_nothing() -> None:
    feed = ProductionFeed(announced(promoted("1", 1, empty=True)), MODEL)
    assert not await feed.poll()
    assert feed.current is None


@given(st.lists(st.integers(1, 6), min_size=1, max_size=12))
async def test_the_feed_never_goes_back_whatever_is_delivered_again(epochs: list[int]) -> None:
    source = InMemoryEvents()
    feed = ProductionFeed(source, MODEL)
    for at, epoch in enumerate(epochs):
        source.add(promoted(f"v{epoch}", epoch))
        await feed.poll()
        assert version_of(feed) == f"v{max(epochs[: at + 1])}"


async def test_a_damaged_announcement_is_skipped_and_the_next_one_counts() -> None:
    source = announced(promoted("1", 1))
    source.add_record(
        NewRecord(topic=TOPICS.model_stage_changed, key=b"x", value=b"not json", timestamp_ms=1, partition=0)
    )
    source.add(promoted("2", 2))
    feed = ProductionFeed(source, MODEL)
    await feed.poll()
    assert version_of(feed) == "2"


async def test_the_embedded_feed_reads_what_another_process_appends(tmp_path: Path) -> None:
    log = new_log(tmp_path / "log.sqlite")
    source = EmbeddedEvents(tmp_path / "log.sqlite")
    router = Router(source, MODEL)
    assert not await router.poll()
    log.append([record_of(promoted("1", 1), TOPICS, source="registry")])
    assert await router.poll()
    assert [a.version for a in router.route("p")] == ["1"]
    log.append([record_of(experiment(), TOPICS, source="registry")])
    assert await router.poll()
    assert [a.version for a in router.route("p")] == ["1", "2"]
    await source.close()
    log.close()


async def test_a_log_without_topics_yet_has_nothing_to_say(tmp_path: Path) -> None:
    source = EmbeddedEvents(tmp_path / "log.sqlite")
    assert not await Router(source, MODEL).poll()
    await source.close()


async def test_deleted_history_does_not_stop_a_new_follower(tmp_path: Path) -> None:
    log = new_log(tmp_path / "log.sqlite")
    log.append([record_of(promoted(str(n), n), TOPICS, source="registry") for n in (1, 2, 3)])
    log.delete_before(TOPICS.model_stage_changed, 0, 2)
    source = EmbeddedEvents(tmp_path / "log.sqlite")
    feed = ProductionFeed(source, MODEL)
    await feed.poll()
    assert version_of(feed) == "3"
    await source.close()
    log.close()


async def test_outside_experiments_production_answers_alone() -> None:
    router = await router_of(promoted("1", 4))
    assert router.route("p") == (
        Assignment(
            version="1",
            variant=None,
            experiment=None,
            epoch=0,
            served=True,
            artifact_uri="local:brent-move/1",
            artifact_sha256="1" * 64,
        ),
    )


async def test_without_production_there_is_no_answer() -> None:
    with pytest.raises(NothingInProduction, match="brent-move has no PRODUCTION version yet"):
        (await router_of(experiment())).route("p")


async def test_in_shadow_mode_both_answer_and_the_champion_is_served() -> None:
    router = await router_of(promoted("1", 1), experiment(epoch=3))
    assert [(a.version, a.variant, a.experiment, a.epoch, a.served) for a in router.route("p")] == [
        ("1", "champion", "exp-1", 3, True),
        ("2", "challenger", "exp-1", 3, False),
    ]


@pytest.mark.parametrize(
    "ended",
    [
        ExperimentStatus.COMPLETED_PROMOTED,
        ExperimentStatus.COMPLETED_ROLLED_BACK,
        ExperimentStatus.CANCELLED,
    ],
)
async def test_what_has_ended_stays_ended(ended: ExperimentStatus) -> None:
    router = await router_of(promoted("1", 1), experiment(), experiment(status=ended), experiment(epoch=9))
    assert router.experiment is None
    assert [a.variant for a in router.route("p")] == [None]


async def test_an_experiment_of_another_model_is_none_of_ours() -> None:
    assert (await router_of(promoted("1", 1), experiment(model="another"))).experiment is None


async def test_an_experiment_that_a_promotion_has_overtaken_is_ignored() -> None:
    router = await router_of(promoted("1", 1), experiment(), promoted("2", 2))
    assert [(a.version, a.variant) for a in router.route("p")] == [("2", None)]


async def test_a_ramp_moves_units_to_the_challenger_only() -> None:
    def split(epoch: int, share: float) -> LifecycleEvent:
        return experiment(strategy=AllocationStrategy.USER_SEGMENT, epoch=epoch, share=share)

    before = await router_of(promoted("1", 1), split(1, 0.1))
    after = await router_of(promoted("1", 1), split(1, 0.1), split(2, 0.4))
    units = [f"unit-{n}" for n in range(500)]
    old, new = (
        {unit for unit in units if router.route("p", unit)[0].variant == "challenger"}
        for router in (before, after)
    )
    assert old < new
    assert {a.epoch for a in after.route("p", "unit-1")} == {2}
    with pytest.raises(UnitMissing):
        after.route("p")


async def test_units_of_other_segments_are_served_outside_the_experiment() -> None:
    named = experiment(strategy=AllocationStrategy.NAMED_SEGMENTS, share=0.9)
    router = await router_of(promoted("1", 1), named)
    inside = [router.route("p", f"u{n}", segment="vip")[0] for n in range(50)]
    assert {each.experiment for each in inside} == {"exp-1"}
    assert {each.variant for each in inside} == {"champion", "challenger"}
    for segment in ("retail", None):
        (answer,) = router.route("p", "u1", segment=segment)
        assert (answer.version, answer.variant, answer.experiment, answer.served) == ("1", None, None, True)


@pytest.mark.parametrize("strategy", list(AllocationStrategy))
async def test_while_an_experiment_is_paused_the_champion_answers_alone(
    strategy: AllocationStrategy,
) -> None:
    running = experiment(strategy=strategy)
    champion = running.variants[0].model_copy(update={"share": 1.0})
    paused = running.model_copy(update={"epoch": 2, "event_id": "paused", "variants": (champion,)})
    router = await router_of(promoted("1", 1), running, paused)
    answers = [router.route(f"p{n}", f"u{n}", segment="vip", at=AT) for n in range(50)]
    assert {(each.variant, each.epoch) for answer in answers for each in answer} == {("champion", 2)}
    assert all(len(answer) == 1 for answer in answers)


async def test_an_older_allocation_epoch_is_ignored() -> None:
    router = await router_of(promoted("1", 1), experiment(epoch=2, share=0.5), experiment(epoch=1, share=0.1))
    assert [a.epoch for a in router.route("p")] == [2, 2]


@pytest.mark.parametrize("strategy", list(AllocationStrategy))
async def test_routers_that_read_in_other_steps_assign_alike(strategy: AllocationStrategy) -> None:
    events = [promoted("1", 1), experiment(strategy=strategy), experiment(strategy=strategy, epoch=2)]
    at_once = await router_of(*events)
    source = InMemoryEvents()
    in_steps = Router(source, MODEL)
    for event in events:
        source.add(event)
        await in_steps.poll()
    requests = [(f"p{n}", f"u{n % 7}", AT + timedelta(seconds=20 * n)) for n in range(50)]
    answers: Callable[[Router], list[tuple[Assignment, ...]]] = lambda router: [
        router.route(request, unit, at=at) for request, unit, at in requests
    ]
    assert answers(at_once) == answers(in_steps)
