"""Benjamini-Yekutieli, against its definition and on models that move together."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.drift.multiplicity import bh, by
from domain.errors import InvalidField

_P = st.lists(st.floats(0, 1), max_size=20)


@given(_P, st.floats(0.001, 0.999))
def test_it_is_benjamini_hochberg_at_a_level_divided_by_the_harmonic_number(p: list[float], q: float) -> None:
    found = by(p)
    harmonic = math.fsum(1 / rank for rank in range(1, len(p) + 1))
    if all(abs(value - q) > 1e-9 for value in found):
        assert tuple(value <= q for value in found) == (bh(p, q / harmonic) if p else ())


@given(_P)
def test_the_order_changes_nothing_and_a_smaller_p_is_never_worse(p: list[float]) -> None:
    found = by(p)
    assert by(p[::-1]) == found[::-1]
    pairs = sorted(zip(p, found, strict=True))
    assert [value for _, value in pairs] == sorted(value for _, value in pairs)
    assert all(value >= p_value for p_value, value in pairs)


def test_models_that_share_their_noise_are_falsely_named_in_at_most_q_of_all_cases() -> None:
    generator, named, q, rounds = np.random.default_rng(5), 0, 0.2, 4_000
    for _ in range(rounds):
        shared = generator.random()
        p = [shared if generator.random() < 0.7 else float(generator.random()) for _ in range(8)]
        named += min(by(p)) <= q
    # three standard errors
    assert named / rounds <= q + 3 * math.sqrt(q * (1 - q) / rounds)
    assert named > 0


def test_what_is_no_p_value_is_refused() -> None:
    with pytest.raises(InvalidField, match=r"by\.p_values must be 0 to 1"):
        by([0.5, 1.5])
    assert by([]) == ()
