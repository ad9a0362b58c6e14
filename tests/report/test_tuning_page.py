"""The page of a tuning shows every alarm once on each side, as lanes and as numbers."""

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.report.lanes import LEFT, Bar, Group, Lane, Lanes, Mark, Stretch, svg
from consumers.report.plot import WIDTH
from consumers.report.tuning import lasting, letters, per_month, render, shifted
from consumers.services.replaying import Difference
from consumers.services.tuning import Candidate, Served, Tuning, settings_of
from domain.judgement.policy import DatedPolicy, JudgementPolicy
from domain.judgement.timeline import Span, Timeline, compared
from tests.report.pages import Page
from tests.report.test_experiment_report import assert_sound, plain
from tests.store.builders import decision

DAY = 86_400_000
TIMES = st.integers(-100, 200).map(lambda day: float(day * DAY))


def span(opened: float, closed: float | None, **other: object) -> Span:
    made = Span(
        version="1",
        drift_type="DATA_DRIFT",
        estimate=False,
        opened_ms=round(opened * DAY),
        escalated_ms=None,
        closed_ms=None if closed is None else round(closed * DAY),
        severity="drift",
        detector="roll-up-chi-square",
        features=("x",),
    )
    return replace(made, **other)  # type: ignore[arg-type]


def line(*spans: Span, retrain: tuple[float, ...] = ()) -> Timeline:
    orders = tuple(round(at * DAY) for at in retrain)
    return Timeline(from_ms=0, to_ms=60 * DAY, spans=spans, retrain_ms=orders)


def a_tuning(**other: object) -> Tuning:
    real = line(
        span(10, 12),
        span(30, 40, severity="warn", escalated_ms=33 * DAY),
        span(50, None, drift_type="PERFORMANCE_DEGRADATION", estimate=True, severity="warn", features=()),
        retrain=(10, 33),
    )
    found = line(span(31, 36), span(20, 21, features=("a", "b", "c", "d", "e", "f")))
    (setting,) = settings_of({"drift": {"errors": {"delta": 0.1}}}, [], "mine.json")
    made = Tuning(
        model="brent",
        from_ms=0,
        to_ms=60 * DAY,
        rows=240,
        windows=60,
        real=real,
        policies=(
            DatedPolicy(effective_from_ms=0, policy=JudgementPolicy()),
            DatedPolicy(effective_from_ms=45 * DAY, policy=JudgementPolicy(errors=None)),
        ),
        served=(Served(version="1", from_ms=0), Served(version="2", from_ms=41 * DAY)),
        candidates=(
            Candidate(
                setting=setting,
                timeline=found,
                comparison=compared(real.spans, found.spans),
                notes=("estimate: no row holds an estimate",),
            ),
        ),
        difference=None,
        pruned_through_ms=None,
    )
    return replace(made, **other)  # type: ignore[arg-type]


def test_the_page_tells_what_both_have_and_what_only_one_has() -> None:
    page = render(a_tuning())
    assert_sound(page)
    words = plain(page)
    assert "the real alarms are exactly these" in words
    assert "A mine.json" in words
    assert "A 2 1 9.333% 1 2 1 1 d later 1 d later 1 d later 0" not in words, "six days of sixty are 10 %"
    assert "A 2 1 10% 1 2 1 1 d later 1 d later 1 d later 0" in words
    assert "PERFORMANCE_DEGRADATION (estimate)" in words
    assert "A: only with it, 1 episode" in words
    assert "a, b, c, d, e …" in words
    assert "A dashed line is where another policy came into force" in words
    assert "A, estimate: no row holds an estimate." in words
    assert Page(page).tags.count("svg") == 1
    assert render(a_tuning()) == page


def test_a_real_alarm_is_drawn_in_its_lane_and_faint_behind_the_others() -> None:
    page = render(a_tuning())
    assert page.count('class="shade c0"') == 2
    assert page.count('class="bar c0"') == 2 + 2, "two of each side are severe"
    assert page.count('class="bar pale c0"') == 1, "the real warning before it became a drift"
    assert page.count('class="bar pale c1"') == 2, "an open warning, and the arrow at its end"
    assert page.count('class="bar c5"') == 2, "orders to retrain"


@pytest.mark.parametrize(
    "other,says",
    [
        (
            {"difference": Difference(stored=decision("d-9", at_ms=5 * DAY), recomputed=None)},
            "NOT those that the rows lead to; the first that differs is drift 1/chi2 of 1970-01-06",
        ),
        ({"pruned_through_ms": 4 * DAY}, "Rows that fell due by 1970-01-05 are deleted"),
    ],
)
def test_what_is_not_proven_is_said(other: dict[str, object], says: str) -> None:
    words = plain(render(a_tuning(**other)))
    assert says in words
    assert "exactly these" not in words


def test_a_model_in_peace_has_a_page_too() -> None:
    (setting,) = settings_of({}, [], "p")
    quiet = Candidate(setting=setting, timeline=line(), comparison=compared([], []), notes=())
    page = render(a_tuning(real=line(), candidates=(quiet,)))
    assert_sound(page)
    assert "no alarms" in plain(page)


def test_hostile_names_stay_text() -> None:
    hostile = "</title></svg><script>alert(1)</script>"
    real = line(span(1, 2, version=hostile, features=(hostile,)))
    page = render(a_tuning(model=hostile, real=real, served=(Served(version=hostile, from_ms=0),)))
    assert_sound(page)
    assert "<script" not in page


@given(
    st.lists(st.tuples(TIMES, TIMES | st.none(), TIMES | st.none()), max_size=6),
    st.lists(TIMES, max_size=4),
    st.integers(1, 40),
)
def test_nothing_leaves_the_lanes(
    bars: list[tuple[float, float | None, float | None]], marks: list[float], lanes: int
) -> None:
    drawn = [
        Bar(first=first, last=None if last is None else max(first, last), severe_from=severe, told="<t>")
        for first, last, severe in bars
    ]
    picture = Lanes(
        name="n",
        title="t",
        x=(0.0, 100.0 * DAY),
        groups=[
            Group(
                title="g",
                color=0,
                lanes=[
                    Lane(label=str(number), bars=drawn, marks=[Mark(at=at, told="m") for at in marks])
                    for number in range(lanes)
                ],
            )
        ],
        strip="serving",
        stretches=[Stretch(label="1", first=-5.0), Stretch(label="2", first=5.0 * DAY)],
        changes=[Mark(at=at, told="c") for at in marks],
    )
    root = ET.fromstring(svg(picture))
    height = float(root.attrib["viewBox"].split()[3])
    for each in root.iter("rect"):
        x, y = float(each.attrib["x"]), float(each.attrib["y"])
        assert LEFT - 0.1 <= x <= WIDTH
        assert float(each.attrib["width"]) >= 0
        assert 0 <= y <= y + float(each.attrib["height"]) <= height
    assert re.search(r"\b(nan|inf)\b", svg(picture)) is None


def test_lengths_and_names_are_written_as_people_read_them() -> None:
    assert [lasting(ms) for ms in (1_500, 60_000, 5_400_000, 3 * DAY)] == ["1.5 s", "1 min", "1.5 h", "3 d"]
    assert [shifted(ms) for ms in (None, 0, DAY, -60_000)] == [None, "same", "1 d later", "1 min earlier"]
    assert letters(2) == ["A", "B"]
    assert letters(64)[25:28] == ["Z", "A1", "B1"]
    assert len(set(letters(64))) == 64
    assert per_month(a_tuning(), a_tuning().real) == pytest.approx(1.5)
