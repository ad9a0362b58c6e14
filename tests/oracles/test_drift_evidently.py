"""evidently 0.7.23 on the same bins: PSI, JS, KL, Hellinger and Wasserstein to twelve digits.

It bins numbers by itself (Sturges over both samples together), so it is given categories, one per bin. Left
out: its other floor of empty cells when a share is below one in ten thousand, and its chi-square, which takes
the reference for the truth.
"""

import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.drift import distances

with warnings.catch_warnings():
    # its imports use what newer libraries have deprecated
    warnings.simplefilter("ignore")
    pandas = import_module("pandas")
    evidently = import_module("evidently.legacy.calculations.stattests")
    kinds = import_module("evidently.legacy.core").ColumnType

EXAMPLES = settings(max_examples=200, deadline=None, derandomize=True, database=None)
occupied = st.tuples(st.integers(0, 500), st.integers(0, 500)).filter(any)
histograms = st.lists(occupied, min_size=2, max_size=12).filter(
    lambda cells: all(map(any, zip(*cells, strict=True)))
)


def items(counts: Sequence[int]) -> Any:
    return pandas.Series(np.repeat(np.arange(len(counts)), counts))


def theirs(name: str, reference: Sequence[int], current: Sequence[int], kind: str = "cat") -> float:
    test = getattr(evidently, f"{name}_stat_test")
    return float(test.func(items(reference), items(current), kinds(kind), 0.1)[0])


@EXAMPLES
@given(histograms)
def test_distances_are_those_of_evidently(cells: list[tuple[int, int]]) -> None:
    reference, current = ([pair[side] for pair in cells] for side in (0, 1))
    assert distances.psi(reference, current) == pytest.approx(theirs("psi", reference, current), abs=1e-12)
    assert distances.kl(reference, current) == pytest.approx(theirs("kl_div", reference, current), abs=1e-12)
    # roots: a rounding error of 1e-16 under one is 1e-8 of it
    for ours, name in ((distances.js, "jensenshannon"), (distances.hellinger, "hellinger")):
        assert ours(reference, current) ** 2 == pytest.approx(
            theirs(name, reference, current) ** 2, abs=1e-12
        )


@EXAMPLES
@given(histograms)
def test_wasserstein_is_evidentlys_in_standard_deviations(cells: list[tuple[int, int]]) -> None:
    reference, current = ([pair[side] for pair in cells] for side in (0, 1))
    norm = max(float(np.std(np.repeat(np.arange(len(cells)), reference))), 0.001)
    ours = distances.wasserstein(reference, current, range(len(cells))) / norm
    assert ours == pytest.approx(theirs("wasserstein", reference, current, "num"), rel=1e-9, abs=1e-12)
