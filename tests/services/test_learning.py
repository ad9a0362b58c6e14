"""A profile learned from the log: what it is made of, when it counts, and that replay agrees."""

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from consumers.services.comparing import NothingToCompare, compare_windows
from consumers.services.history import HistoricalDataService, HistoryNotClosed
from consumers.services.learning import (
    Learned,
    Lesson,
    Stretch,
    TooFewWindows,
    last_windows,
    learn,
    whole_windows,
)
from consumers.services.profiles import NoProfile, profile_of, stored_profile
from consumers.services.registry import ProfileExists, ProfileOfAnotherTask
from consumers.store.errors import NotFound
from consumers.store.repositories.models import ModelRepository
from domain.windows.histogram import count_values
from domain.windows.profile import ReferenceProfile
from domain.windows.profile_error import ProfileError
from domain.windows.season import Season
from tests.services.deployment import EACH, LENGTH, MODEL, Deployment, deployment, outcome, prediction, served
from tests.store.builders import version

LEARNED = 60
"""Windows that are served before anything is learned."""


@pytest.fixture
async def where(tmp_path: Path, migrated_file: Path) -> AsyncIterator[Deployment]:
    """Version 1, without a profile, has served 60 windows."""
    async with deployment(tmp_path, migrated_file, partitions=2) as made:
        async with made.store.write() as session:
            models = ModelRepository(session)
            await models.create_model(name=MODEL, task="regression", created_at_ms=1)
            await models.add_version(version("1", model=MODEL))
        await made.append(*served(0, LEARNED))
        await made.beat(LEARNED * LENGTH + 2_000)
        await made.tallied()
        yield made


def history(where: Deployment) -> HistoricalDataService:
    topics = where.topics
    return HistoricalDataService(where.log, topics.predictions, topics.outcomes, where.policy, where.limits)


def lesson(stretch: Stretch, **other: object) -> Lesson:
    return Lesson(model=MODEL, version="1", task="regression", stretch=stretch, **other)  # type: ignore[arg-type]


async def learned(where: Deployment, windows: int = 55) -> Learned:
    async with where.store.read() as session:
        stretch = await last_windows(session, MODEL, "1", windows, where.policy)
    return await learn(history(where), lesson(stretch))


async def attached(where: Deployment, profile: ReferenceProfile) -> ReferenceProfile:
    async with where.store.write() as session:
        return await where.registry.attach_profile(session, MODEL, "1", profile)


