"""The examples in the docstrings of the formulas run and say what they say."""

import doctest
from types import ModuleType

import pytest

from domain.drift import chisquare, distances, metrics, multiplicity


@pytest.mark.parametrize("module", [chisquare, distances, metrics, multiplicity])
def test_examples_of_formulas_hold(module: ModuleType) -> None:
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0
