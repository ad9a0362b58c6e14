"""The page of an experiment tells its verdict with every number, needs nothing else, and lets no text out."""

import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.report import words
from consumers.report.experiment import render
from consumers.report.page import Markup, table, text, write_whole
from consumers.services.judging import Judging
from consumers.services.trial_paths import TrialPath, trial_path
from consumers.store.repositories.pruning import PruningRepository
from domain.experiments.plan import ExperimentPlan
from tests.report.pages import Page
from tests.report.trials import LENGTH_MS, Stream, a_plan, judge, rows, start
from tests.services.world import MODEL, World

GUARDED: dict[str, Any] = {"guardrails": [{"metric": "abs_error", "direction": "decrease", "margin": 0.2}]}


def the_plan(name: str = "e1", strategy: str = "PERCENTAGE_SPLIT", **fields: Any) -> ExperimentPlan:
    """Version 2 against version 1."""
    made = a_plan(name, strategy, **fields)
    champion, challenger = made.variants
    return replace(made, variants=(replace(champion, version="1"), replace(challenger, version="2")))


@pytest.fixture
async def ready(registry_world: World) -> World:
    windows = replace(registry_world.context.windows, length_ms=LENGTH_MS)
    context = replace(registry_world.context, windows=windows)
    await registry_world.with_production()
    return replace(registry_world, context=context)


async def told(world: World, name: str = "e1") -> TrialPath:
    async with world.store.read() as session:
        found = await trial_path(session, name, LENGTH_MS)
    assert found is not None
    return found


async def lived(
    world: World, plan: ExperimentPlan, stream: Stream, windows: int = 40, epochs: int = 1
) -> TrialPath:
    await start(world.store, world.experiments, plan)
    closed = [
        row
        for epoch in range(1, epochs + 1)
        for row in rows(plan, replace(stream, seed=epoch), (epoch - 1) * windows, epoch * windows, epoch)
    ]
    judging = Judging(context=world.context, experiments=world.experiments)
    await judge(world.store, judging, MODEL, closed)
    return await told(world, plan.experiment)


def plain(page: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page)).split())


def assert_sound(page: str) -> None:
    seen = Page(page)
    assert seen.open == []
    assert {"script", "link", "img", "iframe", "object", "image"}.isdisjoint(seen.tags)
    assert not [
        name for name, _ in seen.attributes if name in ("src", "href", "style") or name.startswith("on")
    ]
    assert "http" not in page
    assert "@import" not in page
    ids = [value for name, value in seen.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)
    assert re.search(r"\b(nan|inf)\b", plain(page)) is None


@pytest.mark.parametrize("strategy", ["PERCENTAGE_SPLIT", "SHADOW_MODE"])
@pytest.mark.parametrize(
    "gain,says,headline",
    [
        (0.5, "Version 2 is to replace version 1: decided on", "promotion decided"),
        (-0.5, "Version 2 does harm and version 1 stays: decided on", "rolled back"),
        (0.0, "has no verdict", "runs"),
    ],
)
async def test_what_the_judge_decided_is_told_and_recomputed_to_the_bit(
    ready: World, strategy: str, gain: float, says: str, headline: str
) -> None:
    found = await lived(ready, the_plan(strategy=strategy, **GUARDED), Stream(gain=gain), windows=12)
    assert found.agrees is True
    assert words.headline(found) == headline
    page = render(found)
    assert_sound(page)
    assert says in plain(page)
    assert found.last is not None
    (measures,) = found.last["treatments"].values()
    primary = measures["primary"]
    for number in (primary["estimate"], primary["lower"], primary["upper"]):
        assert words.signed(number) in plain(page)
    assert words.e_value(primary["log_e"]) in plain(page)
    pictures = 4 if strategy == "SHADOW_MODE" else 5
    assert Page(page).tags.count("svg") == pictures
    assert render(await told(ready)) == page


async def test_what_each_arm_scored_on_its_own_is_a_table(ready: World) -> None:
    found = await lived(ready, the_plan(), Stream(), windows=12)
    assert list(found.levels) == ["champion", "challenger-1"]
    page = plain(render(found))
    assert "What each arm scored on its own, on abs_error" in page
    for level in found.levels.values():
        assert (level.n, level.rate_lower) == (480, None)
        assert f"{level.mean:.6g}" in page


