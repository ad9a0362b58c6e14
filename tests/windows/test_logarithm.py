import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from domain.windows.logarithm import natural_log


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_it_is_the_logarithm_to_a_few_units_in_the_last_place(x: float) -> None:
    assert math.isclose(float(natural_log(np.array([x]))[0]), math.log(x), rel_tol=1e-15, abs_tol=0.0)


@given(st.floats(0.6, 1.6))
def test_it_is_as_good_near_one(x: float) -> None:
    assert math.isclose(float(natural_log(np.array([x]))[0]), math.log(x), rel_tol=2e-15, abs_tol=0.0)


def test_the_logarithm_of_one_is_exactly_zero() -> None:
    assert natural_log(np.array([1.0])).tolist() == [0.0]


def test_known_bits_stay_the_same_everywhere() -> None:
    values = natural_log(np.array([1e-15, 0.1, 0.25, 0.5, 0.9])).tolist()
    assert values == [
        -34.538776394910684,
        -2.3025850929940455,
        -1.3862943611198906,
        -0.6931471805599453,
        -0.10536051565782628,
    ]
