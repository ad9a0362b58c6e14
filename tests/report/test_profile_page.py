"""Profile pages: well-formed whatever is drawn, and what they say is what the profile holds."""

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.report.histogram import Bar, Bins, bars, calibration, density, drawable, seasons
from consumers.report.profile import render, render_comparison
from consumers.services.comparing import NothingToCompare, compare_profiles
from domain.windows.baseline import Judged
from domain.windows.build import build_profile, feature_reference
from domain.windows.layout import seasonal
from domain.windows.profile import ReferenceProfile
from domain.windows.season import DAY_MS, WEEK_MS, Season
from tests.report.pages import Page


def profile(version: str = "1", *, shift: float = 0.0, season: Season | None = None) -> ReferenceProfile:
    r = np.random.default_rng(1)
    times = np.arange(15_000) * 60_000
    x = r.normal(size=15_000) + shift
    p = 1 / (1 + np.exp(-x))
    labels = (r.random(15_000) < p).astype(np.float64)
    return build_profile(
        model="brent",
        version=version,
        task="probability",
        features={
            "x": x,
            "<side> & co": ["buy" if value > 0 else "sell" for value in x.tolist()],
            "constant": np.ones(15_000),
            "gaps": [None if number % 10 == 0 else number % 3 for number in range(15_000)],
        },
        predictions=p,
        judged=Judged(predictions=p, actuals=labels),
        layout=seasonal(times, season, 100) if season is not None else None,
    )


@pytest.mark.parametrize(
    "season", [None, Season(period_ms=DAY_MS, slots=24), Season(period_ms=WEEK_MS, slots=7)], ids=str
)
def test_a_profile_page_draws_every_feature_and_needs_nothing_else(season: Season | None) -> None:
    text = render(profile(season=season), "abc123")
    page = Page(text)
    assert page.open == []
    seasonal_pictures = 2 if season is not None else 0  # of x and of the prediction
    assert page.tags.count("svg") == 4 + 1 + 1 + seasonal_pictures
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert "&lt;side&gt; &amp; co" in text
    assert "<side>" not in text
    assert "10.0% missing" in text
    assert "abc123" in text
    assert render(profile(season=season), "abc123") == text


def test_a_bare_profile_has_a_page_too() -> None:
    text = render(ReferenceProfile(model="", version="", task="regression"))
    assert "not attached to a version" in text
    assert Page(text).open == []


def test_a_comparison_shows_the_furthest_first_with_its_distance() -> None:
    comparison = compare_profiles(profile("2"), profile("1", shift=0.5), 0.02)
    moved = {each.name: each for each in comparison.compared}
    assert comparison.compared[0].name in ("x", "<side> & co", "(prediction)")
    assert moved["x"].metrics.effect_sizes["wasserstein_per_sd"] == pytest.approx(0.5, abs=0.05)
    assert moved["x"].estimated
    assert not moved["constant"].estimated
    assert moved["gaps"].metrics.effect_sizes["psi"] == 0
    text = render_comparison(comparison)
    page = Page(text)
    assert page.tags.count("svg") == 5
    assert page.open == []
    assert text.index("moved by 0.") < text.index("<b>constant</b>")


def test_two_equal_profiles_are_nothing_apart() -> None:
    comparison = compare_profiles(profile("2"), profile("1"), 0.02)
    assert all(each.metrics.effect_sizes["psi"] == 0 for each in comparison.compared)
    assert all((each.metrics.p_value or 0.0) > 0.99 for each in comparison.compared)
    assert ">0</b><span>of 5 features with p &lt; 0.001" in render_comparison(comparison)


def test_features_of_one_side_are_named_and_none_in_common_is_refused() -> None:
    ours, theirs = (
        ReferenceProfile(
            model="m", version=number, task="regression", features={name: feature_reference([1.0, 2.0])}
        )
        for number, name in (("1", "a"), ("2", "b"))
    )
    with pytest.raises(NothingToCompare, match="no feature in common; apart: a, b"):
        compare_profiles(ours, theirs, 0.02)


def test_numbers_on_one_side_and_text_on_the_other_are_apart() -> None:
    ours, theirs = (
        ReferenceProfile(
            model="m",
            version=number,
            task="regression",
            features={"a": feature_reference(column), "b": feature_reference([1.0, 2.0])},
        )
        for number, column in (("1", [1.0, 2.0]), ("2", ["x", "y"]))
    )
    assert compare_profiles(ours, theirs, 0.02).apart == ["a"]


SHARES = st.lists(st.floats(0, 1), min_size=8, max_size=30)


@given(SHARES, SHARES, st.floats(1e-3, 1e6), st.floats(-1e9, 1e9))
def test_every_density_is_well_formed_and_within_its_frame(
    shares: list[float], now: list[float], width: float, start: float
) -> None:
    edges = start + width * np.arange(len(shares) + 1)
    ranges = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    both = [(values + [0.0] * len(shares))[: len(shares)] for values in (shares, now)]
    if not drawable(ranges):
        return  # numbers so large that the bins have no width left
    drawing = density("a <title>", Bins(ranges=ranges, shares=both[0]), Bins(ranges=ranges, shares=both[1]))
    ET.fromstring(drawing)
    assert "nan" not in drawing.lower()
    assert "inf" not in drawing.lower()
    for points in re.findall(r'class="(?:area|edge|line) c\d" points="([^"]+)"', drawing):
        for point in points.split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= 380
            assert 0 <= y <= 180


def test_a_spike_is_cut_off_and_marked() -> None:
    ranges = [(float(number), float(number + 1)) for number in range(10)]
    flat = Bins(ranges=ranges, shares=[0.1] * 10)
    spike = Bins(ranges=ranges, shares=[0.91, *[0.01] * 9])
    assert "dot c3" in density("t", flat, spike)
    assert "dot" not in density("t", flat, flat)


@given(st.lists(st.tuples(st.text(max_size=40), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=14))
def test_every_bar_chart_is_well_formed(found: list[tuple[str, float, float]]) -> None:
    printable = [("".join(filter(str.isprintable, name)), share, now) for name, share, now in found]
    for drawing in (
        bars("t", [Bar(label=name, share=share) for name, share, _ in printable]),
        bars("t", [Bar(label=name, share=share, now=now) for name, share, now in printable]),
    ):
        root = ET.fromstring(drawing)
        for each in root.iter("rect"):
            assert float(each.attrib["x"]) + float(each.attrib["width"]) <= 380


def test_seasons_and_calibrations_are_well_formed() -> None:
    ET.fromstring(seasons("t", [(0.0, 0.5, 1.0), (1.0, 1.0, 1.0)], ["Thu", "Fri"]))
    ET.fromstring(calibration("t", [0.3], [0.2]))


def test_few_or_very_unlike_bins_are_drawn_as_bars() -> None:
    assert not drawable([(0.0, 1.0)] * 3)
    assert not drawable([(0.0, 1e-6), *[(float(n), n + 1.0) for n in range(10)]])
    assert drawable([(float(n), n + 1.0) for n in range(10)])