SQUARED = {"metric": "squared_error", "direction": "decrease"}


@pytest.mark.parametrize(
    "gain,other,says,loses",
    [
        (0.0, 0.5, "is better on squared_error: gain", "none of the 2 is shown to get worse"),
        (0.5, -0.5, "has no verdict", "Shown to get worse: squared_error (e-value"),
    ],
)
async def test_of_several_primaries_each_has_its_picture_its_sentence_and_its_rows(
    ready: World, gain: float, other: float, says: str, loses: str
) -> None:
    plan = the_plan(more_primaries=[SQUARED], harm=[])
    found = await lived(ready, plan, Stream(gain=gain, other=other), windows=20)
    assert found.agrees is True
    page = render(found)
    assert_sound(page)
    words_of_it = plain(page)
    assert says in words_of_it
    assert loses in words_of_it
    assert "Estimated gain on squared_error (above zero" in words_of_it
    assert "alpha 0.05, shared by 2 primaries, lets a challenger" in words_of_it
    assert Page(page).tags.count("svg") == 5
    assert found.last is not None
    (measures,) = found.last["treatments"].values()
    for measure in (measures["primary"], *measures["more_primaries"]):
        assert words.signed(measure["lower"]) in words_of_it


async def test_a_horizon_without_a_decision_is_not_called_no_effect(ready: World) -> None:
    found = await lived(ready, the_plan(max_outcomes=400), Stream(gain=0.02))
    page = plain(render(found))
    assert words.headline(found) == "no decision"
    assert "reached the horizon of 400 outcomes" in page
    assert "That is not the same as no effect" in page
    assert found.agrees is True


async def test_epochs_are_counted_and_checked_apart(ready: World) -> None:
    found = await lived(ready, the_plan(), Stream(challenger_share=0.3), windows=30, epochs=2)
    assert [each.epoch for each in found.allocations] == [1, 2]
    page = plain(render(found))
    assert "INVALID: the predictions and outcomes that arrived are not split as planned" in page
    assert "30%" in page
    whole = [sum(each.arms[name].n for each in found.allocations) for name in ("champion", "challenger-1")]
    assert found.last is not None
    assert whole == [found.last["arms"][name]["n"] for name in ("champion", "challenger-1")]


async def test_what_a_promotion_waits_for_is_said(ready: World) -> None:
    plan = the_plan(minimums={"batches": 50, "outcomes_per_arm": 50}, **GUARDED)
    page = plain(render(await lived(ready, plan, Stream(gain=0.5), windows=12)))
    assert "Minimums that a promotion still waits for: 12 of 50 batches" in page


async def test_a_cancelled_experiment_shows_the_way_that_it_went(ready: World) -> None:
    await lived(ready, the_plan(), Stream(), windows=8)
    async with ready.store.write() as session:
        await ready.experiments.cancel(session, "e1")
    found = await told(ready)
    assert len(found.path) == 8
    page = plain(render(found))
    assert "It was cancelled on 1970-01-01 00:08 after 640 outcomes in 8 batches" in page
    assert "It spends alpha 0.05 from the account of 1970Q1, which has spent 0.05 of 0.1." in page


async def test_before_the_first_look_there_is_a_page_too(ready: World) -> None:
    async with ready.store.write() as session:
        await ready.experiments.create(session, the_plan())
    assert "It has not been started." in plain(render(await told(ready)))
    await start(ready.store, ready.experiments, the_plan())
    running = plain(render(await told(ready)))
    assert "It runs since 1970-01-01 00:00" in running or "It runs since 1970-01-01" in running
    assert "The judge has not looked at any batch of it." in running
    async with ready.store.write() as session:
        await ready.experiments.cancel(session, "e1")
    page = render(await told(ready))
    assert_sound(page)
    assert "It gave its alpha 0.05 back: it was cancelled before any look." in plain(page)


async def test_a_way_whose_rows_are_deleted_is_not_made_up(ready: World) -> None:
    await lived(ready, the_plan(), Stream(gain=0.5), windows=12)
    async with ready.store.write() as session:
        await PruningRepository(session).delete_rows(200_000, [0], 1_000)
    found = await told(ready)
    assert (found.pruned, found.path, found.agrees) == (True, (), None)
    page = render(found)
    assert_sound(page)
    assert "Retention has deleted window rows of its time" in plain(page)
    assert "Version 2 is to replace version 1" in plain(page), "the verdict keeps its evidence"


