"""What a reference leaves plausible."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.drift.scores import share_bound


@given(st.integers(0, 500), st.integers(1, 500), st.sampled_from([1, -1]))
def test_the_bound_of_a_share_is_three_standard_errors_away_at_the_bound(
    k: int, more: int, sign: int
) -> None:
    size = k + more
    bound = share_bound(k / size, size, sign, 3.0)
    assert bound == pytest.approx(min(1.0, max(0.0, bound)), abs=1e-12)
    bound = min(1.0, max(0.0, bound))
    assert abs(bound - k / size) == pytest.approx(3 * math.sqrt(bound * (1 - bound) / size), abs=1e-6)
