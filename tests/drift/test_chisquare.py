"""The tolerant chi-square test and the multiplicity rule agree with scipy and with recorded values."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import chi2_contingency, false_discovery_control, ncx2

from domain.drift.chisquare import _surely_above, noncentral_sf, tolerant_p_value, two_sample
from domain.drift.multiplicity import bh
from tests.reference.cases import CASES


@pytest.mark.parametrize("case", ["D1", "D2"])
def test_statistic_and_p_values_have_the_recorded_values(case: str) -> None:
    reference, current = CASES[case]["inp"]["reference"], CASES[case]["inp"]["current"]
    out = CASES[case]["out"]
    assert two_sample(reference, current).statistic == pytest.approx(out["chi2"], rel=1e-12)
    assert tolerant_p_value(reference, current) == pytest.approx(out["chi2_p"], rel=1e-12)
    assert tolerant_p_value(reference, current, 0.02) == pytest.approx(out["tolerant_p_02"], rel=1e-11)


def test_alibi_detect_finds_the_same_on_the_second_case() -> None:
    reference, current = CASES["D2"]["inp"]["reference"], CASES["D2"]["inp"]["current"]
    statistic, p_value = CASES["D8"]["out"]  # computed in single precision there
    assert two_sample(reference, current).statistic == pytest.approx(statistic, rel=1e-6)
    assert tolerant_p_value(reference, current) == pytest.approx(p_value, rel=1e-6)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=2, max_size=12))
def test_the_statistic_is_that_of_a_contingency_table(cells: list[tuple[int, int]]) -> None:
    reference, current = [r for r, _ in cells], [c for _, c in cells]
    ours = two_sample(reference, current)
    occupied = [(r, c) for r, c in cells if r + c > 0]
    if sum(reference) == 0 or sum(current) == 0 or len(occupied) < 2:
        assert tolerant_p_value(reference, current) == 1.0
        return
    expected = chi2_contingency(np.array(occupied).T, correction=False)
    assert ours.statistic == pytest.approx(expected.statistic, rel=1e-9, abs=1e-9)
    assert ours.df == expected.dof
    assert tolerant_p_value(reference, current) == pytest.approx(expected.pvalue, rel=1e-9, abs=1e-300)


@given(st.integers(1, 60), st.floats(-6, 4), st.floats(-1, 4.5))
def test_the_noncentral_tail_agrees_with_scipy_far_below_rounding(
    df: int, nc_log: float, x_log: float
) -> None:
    x, nc = 10**x_log, 10**nc_log
    expected = float(ncx2.sf(x, df, nc))
    if expected > 1e-280:
        assert noncentral_sf(x, df, nc) == pytest.approx(expected, rel=1e-9)
    else:
        # scipy gives zero early here: at df 1, noncentrality 562 and x 3162 the tail is 2.7e-232
        assert noncentral_sf(x, df, nc) < 1e-200


@given(st.floats(0.01, 30), st.floats(0.01, 60))
def test_with_one_degree_of_freedom_the_tail_is_that_of_a_shifted_normal(shift: float, root: float) -> None:
    expected = float(ndtr(shift - root) + ndtr(-root - shift))
    assert noncentral_sf(root * root, 1, shift * shift) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_tolerance_and_overdispersion_only_make_alarms_rarer() -> None:
    reference, current = CASES["D1"]["inp"]["reference"], CASES["D1"]["inp"]["current"]
    values = [tolerant_p_value(reference, current, tolerance) for tolerance in (0, 0.005, 0.02, 0.1, 1)]
    assert values == sorted(values)
    values = [tolerant_p_value(reference, current, 0.02, phi) for phi in (1, 2, 5)]
    assert values[0] < values[1]
    assert tolerant_p_value(reference, current, 0.0, 3.0) > tolerant_p_value(reference, current)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(1e-6, 0.5))
def test_benjamini_hochberg_rejects_what_scipy_adjusts_below_the_level(
    p_values: list[float], level: float
) -> None:
    adjusted = false_discovery_control(p_values)
    for rejected, value in zip(bh(p_values, level), adjusted, strict=True):
        if not math.isclose(value, level, rel_tol=1e-9):
            assert rejected == (value <= level)


def test_nothing_is_rejected_of_nothing() -> None:
    assert bh([], 0.05) == ()


def test_a_p_value_does_not_depend_on_the_processors_vector_instructions() -> None:
    script = (
        "from random import Random\n"
        "from domain.drift.chisquare import tolerant_p_value\n"
        "r = Random(1)\n"
        "for _ in range(200):\n"
        "    reference = [r.randint(50, 500) for _ in range(22)]\n"
        "    current = [int(n * r.uniform(0.5, 1.5) / 4) for n in reference]\n"
        "    print(repr(tolerant_p_value(reference, current, 0.1)))\n"
    )
    plain = "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR X86_V3 X86_V4"
    printed = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script],
            env={**os.environ, "NPY_DISABLE_CPU_FEATURES": disabled},
            capture_output=True,
            check=True,
        ).stdout
        for disabled in ("", plain)
    ]
    assert printed[0] == printed[1] != b""


@given(
    st.integers(1, 60),
    st.floats(-3, 3.5),
    st.one_of(st.floats(0.5, 2.0), st.floats(0.01, 100.0)),
    st.floats(1e-9, 0.02),
)
def test_a_tail_is_called_above_a_level_only_if_it_is(
    df: int, nc_log: float, times: float, over: float
) -> None:
    """At levels just above the tail and far from it; and half the tail is found without its sum."""
    nc = 10**nc_log
    x = (df + nc) * times
    tail = noncentral_sf(x, df, nc)
    assert not _surely_above(tail * (1 + over), x, df, nc)
    if x <= df + nc - 2:
        assert _surely_above(1e-3, x, df, nc)


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=2, max_size=12),
    st.sampled_from([0.0, 0.02, 0.1, 1.0]),
    st.floats(1, 4),
    st.sampled_from([1e-12, 1e-4, 1e-2, 0.3, 0.5, 0.99]),
)
def test_a_level_changes_only_p_values_above_it(
    cells: list[tuple[int, int]], tolerance: float, phi: float, level: float
) -> None:
    reference, current = [r for r, _ in cells], [c for _, c in cells]
    p_value = tolerant_p_value(reference, current, tolerance, phi)
    expected = p_value if p_value <= level else 1.0
    assert tolerant_p_value(reference, current, tolerance, phi, level) == expected


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(1e-6, 0.9))
def test_what_is_above_the_level_is_rejected_by_no_one_whatever_it_is(
    p_values: list[float], level: float
) -> None:
    assert bh([p if p <= level else 1.0 for p in p_values], level) == bh(p_values, level)
