"""The examples in the docstrings of the formulas run and say what they say."""

import doctest
from types import ModuleType

import pytest

from domain.experiments import bernoulli, contrast, ebh, evidence, lift, mantel_haenszel, mcnemar, srm


@pytest.mark.parametrize("module", [bernoulli, contrast, ebh, evidence, lift, mantel_haenszel, mcnemar, srm])
def test_examples_of_formulas_hold(module: ModuleType) -> None:
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0