async def test_a_profile_holds_what_was_served_in_the_windows_asked_for(where: Deployment) -> None:
    found = await learned(where)
    assert (found.windows, found.rows, found.outcomes) == (55, 55 * EACH, 55 * EACH)
    x = found.profile.features["x"]
    assert count_values(x, [-1.0] * (55 * EACH // 2) + [1.0] * (55 * EACH // 2)) == list(x.counts)
    assert x.phi == 1.0
    assert found.profile.prediction is not None
    assert found.profile.errors["abs_error"].n == 55 * EACH
    assert found.profile.errors["abs_error"].mean == pytest.approx(0.1)
    assert found.profile.error_clip == pytest.approx(0.1)


async def test_drift_is_found_once_a_learned_profile_counts_and_replay_agrees(where: Deployment) -> None:
    await where.judged()
    assert await where.decisions() == []
    dated = await attached(where, (await learned(where)).profile)
    closed = LEARNED * LENGTH
    assert dated.effective_from_ms >= closed
    before = await where.rows()
    # windows 62 to 69 are as they were learned; from 70 on the feature is another
    await where.append(*served(62, 70), *served(70, 80, low=9))
    await where.beat(80 * LENGTH + 10_000)
    await where.tallied()
    await where.judged()
    rows = await where.rows()
    assert {key: rows[key] for key in before} == before
    with_features = {
        key[1] for key, (_, body) in rows.items() if key[0] == "input" and "features" in orjson.loads(body)
    }
    assert with_features == {number * LENGTH for number in range(62, 80)}
    opened = [each for each in await where.decisions() if each.kind == "drift"]
    assert [each.subject for each in opened] == ["1/DATA_DRIFT"]
    assert opened[0].at_ms > 70 * LENGTH
    assert orjson.loads(opened[0].body)["evidence"]["features"] == ["x"]
    report = await where.replaying.replay()
    assert report.equal
    assert report.decisions == len(await where.decisions())
    assert await where.divergences() == 0
    assert await where.balanced()


async def test_a_learned_profile_is_a_function_of_the_log(where: Deployment) -> None:
    assert (await learned(where)).profile == (await learned(where)).profile
    again = await learned(where)
    await where.append(*served(62, 70, low=9, actual=9.0))
    assert (await learn(history(where), lesson(Stretch(from_ms=5 * LENGTH, to_ms=60 * LENGTH)))) == again


async def test_phi_is_measured_over_the_windows_of_the_log(where: Deployment) -> None:
    # every other window leans the other way: within windows nothing to see, between them everything
    for number in range(62, 130):
        await where.append(*served(number, number + 1, low=8 if number % 2 else 2))
    await where.beat(140 * LENGTH)
    found = await learn(history(where), lesson(Stretch(from_ms=62 * LENGTH, to_ms=130 * LENGTH)))
    # shares of .2 and .8 in windows of 120: n times .36 over a variance of 1
    assert found.profile.features["x"].phi == pytest.approx(EACH * 0.36 * 68 / 67, rel=1e-6)


async def test_a_season_is_learned_by_the_windows_of_its_slots(where: Deployment) -> None:
    for number in range(62, 130):
        await where.append(*served(number, number + 1, low=8 if number % 2 else 2))
    await where.beat(140 * LENGTH)
    season = Season(period_ms=2 * LENGTH, slots=2)
    stretch = Stretch(from_ms=62 * LENGTH, to_ms=130 * LENGTH)
    x = (await learn(history(where), lesson(stretch, season=season))).profile.features["x"]
    assert x.phi == 1.0
    assert [slot[0] for slot in x.seasonal] == [34 * 24, 34 * 96]
    with pytest.raises(ProfileError, match="season slot 0 "):
        await learn(history(where), lesson(stretch, season=Season(period_ms=200 * LENGTH, slots=100)))


async def test_what_is_late_repeated_in_shadow_or_of_others_is_not_learned_from(where: Deployment) -> None:
    start = 62 * LENGTH
    for number in range(62, 64):
        await where.append(*served(number, number + 1))
    shadow = {"served": False, "variant": "b", "experiment": "e", "epoch": 1}
    await where.append(
        prediction(62 * EACH, start + 2_000, features={"x": 5.0}),  # the id again, in a later window
        prediction(62 * EACH, start + 2_001, features={"x": 7.0}),  # and again in that one
        prediction(999_001, start, features={"x": 7.0}),  # late
        prediction(999_002, start + 2_002, features={"x": 7.0}, version="2"),
        prediction(999_003, start + 2_003, features={"x": 7.0}, **shadow),
        partition=0,
    )
    await where.beat(start + 60_000)
    stretch = Stretch(from_ms=start, to_ms=start + 3 * LENGTH)
    found = await learn(history(where), lesson(stretch, least_windows=1))
    assert found.rows == 2 * EACH + 1
    assert found.profile.features["x"].edges[-1] <= 5.0
    assert found.profile.features["x"].counts[-2:] == (0, 0)


async def test_outcomes_count_once_their_side_is_closed(where: Deployment) -> None:
    start = 62 * LENGTH
    events = [prediction(62 * EACH + n, start + n, horizon_s=1 if n % 2 else 1_000) for n in range(100)]
    await where.append(*events, *(outcome(62 * EACH + n, start + 20 + n, actual=2.0) for n in range(100)))
    await where.beat(start + 60_000)
    stretch = Stretch(from_ms=start, to_ms=start + LENGTH)
    found = await learn(history(where), lesson(stretch, least_windows=1))
    assert (found.rows, found.outcomes) == (100, 50)


async def test_a_stretch_that_can_still_change_is_not_learned_from(where: Deployment) -> None:
    with pytest.raises(HistoryNotClosed):
        await learn(history(where), lesson(Stretch(from_ms=0, to_ms=80 * LENGTH)))


async def test_too_few_windows_are_refused(where: Deployment) -> None:
    with pytest.raises(TooFewWindows, match="served in 60 closed windows of the stretch; 61 are needed"):
        await learned(where, windows=61)
    few = Stretch(from_ms=0, to_ms=49 * LENGTH)
    with pytest.raises(TooFewWindows, match="served in 49 closed windows of the stretch; 50 are needed"):
        await learn(history(where), lesson(few))
    assert (await learn(history(where), lesson(few, least_windows=1))).windows == 49
    with pytest.raises(TooFewWindows, match="served in 0 closed windows"):
        await learn(history(where), Lesson(model=MODEL, version="9", task="regression", stretch=few))


async def test_a_version_keeps_the_profile_it_has(where: Deployment) -> None:
    profile = (await learned(where)).profile
    dated = await attached(where, profile)
    with pytest.raises(ProfileExists, match="version 1 of m has a reference profile already"):
        await attached(where, profile)
    async with where.store.read() as session:
        assert profile_of(await stored_profile(session, MODEL, "1")) == dated


async def test_profiles_of_other_tasks_and_for_unknown_versions_are_refused(where: Deployment) -> None:
    profile = ReferenceProfile(model="", version="", task="probability")
    with pytest.raises(ProfileOfAnotherTask, match="m is a model of task regression"):
        await attached(where, profile)
    async with where.store.write() as session:
        with pytest.raises(NotFound):
            await where.registry.attach_profile(session, MODEL, "9", profile)
    async with where.store.read() as session:
        with pytest.raises(NoProfile):
            await stored_profile(session, MODEL, "1")


def test_a_stretch_of_time_is_the_windows_it_touches(where: Deployment) -> None:
    assert whole_windows(1_500, 3_001, where.policy) == Stretch(from_ms=1_000, to_ms=4_000)
    assert whole_windows(1_000, 3_000, where.policy) == Stretch(from_ms=1_000, to_ms=3_000)


async def test_a_profile_is_compared_with_closed_windows(where: Deployment) -> None:
    await attached(where, (await learned(where)).profile)
    await where.append(*served(62, 70), *served(70, 80, low=9))
    await where.beat(80 * LENGTH + 10_000)
    await where.tallied()
    async with where.store.read() as session:
        calm, moved = [
            await compare_windows(
                session, MODEL, "1", Stretch(from_ms=a * LENGTH, to_ms=b * LENGTH), LENGTH, 0.02
            )
            for a, b in ((0, 70), (70, 80))
        ]
        with pytest.raises(
            NothingToCompare, match="no closed window there that its reference profile counts"
        ):
            await compare_windows(session, MODEL, "1", Stretch(from_ms=0, to_ms=LENGTH), LENGTH, 0.02)
    assert (calm.windows, moved.windows) == (8, 10)
    assert calm.span == Stretch(from_ms=62 * LENGTH, to_ms=70 * LENGTH)
    x = {each.name: each for each in calm.compared}["x"]
    assert x.metrics.effect_sizes["psi"] == 0
    assert moved.compared[0].name == "x"
    assert sum(moved.compared[0].counts) == 10 * EACH
    assert moved.compared[0].metrics.p_value is not None
    assert moved.compared[0].metrics.p_value < 1e-9
