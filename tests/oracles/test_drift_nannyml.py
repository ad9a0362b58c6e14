"""nannyml 0.13.1: expected accuracy, precision, recall and F1 of the same calibrated probabilities."""

import warnings
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.drift.cbpe import expected, merge

with warnings.catch_warnings():
    # its imports use what newer libraries have deprecated
    warnings.simplefilter("ignore")
    cbpe = import_module("nannyml.performance_estimation.confidence_based.metrics")

EXAMPLES = settings(max_examples=200, deadline=None, derandomize=True, database=None)
probabilities = st.lists(st.floats(0.001, 0.999), min_size=1, max_size=200).filter(
    lambda values: max(values) >= 0.5
)


@EXAMPLES
@given(probabilities, st.integers(0, 200))
def test_estimates_are_those_of_nannyml(values: list[float], cut: int) -> None:
    p = np.array(values)
    answers = (p >= 0.5).astype(int)
    ours = merge([expected(values[:cut]), expected(values[cut:])])

    def theirs(name: str) -> Any:
        return pytest.approx(float(getattr(cbpe, f"estimate_{name}")(answers, p)), rel=1e-12)

    assert ours.accuracy == theirs("accuracy")
    assert ours.precision == theirs("precision")
    assert ours.recall == theirs("recall")
    assert ours.f1 == theirs("f1")