async def test_numbers_that_differ_from_the_stored_ones_are_cried_out(ready: World) -> None:
    found = await lived(ready, the_plan(), Stream(gain=0.5), windows=12)
    assert found.numbers is not None
    wrong = replace(found, numbers={**found.numbers, "outcomes": 1})
    assert wrong.agrees is False
    assert "does NOT end at the stored numbers" in plain(render(wrong))


async def test_hostile_names_stay_text(ready: World) -> None:
    hostile = "</p></svg></style><script>alert(1)</script>&lt; \u2603 'x' \"y\""
    plan = the_plan(hostile, **GUARDED)
    champion, challenger = plan.variants
    plan = replace(plan, variants=(champion, replace(challenger, name=hostile)))
    found = await lived(ready, plan, Stream(gain=0.3), windows=10)
    page = render(found)
    assert_sound(page)
    assert "<script" not in page
    assert hostile in unescape(page)


async def test_several_challengers_have_a_line_and_a_sentence_each(ready: World) -> None:
    plan = the_plan()
    champion, challenger = plan.variants
    third = 1 / 3
    arms = [replace(champion, share=third), replace(challenger, share=third)]
    other = replace(challenger, name="other", version="3", share=1 - 2 * third)
    plan = replace(plan, variants=(*arms, other))
    async with ready.store.write() as session:
        await ready.register(session)
    await start(ready.store, ready.experiments, plan)
    closed = []
    for name, version in (("challenger-1", "2"), ("other", "3")):
        pair = replace(the_plan(), variants=(champion, replace(challenger, name=name, version=version)))
        found = list(rows(pair, Stream(seed=int(version)), 0, 12))
        closed += found if name == "challenger-1" else [row for row in found if row.key.variant == name]
    await judge(ready.store, Judging(context=ready.context, experiments=ready.experiments), MODEL, closed)
    page = plain(render(await told(ready)))
    assert "shared by 2 challengers" in page
    assert "Version 2 (challenger-1) on abs_error" in page
    assert "Version 3 (other) on abs_error" in page
    assert "version 3 harm" in page


async def test_an_e_value_of_several_tests_names_each(ready: World) -> None:
    found = await lived(ready, the_plan(), Stream(gain=0.5), windows=12)
    assert found.numbers is not None
    (measures,) = found.numbers["treatments"].values()
    exact = {"mcnemar_log_e": 4.0, "only_treatment_right": 31, "only_champion_right": 12}
    odds = {"odds_log_e": 5.0, "odds_ratio_lower": 1.25, "odds_ratio_upper": None}
    several = measures | {"primary": measures["primary"] | exact, "harm": [measures["harm"][0] | odds]}
    page = plain(render(replace(found, numbers={**found.numbers, "treatments": {"challenger-1": several}})))
    contrast = words.e_value(measures["primary"]["contrast_log_e"])
    assert (
        f"the smaller of {contrast} by the comparison of means and 54.6 by the exact test of pairs." in page
    )
    assert "Only the challenger was right 31 times, only the champion 12 times." in page
    assert (
        "and 148 by the exact test of hits. Odds of a hit, challenger to champion: 1.25 to unbounded." in page
    )
    assert "the smaller of" not in plain(render(found))


@given(st.text())
def test_all_text_is_escaped_once(value: str) -> None:
    assert unescape(text(value)) == unescape(text(text(value)))
    assert not set("<>\"'") & set(text(value))
    assert text(Markup("<b>")) == "<b>"
    cells = table(["a"], [[value]])
    assert Page(cells).open == []


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "there" / "page.html"
    write_whole(path, "one")
    write_whole(path, "two")
    assert path.read_text("utf-8") == "two"
    assert [each.name for each in path.parent.iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    "log_e,said",
    [
        (6.9077552789, "1,000"),
        (3.0, "20.1"),
        (0.0, "1"),
        (-1e300, "under 0.000001"),
        (1e300, "over 1,000,000"),
    ],
)
def test_e_values_are_written_as_people_read_them(log_e: float, said: str) -> None:
    assert words.e_value(log_e) == said
