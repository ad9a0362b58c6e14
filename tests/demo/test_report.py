"""The report needs nothing else, has the same bytes for the same story, and lets no text out of its place."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from consumers.demo.charts import DAY_MS, rolling_mean
from consumers.demo.report import render_report, write_report
from tests.demo.stories import error_episode, input_episode, job, story, trial, uneventful
from tests.report.pages import Page


@pytest.fixture(scope="module")
def text() -> str:
    return render_report(story())


def test_the_page_is_well_formed_and_has_its_charts(text: str) -> None:
    page = Page(text)
    assert page.open == []
    assert page.tags.count("svg") == 4
    for words in ("v2 promoted", "error drift, from alarm to recovery", "v2 is PRODUCTION instead of v1"):
        assert words in text
    assert "they lie close: the chart below shows the gap" in " ".join(text.split())


def test_the_page_refers_to_nothing_outside_itself(text: str) -> None:
    page = Page(text)
    assert {"script", "link", "img", "iframe", "object", "image"}.isdisjoint(page.tags)
    references = [value for name, value in page.attributes if name in ("src", "href", "xlink:href")]
    assert references
    assert all(value and value.startswith("#") for value in references)
    assert "http" not in text
    assert "@import" not in text
    assert set(re.findall(r"url\((.)", text)) == {"#"}


def test_ids_are_unique_and_references_find_theirs(text: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text)) <= set(ids)


def test_colours_follow_the_page(text: str) -> None:
    drawings = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    used = set(re.findall(r"var\((--[a-z]+)\)", drawings))
    assert {"--served", "--frozen", "--ink", "--font"} <= used
    assert used <= set(re.findall(r"(--[a-z]+):", text))
    assert "DejaVu" not in drawings
    assert re.findall(r"#0a0b[0-9a-f]{2}", drawings) == []


def test_equal_stories_give_equal_bytes(text: str) -> None:
    assert render_report(story()) == text


def test_the_home_of_the_demo_is_not_in_the_page(text: str) -> None:
    assert render_report(story(report="elsewhere/report.html")) == text


def test_hostile_text_stays_text() -> None:
    hostile = "</svg></style><script>alert(1)</script>$\\frac{\u2603"
    told = story(
        model=hostile,
        experiments=(trial(challenger_version=hostile), trial(id="b", challenger_version="x" * 128)),
        retraining_jobs=(job(1, "FAILED", detail=hostile, reason=hostile, validation={}),),
        drift_episodes=(error_episode(1, version=hostile, id=hostile), input_episode(2, hostile)),
    )
    page = Page(render_report(told))
    assert "script" not in page.tags
    assert page.open == []


def test_a_story_in_which_nothing_happened_has_a_report() -> None:
    empty, quiet = render_report(uneventful()), render_report(uneventful(30))
    assert Page(empty).tags.count("svg") == 0
    assert "nothing served yet" in empty
    assert Page(quiet).tags.count("svg") == 3
    assert "No other version served" in quiet
    assert "None: no challenger showed that it is better." in quiet


def test_that_both_are_equal_before_the_promotion_is_said_only_if_they_are(text: str) -> None:
    equal = "on the others both are v1, and equal"
    assert equal in text
    told = story().series
    other = replace(told, frozen_v1=(told.frozen_v1[0] + 1e-9, *told.frozen_v1[1:]))
    assert equal not in render_report(story(series=other))


def test_an_unsound_run_is_not_called_sound() -> None:
    told = render_report(story(divergences=2, conservation_ok=False, series=story().series.where([])))
    assert "NOT SOUND" in told
    assert "records are unaccounted for" in told
    assert "2 divergences" in told


def test_the_report_is_written_whole_and_replaces_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "home" / "report.html"
    write_report(uneventful(), path)
    write_report(uneventful(3), path)
    assert path.read_text("utf-8") == render_report(uneventful(3))
    assert [found.name for found in path.parent.iterdir()] == ["report.html"]


def test_a_report_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.mkdir()
    with pytest.raises(OSError, match="report"):
        write_report(uneventful(), path)
    assert [found.name for found in tmp_path.iterdir()] == ["report.html"]


def test_the_rolling_mean_begins_when_a_full_span_has_passed() -> None:
    at_ms = [day * DAY_MS for day in (0, 1, 2, 5, 6)]
    means = rolling_mean(at_ms, [1.0, 2.0, 3.0, 4.0, 6.0], span_ms=2 * DAY_MS)
    # at day 2: days 1 and 2; at day 5 only itself, the days between had no prediction
    np.testing.assert_allclose(means, [np.nan, np.nan, 2.5, 4.0, 5.0])
