"""The page of an estimate, whatever has arrived."""

import math
from dataclasses import replace

import pytest

from consumers.report.estimate import render, sentences
from consumers.services.estimating import Estimation, Stretch
from domain.drift.cbpe import ExpectedConfusion
from tests.report.test_experiment_report import assert_sound, plain

DAY = 86_400_000
EXPECTED = ExpectedConfusion(n1=400, s1=320.0, n0=600, s0=90.0)


def stretch(day: int, outcomes: int, hits: float, expected: ExpectedConfusion = EXPECTED) -> Stretch:
    return Stretch(
        first_ms=day * DAY,
        last_ms=(day + 1) * DAY,
        windows=24,
        expected=expected,
        judged=expected if outcomes else ExpectedConfusion(),
        answers=1_000,
        outcomes=outcomes,
        hits=hits,
        phi=1.0,
        reference_n=math.inf,
    )


def told(*stretches: Stretch, served: bool = True, promised: float | None = 0.83) -> Estimation:
    return Estimation(
        model="</p><script>m", version="1", served=served, promised_accuracy=promised, stretches=stretches
    )


def test_what_happened_stands_beside_what_was_expected() -> None:
    page = render(told(stretch(0, 1_000, 825.0), stretch(1, 900, 630.0), stretch(2, 0, 0.0)))
    assert_sound(page)
    words = plain(page)
    assert "1970-01-02 24 1,000 0.83 0.8 0.78049 0.79012 900 0.7" in words
    assert "Accuracy is 0.130 below what was expected in the stretch from 1970-01-02" in words
    assert "in 1 stretch of 3 by 4 standard errors or more" in words
    assert page == render(told(stretch(0, 1_000, 825.0), stretch(1, 900, 630.0), stretch(2, 0, 0.0)))


@pytest.mark.parametrize(
    "found",
    [
        told(stretch(0, 0, 0.0), promised=None),
        told(stretch(0, 10, 10.0, ExpectedConfusion(n1=10, s1=10.0))),
        told(stretch(0, 5, 0.0, ExpectedConfusion(n0=5))),
        told(stretch(0, 0, 0.0, ExpectedConfusion())),
    ],
)
def test_every_stretch_has_a_page(found: Estimation) -> None:
    assert_sound(render(found))


def test_shadow_answers_are_called_so() -> None:
    assert any("answers in the shadow" in each for each in sentences(told(stretch(0, 9, 9.0), served=False)))


def test_the_standard_error_is_that_of_coins_widened_by_phi_and_the_reference() -> None:
    one = stretch(0, 1_000, 800.0)
    p = (0.83 * 1_000 + 0.5) / 1_001
    assert one.standard_error == pytest.approx(math.sqrt(p * (1 - p) / 1_000))
    assert one.standard_errors == pytest.approx(-0.03 / math.sqrt(p * (1 - p) / 1_000))
    wider = replace(one, phi=4.0, reference_n=1_000)
    assert wider.standard_error == pytest.approx(math.sqrt(8) * math.sqrt(p * (1 - p) / 1_000))
