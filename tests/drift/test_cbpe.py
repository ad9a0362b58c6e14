"""Expected performance from four sums: as NannyML computes it, and merged in any order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.drift.cbpe import ExpectedConfusion, expected, merge
from tests.reference.cases import CASES


def test_four_sums_give_nannymls_estimates() -> None:
    n1, s1, n0, s0 = CASES["D12"]["inp"]
    found = ExpectedConfusion(n1=n1, s1=s1, n0=n0, s0=s0)
    figures = [found.accuracy, found.precision, found.recall, found.f1]
    assert figures == pytest.approx(CASES["D12"]["out"], rel=1e-14)
    assert found.error_rate == pytest.approx(1 - CASES["D12"]["out"][0], rel=1e-12)


def test_figures_without_a_denominator_are_unknown() -> None:
    nothing = ExpectedConfusion()
    assert [nothing.accuracy, nothing.error_rate, nothing.precision, nothing.recall, nothing.f1] == [None] * 5
    surely_negative = expected([0.0, 0.0])
    assert surely_negative.accuracy == 1
    assert [surely_negative.precision, surely_negative.recall, surely_negative.f1] == [None] * 3


def test_an_estimate_is_close_to_what_calibrated_labels_show() -> None:
    generator = np.random.default_rng(1)
    p = generator.beta(0.5, 0.5, 40_000)
    labels = generator.random(40_000) < p
    answers = p >= 0.5
    found = expected(p.tolist())
    assert found.accuracy == pytest.approx((answers == labels).mean(), abs=0.01)
    assert found.precision == pytest.approx(labels[answers].mean(), abs=0.01)
    assert found.recall == pytest.approx(answers[labels].mean(), abs=0.01)


def test_an_estimate_is_blind_to_a_changed_relation() -> None:
    generator = np.random.default_rng(2)
    p = generator.beta(0.5, 0.5, 10_000)
    turned = generator.random(10_000) < 1 - p
    assert expected(p.tolist()).accuracy == pytest.approx(0.82, abs=0.02)
    assert ((p >= 0.5) == turned).mean() < 0.2


probabilities = st.lists(st.floats(0, 1), max_size=20)


@given(st.lists(probabilities, max_size=6))
def test_parts_add_up_in_any_order(parts: list[list[float]]) -> None:
    found = [expected(part) for part in parts]
    whole = merge(found)
    assert whole == merge(reversed(found))
    everything = expected([p for part in parts for p in part])
    assert (whole.n1, whole.n0) == (everything.n1, everything.n0)
    assert (whole.s1, whole.s0) == pytest.approx((everything.s1, everything.s0), abs=1e-12)
    assert whole.tp + whole.fp + whole.fn + whole.tn == pytest.approx(whole.n, abs=1e-12)
    assert ExpectedConfusion.from_json(whole.to_json()) == whole
